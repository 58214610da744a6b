"""A retry continues and a clear begins anew, in both modes and wherever Airflow keeps the record."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from modes import MODES, STORES
from scenarios import CREATE, FORBIDDEN

from connix_provider.client import Client
from connix_provider.client.errors import ConnixServerError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentFailedError, ConnixAgentTimeoutError
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)

pytestmark = pytest.mark.heavy
UNAVAILABLE = Fault.status(503, code="service_unavailable", message="try later")
CONFLICT = Fault.status(409, code="agent_conflict", message="not now")


def foreign_update(scenario, agent_id):
    with Client(scenario.emulator.api_key, scenario.emulator.url) as client:
        client.agents.update(scenario.project_id, agent_id, {"description": "by others"})
    scenario.emulator.clock.advance(30)


@STORES
@MODES
@pytest.mark.parametrize("again", ["retry", "clear"])
def test_a_foreign_update_is_not_the_restart(again, deferrable, remembering, scenario, task):
    agent_id = scenario.seed()
    run = task(ConnixRestartAgentOperator, remembering=remembering, agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(UNAVAILABLE, on="restart_agent", times=None)
    assert isinstance(run.try_once().error, ConnixServerError)
    assert scenario.executed("restart_agent") == 0
    scenario.emulator.faults.clear()
    foreign_update(scenario, agent_id)
    if again == "clear":
        run.clear()
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == 1


@STORES
@MODES
@pytest.mark.parametrize(("again", "executed"), [("retry", 1), ("same try", 1), ("clear", 2)])
def test_a_restart_without_a_known_end(again, executed, deferrable, remembering, scenario, task):
    agent_id = scenario.seed()
    run = task(ConnixRestartAgentOperator, remembering=remembering, agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    assert run.try_once().error is not None
    if again == "clear":
        run.clear()
    ran = run.try_once(same_try=again == "same try")
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == executed


@STORES
@MODES
def test_a_retry_waits_for_an_updating_agent(deferrable, remembering, scenario, task):
    agent_id = scenario.seed()
    run = task(ConnixRestartAgentOperator, remembering=remembering, agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(Fault.reset_after(), on="restart_agent", times=1)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    assert run.try_once().error is not None
    scenario.emulator.script(agent_id, [(1, "updating"), (60, "running")])
    scenario.emulator.clock.advance(2)
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == 1


#: When a worker died of its restart: before the service executed it, before the response, after the response.
DIED = {"before": Fault.reset_before(), "during": Fault.reset_after(), "after": None}


@STORES
@MODES
@pytest.mark.parametrize("died", DIED)
def test_a_retry_with_a_stuck_agent_times_out(died, deferrable, remembering, scenario, task):
    agent_id = scenario.seed(name="alpha")
    run = task(ConnixRestartAgentOperator, remembering=remembering, agent_id=agent_id, deferrable=deferrable)
    if fault := DIED[died]:
        scenario.emulator.faults.add(fault, on="restart_agent", times=1)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    assert run.try_once().error is not None
    scenario.emulator.script(agent_id, [(1, "updating")])
    scenario.emulator.clock.advance(2)
    ran = run.try_once()
    assert isinstance(ran.error, ConnixAgentTimeoutError), repr(ran.error)
    message = str(ran.error)
    for word in ("alpha", agent_id, "updating", "restarted", "300 s"):
        assert word in message
    assert "responded 409" not in message
    assert abs(scenario.warp.time() - ran.deadline) < 1
    assert scenario.executed("restart_agent") == (died != "before")


#: Statuses before and after an action.
ACTIONS = {"start": ("stopped", "running"), "pause": ("running", "paused"), "stop": ("running", "stopped")}


@MODES
@pytest.mark.parametrize("waits", [True, False], ids=["waits", "accepts"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_retry_waits_for_the_earlier_action(action, waits, deferrable, scenario, task):
    before, after = ACTIONS[action]
    agent_id = scenario.seed(before)
    operators = {
        "start": ConnixStartAgentOperator,
        "pause": ConnixPauseAgentOperator,
        "stop": ConnixStopAgentOperator,
    }
    run = task(operators[action], agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    assert run.try_once().error is not None
    # The service shows the status from before, and refuses what it is doing already.
    scenario.emulator.script(agent_id, [(0, before), (40, after)])
    scenario.emulator.faults.add(CONFLICT, on=f"{action}_agent", times=None)
    ran = run.try_once(wait_for_completion=waits)
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.emulator.agent(agent_id)["status"] == after


@MODES
def test_a_lost_start_after_an_update_is_awaited(deferrable, scenario, task):
    agent_id = scenario.seed("stopped", name="alpha", config={"model": "gpt-4", "temperature": 0.3})
    run = task(ConnixCreateAgentOperator, if_exists="update", deferrable=deferrable, **CREATE)
    scenario.emulator.faults.add(Fault.reset_before(), on="start_agent", times=1)
    scenario.emulator.faults.add(CONFLICT, on="start_agent", times=None)
    scenario.emulator.script(agent_id, [(40, "running")])
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)


@MODES
def test_an_update_explains_a_refused_start(deferrable, scenario, task):
    agent_id = scenario.seed("stopped", name="alpha", config={"model": "gpt-4", "temperature": 0.9})
    run = task(ConnixCreateAgentOperator, if_exists="update", deferrable=deferrable, **CREATE)
    # The service is still updating the agent, and does not show it.
    shown = Fault.unknown_status("stopped")
    scenario.emulator.faults.add(shown, on=["get_agent", "list_agents"], times=8)
    scenario.emulator.faults.add(CONFLICT, on="start_agent", times=2)
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("start_agent") == 1


@MODES
@pytest.mark.parametrize(("again", "executed"), [("retry", 1), ("same try", 1), ("clear", 2)])
def test_a_restart_that_is_done(again, executed, deferrable, scenario, task):
    agent_id = scenario.seed()
    run = task(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable)
    assert run.try_once().result == agent_id
    if again == "clear":
        run.clear()
    assert run.try_once(same_try=again == "same try").result == agent_id
    assert scenario.executed("restart_agent") == executed


@MODES
def test_a_restart_that_timed_out_is_awaited(deferrable, scenario, task):
    agent_id = scenario.seed()
    run = task(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable, timeout=60)
    scenario.emulator.faults.add(Fault.unknown_status(), on="get_agent", after=1, times=None)
    assert isinstance(run.try_once().error, ConnixAgentTimeoutError)
    scenario.emulator.faults.clear()
    assert run.try_once().result == agent_id
    assert scenario.executed("restart_agent") == 1


@MODES
def test_a_restart_that_stayed_down_is_repeated(deferrable, scenario, task):
    agent_id = scenario.seed()
    run = task(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(Fault.unknown_status("stopped"), on="get_agent", after=1, times=None)
    assert isinstance(run.try_once().error, ConnixAgentFailedError)
    scenario.emulator.faults.clear()
    assert run.try_once().result == agent_id
    assert scenario.executed("restart_agent") == 2


@MODES
def test_a_done_restart_ignores_a_later_error(deferrable, scenario, task):
    agent_id = scenario.seed()
    run = task(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable)
    assert run.try_once().result == agent_id
    scenario.emulator.set_status(agent_id, "error")
    assert run.try_once(same_try=True).result == agent_id
    assert scenario.executed("restart_agent") == 1


@MODES
def test_a_record_counts_for_its_agent_alone(deferrable, scenario, task):
    first, second = scenario.seed(name="alpha"), scenario.seed(name="beta")
    run = task(ConnixRestartAgentOperator, agent_id=first, deferrable=deferrable)
    assert run.try_once().result == first
    assert run.try_once(same_try=True, agent_id=second).result == second
    assert [entry.agent_id for entry in scenario.emulator.journal.executed("restart_agent")] == [
        first,
        second,
    ]


@MODES
def test_an_update_that_differs_in_nothing_sends_nothing(deferrable, scenario, task):
    agent_id = scenario.seed("paused", description="same", config={"temperature": 0.5, "tools": ["a"]})
    same = {"description": "same", "config": {"temperature": 0.5, "tools": ["a"]}}
    run = task(ConnixUpdateAgentOperator, agent_id=agent_id, deferrable=deferrable, **same)
    assert run.try_once().result == agent_id
    assert scenario.executed("update_agent") == 0


@MODES
def test_a_breaking_update_fails_in_every_try(deferrable, scenario, task):
    agent_id = scenario.seed()
    scenario.emulator.faults.add(Fault.ends_in_error(), on="update_agent", times=None)
    run = task(ConnixUpdateAgentOperator, agent_id=agent_id, description="new", deferrable=deferrable)
    for _ in range(2):
        assert isinstance(run.try_once().error, ConnixAgentFailedError)
    assert scenario.executed("update_agent") == 1


@MODES
def test_a_renaming_update_finds_its_agent_again(deferrable, scenario, task):
    agent_id = scenario.seed(name="alpha")
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    run = task(ConnixUpdateAgentOperator, agent_name="alpha", name="beta", deferrable=deferrable)
    assert run.try_once().error is not None
    assert run.try_once().result == agent_id
    assert scenario.executed("update_agent") == 1


@pytest.mark.parametrize("ends_in", [AirflowTaskTimeout, KeyboardInterrupt, SystemExit])
def test_the_last_try_leaves_no_variable(ends_in, scenario, task, variables, monkeypatch):
    agent_id = scenario.seed()

    def end(*_: object) -> None:
        raise ends_in

    monkeypatch.setattr(ConnixRestartAgentOperator, "make_poller", end)
    run = task(ConnixRestartAgentOperator, remembering=False, retries=0, agent_id=agent_id)
    with pytest.raises(ends_in):
        run.try_once()
    assert scenario.executed("restart_agent") == 1
    assert variables == {}


def test_a_success_leaves_no_variable(scenario, task, variables):
    run = task(ConnixRestartAgentOperator, remembering=False, agent_id=scenario.seed())
    assert run.try_once().error is None
    assert variables == {}


@pytest.mark.parametrize("operator", [ConnixCreateAgentOperator, ConnixRestartAgentOperator])
def test_a_permanent_500_fails_after_five_attempts(operator, scenario, task):
    what = CREATE if operator is ConnixCreateAgentOperator else {"agent_id": scenario.seed()}
    call = "create_agent" if operator is ConnixCreateAgentOperator else "restart_agent"
    broken = Fault.status(500, code="internal_error", message="broken inside")
    scenario.emulator.faults.add(broken, on=call, times=None)
    ran = task(operator, timeout=600, **what).try_once()
    assert isinstance(ran.error, ConnixServerError)
    assert "broken inside" in str(ran.error)
    assert len(scenario.emulator.journal.entries(call)) == 5
    assert len(scenario.emulator.journal.entries("list_agents")) <= 6


@MODES
@pytest.mark.parametrize("hint", [3, 40, 3600])
@pytest.mark.parametrize("operator", [ConnixCreateAgentOperator, ConnixRestartAgentOperator])
def test_retry_after_delays_the_retry_of_lost_requests(operator, hint, deferrable, scenario, task):
    what = CREATE if operator is ConnixCreateAgentOperator else {"agent_id": scenario.seed()}
    call = "create_agent" if operator is ConnixCreateAgentOperator else "restart_agent"
    later = Fault.status(503, code="service_unavailable", headers={"Retry-After": str(hint)})
    scenario.emulator.faults.add(later, on=call, times=1)
    began = scenario.warp.time()
    ran = task(operator, deferrable=deferrable, **what).try_once()
    if hint == 3600:
        # The task has no such time.
        assert isinstance(ran.error, ConnixServerError)
        assert len(scenario.emulator.journal.entries(call)) == 1
    else:
        assert ran.error is None
        assert scenario.warp.time() - began >= hint


@MODES
@pytest.mark.parametrize("is_executed", [False, True])
@pytest.mark.parametrize("operator", [ConnixCreateAgentOperator, ConnixRestartAgentOperator])
def test_a_501_is_sent_once(operator, is_executed, deferrable, scenario, task):
    what = CREATE if operator is ConnixCreateAgentOperator else {"agent_id": scenario.seed()}
    call = "create_agent" if operator is ConnixCreateAgentOperator else "restart_agent"
    fault = Fault.status(501, code="not_implemented", message="no such thing", executed=is_executed)
    scenario.emulator.faults.add(fault, on=call, times=None)
    ran = task(operator, deferrable=deferrable, **what).try_once()
    if is_executed:
        assert ran.error is None
    else:
        assert isinstance(ran.error, ConnixServerError)
        assert "no such thing" in str(ran.error)
    assert len(scenario.emulator.journal.entries(call)) == 1
