"""What Connix refuses for the moment is asked again when the moment has passed."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from modes import MODES
from scenarios import Scenario

from connix_provider.client import Client
from connix_provider.client.agents import Agents
from connix_provider.client.errors import ConnixConflictError, ConnixNotFoundError
from connix_provider.emulator import Clock, Emulator, Fault
from connix_provider.exceptions import ConnixAgentGoneError, ConnixAgentTimeoutError
from connix_provider.operators._once import restart_check
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)

pytestmark = pytest.mark.heavy


def _task(scenario: Scenario, operator, **arguments):
    common = {"project_id": scenario.project_id, "poll_interval": 5, "timeout": 300}
    return scenario.task(operator, remembering=True, **{**common, **arguments})


def _updating(scenario: Scenario, *steps) -> str:
    (agent_id,) = scenario.emulator.seed(status="updating", project_id=scenario.project_id)
    scenario.emulator.script(agent_id, steps)
    return agent_id


@MODES
@pytest.mark.parametrize(
    ("operator", "then", "call", "ends"),
    [
        (ConnixStopAgentOperator, "running", "stop_agent", "stopped"),
        (ConnixPauseAgentOperator, "running", "pause_agent", "paused"),
        (ConnixStartAgentOperator, "stopped", "start_agent", "running"),
        (ConnixRestartAgentOperator, "running", "restart_agent", "running"),
    ],
)
def test_an_action_waits_for_an_updating_agent(operator, then, call, ends, deferrable, scenario):
    agent_id = _updating(scenario, (40, then))
    ran = _task(scenario, operator, agent_id=agent_id, deferrable=deferrable).try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed(call) == 1
    assert scenario.emulator.agent(agent_id)["status"] == ends


def test_an_endless_update_ends_in_a_timeout(scenario):
    agent_id = _updating(scenario)
    ran = _task(scenario, ConnixStopAgentOperator, agent_id=agent_id).try_once()
    assert isinstance(ran.error, ConnixAgentTimeoutError), repr(ran.error)
    assert scenario.warp.time() <= ran.deadline
    assert scenario.executed("stop_agent") == 0


def test_an_agent_at_its_goal_is_left_alone(scenario):
    agent_id = _updating(scenario, (40, "stopped"))
    ran = _task(scenario, ConnixStopAgentOperator, agent_id=agent_id).try_once()
    assert (ran.result, scenario.executed("stop_agent")) == (agent_id, 0)


def test_a_permanent_conflict_fails_at_once(scenario):
    (agent_id,) = scenario.emulator.seed(status="error", project_id=scenario.project_id)
    ran = _task(scenario, ConnixPauseAgentOperator, agent_id=agent_id).try_once()
    assert isinstance(ran.error, ConnixConflictError)
    assert len(scenario.emulator.journal.entries("pause_agent")) == 1


def test_a_new_updated_at_triggers_no_rapid_retries(scenario, monkeypatch):
    (agent_id,) = scenario.emulator.seed(status="error", project_id=scenario.project_id)
    get, beats = Agents.get, itertools.count()

    def alive(*args):
        agent = get(*args)
        moved = agent.updated_at + dt.timedelta(seconds=next(beats))
        return agent.model_copy(update={"updated_at": moved})

    monkeypatch.setattr(Agents, "get", alive)
    ran = _task(scenario, ConnixPauseAgentOperator, agent_id=agent_id).try_once()
    assert ran.error is not None
    # One each five seconds for five minutes, at most.
    assert 2 <= len(scenario.emulator.journal.entries("pause_agent")) <= 61


@MODES
def test_a_refused_repeat_waits_for_the_first_request(deferrable, scenario):
    (agent_id,) = scenario.emulator.seed(project_id=scenario.project_id)
    scenario.warp.sleep(60)
    scenario.emulator.faults.add(Fault.reset_after(), on="stop_agent", times=1)
    scenario.emulator.faults.add(Fault.status(409, code="agent_conflict"), on="stop_agent", times=1)
    ran = _task(scenario, ConnixStopAgentOperator, agent_id=agent_id, deferrable=deferrable).try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("stop_agent") == 1


@MODES
@pytest.mark.parametrize(
    ("operator", "call", "arguments"),
    [
        (ConnixDeleteAgentOperator, "delete_agent", {}),
        (ConnixUpdateAgentOperator, "update_agent", {"description": "better"}),
    ],
)
def test_a_lost_change_explains_later_refusals(operator, call, arguments, deferrable, scenario):
    (agent_id,) = scenario.emulator.seed(project_id=scenario.project_id)
    scenario.emulator.faults.add(Fault.reset_before(), on=call, times=1)
    scenario.emulator.faults.add(Fault.status(409, code="agent_conflict"), on=call, times=3)
    began = scenario.warp.time()
    ran = _task(scenario, operator, agent_id=agent_id, deferrable=deferrable, **arguments).try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed(call) == 1
    # Each repeat of the task waits twice as long as the one before.
    assert scenario.warp.time() - began >= 1 + 2 + 4


#: The agent of a refused delete disappears before the retry: faults before that, arguments, exception.
GOES_AWAY = [
    pytest.param([Fault.reset_after()], {}, None, id="deleted by the request whose response was lost"),
    pytest.param([], {"ignore_if_missing": True}, None, id="deleted by others, and may be missing"),
    pytest.param([], {}, ConnixAgentGoneError, id="deleted by others"),
]


@MODES
@pytest.mark.parametrize("timeout", [60, 300], ids=["gone at the deadline", "gone in time"])
@pytest.mark.parametrize(("lost", "arguments", "ends"), GOES_AWAY)
def test_a_delete_whose_agent_goes_away_meanwhile(lost, arguments, ends, timeout, deferrable, scenario):
    agent_id = _updating(scenario, (59, None))
    for fault in (*lost, Fault.status(409, code="agent_conflict")):
        scenario.emulator.faults.add(fault, on="delete_agent", times=1)
    ran = _task(
        scenario,
        ConnixDeleteAgentOperator,
        agent_id=agent_id,
        deferrable=deferrable,
        timeout=timeout,
        **arguments,
    ).try_once()
    if ends is None:
        assert (ran.result, ran.error) == (agent_id, None)
    else:
        assert isinstance(ran.error, ends), repr(ran.error)
        assert agent_id in str(ran.error)
    assert scenario.warp.time() <= ran.deadline


@MODES
@pytest.mark.parametrize("interval", [30, dt.timedelta(minutes=10)])
def test_an_agent_settles_before_a_long_poll_interval(interval, deferrable, scenario):
    agent_id = _updating(scenario, (12, "running"))
    ran = _task(
        scenario,
        ConnixStopAgentOperator,
        agent_id=agent_id,
        deferrable=deferrable,
        poll_interval=interval,
        timeout=60,
    ).try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.emulator.journal.executed("stop_agent")


#: An action whose response is lost undone, and whose repeat is refused because of what others do.
UNCONFIRMED = [
    (ConnixStopAgentOperator, "stop_agent"),
    (ConnixPauseAgentOperator, "pause_agent"),
    (ConnixRestartAgentOperator, "restart_agent"),
]


@MODES
@pytest.mark.parametrize(("operator", "call"), UNCONFIRMED)
def test_a_refused_repeat_confirms_no_action(operator, call, deferrable, scenario):
    (agent_id,) = scenario.emulator.seed(project_id=scenario.project_id)
    scenario.warp.sleep(60)
    scenario.emulator.faults.add(Fault.reset_before(), on=call, times=1)
    scenario.emulator.faults.add(Fault.status(409, code="agent_conflict"), on=call, times=None)
    ran = _task(
        scenario, operator, agent_id=agent_id, deferrable=deferrable, wait_for_completion=False
    ).try_once()
    assert ran.error is not None
    assert scenario.executed(call) == 0
    assert len(scenario.emulator.journal.entries(call)) == 2


@MODES
@pytest.mark.parametrize(
    "between", [Fault.rate_limited(40), Fault.rate_limited(5), Fault.status(503)], ids=["429", "short", "503"]
)
@pytest.mark.parametrize(
    ("operator", "call", "ends"), [(*UNCONFIRMED[0], "stopped"), (*UNCONFIRMED[1], "paused")]
)
def test_a_lost_response_explains_each_later_refusal(operator, call, ends, between, deferrable, scenario):
    (agent_id,) = scenario.emulator.seed(project_id=scenario.project_id)
    scenario.warp.sleep(60)
    for fault in (Fault.reset_before(), between):
        scenario.emulator.faults.add(fault, on=call, times=1)
    scenario.emulator.faults.add(Fault.status(409, code="agent_conflict"), on=call, times=None)
    scenario.emulator.script(agent_id, [(100, ends)])
    ran = _task(scenario, operator, agent_id=agent_id, deferrable=deferrable).try_once()
    assert (ran.result, ran.error) == (agent_id, None)


def test_a_name_changed_between_tries_leaves_one_agent(scenario):
    task = _task(scenario, ConnixCreateAgentOperator, name="tried-1")
    scenario.emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_agent", times=1)
    assert task.try_once().error is not None
    ran = task.try_once(name="tried-2")
    assert [agent["id"] for agent in scenario.agents()] == [ran.result]
    assert scenario.executed("create_agent") == 1


def test_a_missing_project_is_no_missing_agent(scenario):
    arguments = {"agent_id": "agent_1", "project_id": "proj_nowhere", "ignore_if_missing": True}
    ran = _task(scenario, ConnixDeleteAgentOperator, **arguments).try_once()
    assert isinstance(ran.error, ConnixNotFoundError)
    ran = _task(scenario, ConnixDeleteAgentOperator, agent_id="agent_1", ignore_if_missing=True).try_once()
    assert ran.error is None


@pytest.mark.parametrize(
    ("ahead", "passed", "wait"),
    [(0, 0.25, 0.75), (3600, 0.25, 0.75), (-3600, 0.25, 0.75), (3600, 30, 0), (0, 0, 1)],
)
def test_the_next_second_follows_the_services_clock(ahead, passed, wait, monkeypatch):
    began = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    clock = Clock(frozen=True, start=began)
    slept = []
    monkeypatch.setattr(restart_check.time, "sleep", slept.append)
    monkeypatch.setattr(restart_check.time, "time", lambda: clock.timestamp() + ahead)
    with Emulator(clock=clock) as emulator, Client(emulator.api_key, emulator.url) as client:
        (agent_id,) = emulator.seed()
        clock.advance(passed)
        agent = client.agents.get(emulator.project_id, agent_id)
        restart_check.await_next_second(client, agent)
    # The service tells whole seconds of its clock.
    assert slept == [pytest.approx(min(1.0, wait + passed % 1), abs=0.5)] if wait else [0.0]
