"""One emulator for thousands of cases, each in a project of its own, on a clock that only jumps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from in_process import TaskRun
from scenarios import Scenario, open_scenario

from connix_provider.emulator import Clock, Emulator, Limits
from connix_provider.operators._base import task_state

settings.register_profile("everyday", settings(), stateful_step_count=20)
#: ``scripts/test tests/reliability --hypothesis-profile=nightly``
settings.register_profile("nightly", settings(), max_examples=5_000, stateful_step_count=60)
settings.load_profile("everyday")


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator(clock=Clock(frozen=True), limits=Limits.off()) as running:
        yield running


@pytest.fixture
def scenario(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    with open_scenario(emulator, monkeypatch) as scenario:
        yield scenario


@pytest.fixture
def variables(monkeypatch) -> dict[str, str]:
    """Keep Airflow's Variables in memory: there is no task runner to ask for them."""
    kept: dict[str, str] = {}

    class Variables:
        get = staticmethod(lambda name, default=None: kept.get(name, default))
        set = staticmethod(lambda name, value, description=None: kept.__setitem__(name, value))
        delete = staticmethod(lambda name: kept.pop(name, None))

    monkeypatch.setattr(task_state, "Variable", Variables)
    return kept


@pytest.fixture
def task(scenario, variables):
    """Make a run of a task."""

    def make(operator, *, remembering=True, **arguments):
        common = {"project_id": scenario.project_id, "poll_interval": 5, "timeout": 300}
        options = {
            name: arguments.pop(name) for name in ("retries", "map_index", "dag_id") if name in arguments
        }
        return TaskRun(scenario.warp, operator, remembering=remembering, **options, **{**common, **arguments})

    return make
