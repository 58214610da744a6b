"""The same wait ends the same on a worker, in poke and reschedule mode, and in the triggerer."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from in_process import TaskRun
from scenarios import Scenario

from connix_provider.client.errors import ConnixAPIError, ConnixNotFoundError, ConnixPermissionError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentFailedError, ConnixSensorTimeoutError
from connix_provider.operators.agent import ConnixDeleteAgentOperator
from connix_provider.polling import clock

pytestmark = pytest.mark.heavy

MODES = pytest.mark.parametrize("mode", ["poke", "reschedule", "deferred"])


def sensor(scenario: Scenario, mode: str, **arguments: Any) -> TaskRun:
    return scenario.sensor(mode, **{"poke_interval": 10, "timeout": 600, **arguments})


def gets(scenario: Scenario) -> list[float]:
    return [entry.at.timestamp() for entry in scenario.emulator.journal.entries("get_agent")]


@MODES
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("hint", ["3600", "1000000000", "Thu, 01 Jan 2099 00:00:00 GMT"])
def test_retry_after_delays_polls_at_most_a_minute(scenario, mode, status, hint):
    (agent_id,) = scenario.emulator.seed(status="running", project_id=scenario.project_id)
    scenario.emulator.faults.add(Fault.status(status, headers={"Retry-After": hint}), on="get_agent", times=1)
    ran = sensor(scenario, mode, agent_id=agent_id).try_once()
    assert ran.error is None
    first, second = gets(scenario)
    # The client itself repeats a 429 whose hint cannot be read, as far as the limiter lets it.
    assert 0 < second - first <= 60.2


@MODES
@pytest.mark.parametrize(
    ("interval", "timeout", "ready"), [(10, 8, 2), (10, 8, 7.5), (3600, 4000, 3900), (7, 30, 29)]
)
def test_the_last_poll_is_at_the_deadline(scenario, mode, interval, timeout, ready):
    (agent_id,) = scenario.emulator.seed(status="creating", project_id=scenario.project_id)
    scenario.emulator.script(agent_id, [(ready, "running")])
    ran = sensor(scenario, mode, agent_id=agent_id, poke_interval=interval, timeout=timeout).try_once()
    assert ran.error is None, ran.error
    assert gets(scenario)[-1] <= ran.deadline


@MODES
def test_nothing_is_sent_after_the_deadline(scenario, mode):
    (agent_id,) = scenario.emulator.seed(status="paused", project_id=scenario.project_id)
    ran = sensor(scenario, mode, agent_id=agent_id, timeout=35).try_once()
    assert type(ran.error) is ConnixSensorTimeoutError
    assert ran.deadline - 0.2 <= gets(scenario)[-1] <= ran.deadline
    assert "(35 s): it was last seen paused" in str(ran.error)


@MODES
def test_stable_for_is_counted_once(scenario, mode):
    (agent_id,) = scenario.emulator.seed(status="running", project_id=scenario.project_id)
    began = scenario.warp.time()
    ran = sensor(scenario, mode, agent_id=agent_id, poke_interval=2, stable_for=10).try_once()
    assert ran.error is None
    assert scenario.warp.time() - began == pytest.approx(10, abs=1)


@pytest.mark.parametrize("mode", ["poke", "deferred"])
@pytest.mark.parametrize("step", [3600, -3600, 86_400, -86_400])
def test_a_step_of_the_clock_changes_no_wait(scenario, mode, step, monkeypatch):
    (agent_id,) = scenario.emulator.seed(status="creating", project_id=scenario.project_id)
    scenario.emulator.script(agent_id, [(95, "running")])
    warp, real = scenario.warp, scenario.warp.time
    began = real()

    def stepped():
        return real() + (step if real() - began > 30 else 0.0)

    # All modules of the provider share this stand-in for the module time; its monotonic clock continues.
    monkeypatch.setattr(clock.time, "time", stepped)
    ran = sensor(scenario, mode, agent_id=agent_id, timeout=600).try_once()
    assert ran.error is None, ran.error
    assert warp.monotonic() - began == pytest.approx(100, abs=11)
    moments = gets(scenario)
    assert max(b - a for a, b in itertools.pairwise(moments)) < 11


@MODES
def test_a_foreign_404_is_final_as_the_third(scenario, mode):
    (agent_id,) = scenario.emulator.seed(status="creating", project_id=scenario.project_id)
    scenario.emulator.faults.add(Fault.status(404, code="project_not_found"), on="get_agent", times=None)
    ran = sensor(scenario, mode, agent_id=agent_id, poke_interval=8).try_once()
    assert type(ran.error) is ConnixNotFoundError, ran.error
    assert scenario.project_id in str(ran.error)
    assert "deleted" not in str(ran.error)
    # The triggerer counts on from the worker's poll.
    assert len(gets(scenario)) == 3


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_foreign_404_is_no_delete(scenario, deferrable):
    (agent_id,) = scenario.emulator.seed(status="running", project_id=scenario.project_id)
    scenario.emulator.faults.add(Fault.status(404, code="project_not_found"), on="get_agent", times=None)
    ran = scenario.task(
        ConnixDeleteAgentOperator,
        remembering=True,
        agent_id=agent_id,
        deferrable=deferrable,
        timeout=600,
        poll_interval=8,
    ).try_once()
    assert type(ran.error) is ConnixNotFoundError, ran.error


@MODES
def test_two_foreign_404s_end_no_wait(scenario, mode):
    (agent_id,) = scenario.emulator.seed(status="running", project_id=scenario.project_id)
    scenario.emulator.faults.add(Fault.status(404, code="project_not_found"), on="get_agent", times=2)
    assert sensor(scenario, mode, agent_id=agent_id).try_once().error is None


@pytest.mark.parametrize("times", [2, None])
@MODES
def test_a_redirected_poll_is_final_as_the_third(scenario, mode, times):
    (agent_id,) = scenario.emulator.seed(status="creating", project_id=scenario.project_id)
    scenario.emulator.script(agent_id, [(12, "running")])
    scenario.emulator.faults.add(Fault.redirect("https://login.example/"), on="get_agent", times=times)
    ran = sensor(scenario, mode, agent_id=agent_id, poke_interval=8).try_once()
    if times is None:
        assert type(ran.error) is ConnixAPIError, ran.error
        assert "redirects to https://login.example" in str(ran.error)
    else:
        assert ran.error is None
    assert len(gets(scenario)) == 3


@MODES
def test_a_refused_permission_fails_and_names_the_remedy(scenario, mode):
    (agent_id,) = scenario.emulator.seed(status="paused", project_id=scenario.project_id, name="alpha")
    scenario.emulator.faults.add(
        Fault.status(403, code="insufficient_permissions"), on="get_agent", times=None, after=1
    )
    ran = sensor(scenario, mode, agent_id=agent_id).try_once()
    assert type(ran.error) is ConnixPermissionError
    assert "access to the project" in str(ran.error)
    assert ran.error.agent_id == agent_id


@MODES
def test_a_failure_quotes_the_agents_last_error_line(scenario, mode):
    (agent_id,) = scenario.emulator.seed(status="running", project_id=scenario.project_id, name="alpha")
    scenario.emulator.script(agent_id, [(15, "error")])
    ran = sensor(scenario, mode, agent_id=agent_id, target_statuses="stopped").try_once()
    assert type(ran.error) is ConnixAgentFailedError
    assert "Its last error log line: " in str(ran.error)
    assert str(ran.error).startswith(f"Agent 'alpha' ({agent_id}) failed: it is in error")
    assert (ran.error.agent_name, ran.error.status) == ("alpha", "error")
    assert sum(entry.path.endswith("/logs") for entry in scenario.emulator.journal.entries()) == 1
