"""One emulator for thousands of cases, each in a project of its own, on a clock that only jumps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from scenarios import Scenario, open_scenario

from connix_provider.emulator import Clock, Emulator, Limits

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
