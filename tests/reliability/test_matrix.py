"""Every task has one right outcome with every fault, in every mode."""

from __future__ import annotations

import pytest
from fast_timeouts import shorten_timeouts
from fault_matrix import (
    FAILED,
    FAULTS,
    SENSOR,
    SILENT,
    SUCCEEDED,
    TASKS,
    TIMED_OUT,
    Expected,
    Nature,
    expected_for_action,
    expected_for_poll,
)
from in_process import TaskOutcome, TaskRun
from scenarios import Scenario
from tally import record

from connix_provider.client import ConnixConnectionError, ConnixTimeoutError
from connix_provider.emulator import Fault
from connix_provider.emulator.faults import KINDS
from connix_provider.exceptions import ConnixAgentTimeoutError
from connix_provider.sensors.agent import ConnixAgentStatusSensor

pytestmark = pytest.mark.heavy

TIMEOUT = 45.0
POLL = 10.0
#: Seconds of the longest backoff with its jitter: a task may end so much before its deadline.
LONGEST_DELAY = 31.0
#: The requests that a fault hits.
PLANS = {
    "first": {"times": 1},
    "first two": {"times": 2},
    "second": {"times": 1, "after": 1},
    "every": {"times": None},
}


def cases(call: str | None, *often: str) -> list[tuple[str, str, str, bool]]:
    """Combine everything, but without a wait only one mode."""
    combined = (
        (task, name, which, deferrable)
        for task in TASKS
        for name, kind in FAULTS.items()
        if (call or TASKS[task].action) in kind.fault.calls
        for which in (often[:1] if name in SILENT else often)
        for deferrable in (False, True)
    )
    return [case for case in combined if not case[3] or expected(call, *case[:3]).executions]


def named(value: object) -> str | None:
    return {False: "worker", True: "deferred"}[value] if isinstance(value, bool) else None


def expected(call: str | None, task: str, fault: str, which: str) -> Expected:
    if call == "get_agent":
        return expected_for_poll(TASKS[task], FAULTS[fault], which)
    return expected_for_action(TASKS[task], FAULTS[fault], which == "every")


def test_no_fault_of_the_emulator_is_left_out():
    assert {kind.fault.name for kind in FAULTS.values()} == set(KINDS)


@pytest.mark.parametrize(
    ("task", "fault", "which", "deferrable"), cases(None, "first", "first two", "every"), ids=named
)
def test_an_action_survives_each_fault(scenario, task, fault, which, deferrable):
    run = set_up(scenario, task, fault, deferrable)
    scenario.emulator.faults.add(FAULTS[fault].fault, on=TASKS[task].action, **PLANS[which])
    check(scenario, task, fault, run.try_once(), expected(None, task, fault, which))


@pytest.mark.parametrize(
    ("task", "fault", "which", "deferrable"), cases("get_agent", "first", "second", "every"), ids=named
)
def test_no_fault_ends_a_poll(scenario, task, fault, which, deferrable):
    run = set_up(scenario, task, fault, deferrable)
    scenario.emulator.faults.add(FAULTS[fault].fault, on="get_agent", **PLANS[which])
    check(scenario, task, fault, run.try_once(), expected("get_agent", task, fault, which))


@pytest.mark.parametrize(
    ("where", "deferrable"), [("action", False), ("get_agent", True)], ids=["action", "poll"]
)
@pytest.mark.parametrize(
    ("task", "fault"),
    [(task, fault) for task in ("create", "restart", "delete") for fault in FAULTS if fault not in SILENT],
)
def test_a_retry_completes_an_earlier_try(scenario, task, fault, where, deferrable):
    call = TASKS[task].action if where == "action" else where
    if call not in FAULTS[fault].fault.calls:
        return
    run = set_up(scenario, task, fault, deferrable)
    scenario.emulator.faults.add(FAULTS[fault].fault, on=call, times=None)
    first = run.try_once()
    assert in_time(scenario, first)
    scenario.emulator.faults.clear()
    scenario.warp.sleep(300)
    second = run.try_once() if first.error else first
    # An agent that ended in error is restarted, once.
    again = FAULTS[fault].nature is Nature.AGENTS_OWN and task == "restart"
    check(scenario, task, fault, second, Expected(SUCCEEDED, 2 if again else 1), again=int(again))
    assert scenario.executed("restart_agent") <= 1 + again


@pytest.mark.parametrize("lost", [Fault.reset_before(), Fault.reset_after()], ids=["before", "after"])
@pytest.mark.parametrize(
    ("fault", "which"),
    [
        (name, which)
        for name, kind in FAULTS.items()
        if "list_agents" in kind.fault.calls and name not in SILENT
        for which in ("first", "every")
    ],
)
def test_create_and_lookup_are_lost(scenario, fault, which, lost):
    run = set_up(scenario, "create", fault, deferrable=False)
    nature, error = FAULTS[fault].nature, FAULTS[fault].error
    scenario.emulator.faults.add(lost, on="create_agent")
    scenario.emulator.faults.add(FAULTS[fault].fault, on="list_agents", **PLANS[which])
    if nature is Nature.LASTING:
        right = Expected(FAILED, int(lost.executed), (error,))
    elif which == "every" and nature not in {Nature.HARMLESS, Nature.RIDDLE}:
        errors = (error, ConnixTimeoutError, ConnixConnectionError)
        right = Expected(TIMED_OUT, int(lost.executed), errors)
    else:
        right = Expected(SUCCEEDED, 1)
    first = run.try_once()
    check(scenario, "create", fault, first, right)
    if first.error:
        scenario.emulator.faults.clear()
        scenario.warp.sleep(300)
        check(scenario, "create", fault, run.try_once(), Expected(SUCCEEDED, 1))


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferred"])
@pytest.mark.parametrize(
    ("fault", "which"),
    [case[1:3] for case in cases("get_agent", "first", "second", "every") if case[::3] == ("update", False)],
)
def test_each_fault_of_a_sensor_has_its_outcome(scenario, fault, which, mode):
    (agent_id,) = scenario.emulator.seed(status="creating", project_id=scenario.project_id)
    scenario.emulator.script(agent_id, [(12, "running")])
    if fault in SILENT:
        shorten_timeouts(scenario.emulator, scenario.monkeypatch)
    run = scenario.task(
        ConnixAgentStatusSensor,
        agent_id=agent_id,
        timeout=TIMEOUT,
        poke_interval=POLL,
        deferrable=mode == "deferred",
        mode="reschedule" if mode == "reschedule" else "poke",
    )
    scenario.emulator.faults.add(FAULTS[fault].fault, on="get_agent", **PLANS[which])
    ran = run.try_once()
    right = expected_for_poll(SENSOR, FAULTS[fault], which)
    outcome = outcome_of(scenario, ran)
    record(f"sensor: {FAULTS[fault].fault.name}", outcome)
    assert outcome == right.outcome, ran
    assert ran.error is None or isinstance(ran.error, right.errors)
    assert in_time(scenario, ran)
    assert all(entry.method == "GET" for entry in scenario.emulator.journal.entries())


@pytest.mark.parametrize(
    ("mode", "deferrals", "reschedules"), [("poke", 0, 0), ("reschedule", 0, 2), ("deferred", 1, 0)]
)
def test_a_sensor_waits_where_it_is_told_to(scenario, mode, deferrals, reschedules):
    (agent_id,) = scenario.emulator.seed(status="creating", project_id=scenario.project_id)
    scenario.emulator.script(agent_id, [(12, "running")])
    how = {"deferrable": True} if mode == "deferred" else {"mode": mode}
    run = scenario.task(
        ConnixAgentStatusSensor,
        agent_id=agent_id,
        timeout=TIMEOUT,
        poke_interval=POLL,
        **how,
    )
    ran = run.try_once()
    assert ran == TaskOutcome(agent_id, None, ran.deadline, deferrals, reschedules)


def set_up(scenario: Scenario, task: str, fault: str, deferrable: bool) -> TaskRun:
    """Put the task's agent there, and make the task ready to run."""
    arguments = dict(TASKS[task].arguments)
    if (status := TASKS[task].before) is not None:
        (arguments["agent_id"],) = scenario.emulator.seed(status=status, project_id=scenario.project_id)
        scenario.warp.sleep(60)
    if fault in SILENT:
        shorten_timeouts(scenario.emulator, scenario.monkeypatch)
    return scenario.task(
        TASKS[task].operator,
        remembering=True,
        timeout=TIMEOUT,
        poll_interval=POLL,
        deferrable=deferrable,
        **arguments,
    )


def check(
    scenario: Scenario, task: str, fault: str, ran: TaskOutcome, right: Expected, *, again: int = 0
) -> None:
    """Count what came of a case, and compare it with what should have."""
    what, outcome = TASKS[task], outcome_of(scenario, ran)
    punctual = in_time(scenario, ran)
    hits = [entry.fault for entry in scenario.emulator.journal.entries() if entry.fault]
    executions = scenario.executed(what.action)
    restarts = scenario.executed("restart_agent") if task in {"create", "restart"} else 0
    scenario.warp.sleep(60)
    agents = scenario.agents()
    record(
        f"operators: {FAULTS[fault].fault.name}",
        outcome,
        creates_lost=int(task == "create" and right.executions > 0 and not agents),
        creates_doubled=max(0, len(agents) - 1),
        unsafe_repeats=max(0, scenario.executed("create_agent") - 1) + max(0, restarts - 1 - again),
    )
    assert outcome == right.outcome, ran
    assert right.allows(ran.error), repr(ran.error)
    assert punctual
    assert hits
    # What is safe to repeat may have been.
    assert (
        executions == right.executions
        if what.once
        else (executions >= right.executions > 0 or executions == right.executions)
    )
    assert len(agents) <= 1
    if outcome == SUCCEEDED and what.after is None:
        assert ran.result
        assert not agents
    elif outcome == SUCCEEDED:
        assert [(agent["id"], agent["status"]) for agent in agents] == [(ran.result, what.after)]


def outcome_of(scenario: Scenario, ran: TaskOutcome) -> str:
    """Tell apart what gave up because of time from what gave up because of what it met."""
    if ran.error is None:
        return SUCCEEDED
    spent = scenario.warp.time() >= ran.deadline - LONGEST_DELAY
    return TIMED_OUT if spent or isinstance(ran.error, ConnixAgentTimeoutError) else FAILED


def in_time(scenario: Scenario, ran: TaskOutcome) -> bool:
    """Return whether the emulator received no request after the deadline."""
    return all(entry.at.timestamp() <= ran.deadline for entry in scenario.emulator.journal.entries())
