"""What Connix refuses while an agent is creating or updating is sent again, whatever happens meanwhile."""

from __future__ import annotations

import pytest
from modes import MODES
from scenarios import PASSING

from connix_provider.client.errors import (
    ConnixAuthenticationError,
    ConnixConflictError,
    ConnixPermissionError,
)
from connix_provider.emulator import Emulator, Fault
from connix_provider.exceptions import ConnixAgentGoneError, ConnixAgentTimeoutError
from connix_provider.operators._base import busy_agent
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.poll_state import PollState, Snapshot
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

pytestmark = pytest.mark.heavy
DONE = {"outcome": "done", "agent_id": "agent_1", "message": ""}
#: Operator, its arguments but for the agent, its call, and looks at the agent before that.
ACTIONS = pytest.mark.parametrize(
    ("operator", "arguments", "call", "looks"),
    [
        (ConnixPauseAgentOperator, {}, "pause_agent", 1),
        (ConnixRestartAgentOperator, {}, "restart_agent", 1),
        (ConnixUpdateAgentOperator, {"description": "better"}, "update_agent", 1),
        (
            ConnixCreateAgentOperator,
            {"name": "scenario", "description": "better", "if_exists": "update"},
            "update_agent",
            1,
        ),
    ],
    ids=["pause", "restart", "update", "create"],
)


def _creating(emulator: Emulator, operator, *steps) -> dict[str, object]:
    (agent_id,) = emulator.seed(status="creating", name="scenario")
    emulator.script(agent_id, steps)
    common = {"poll_interval": 5, "timeout": 300}
    return common if operator is ConnixCreateAgentOperator else {**common, "agent_id": agent_id}


@MODES
@ACTIONS
def test_an_outage_meanwhile_ends_nothing(operator, arguments, call, looks, deferrable, emulator, run, warp):
    scenario = _creating(emulator, operator, (100, "running"))
    # More than any single call is repeated.
    emulator.faults.add(Fault.status(503), on="get_agent", after=looks, times=9)
    ran = run(operator, deferrable=deferrable, **scenario, **arguments)
    assert (ran.state, ran.error) == ("success", None), ran.log
    assert len(emulator.journal.executed(call)) == 1


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_transient_errors_end_no_wait(fault, emulator, run, warp):
    scenario = _creating(emulator, ConnixPauseAgentOperator, (100, "running"))
    emulator.faults.add(fault, on="get_agent", after=2, times=7)
    ran = run(ConnixPauseAgentOperator, **scenario)
    assert (ran.state, ran.error) == ("success", None), ran.log
    assert len(emulator.journal.executed("pause_agent")) == 1


@MODES
@ACTIONS
def test_a_timeout_names_the_last_transient_error(
    operator, arguments, call, looks, deferrable, emulator, run, warp
):
    scenario = _creating(emulator, operator)
    emulator.faults.add(Fault.status(503), on="get_agent", after=looks + 1, times=None)
    ran = run(operator, deferrable=deferrable, **scenario, **arguments)
    assert type(ran.error) is ConnixAgentTimeoutError, ran.log
    assert "the last poll failed: ConnixServerError" in str(ran.error)
    assert "was not ready to be acted on" in str(ran.error)
    assert warp.slept < 301
    assert not emulator.journal.executed(call)


@MODES
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(401, code="unauthorized"), ConnixAuthenticationError),
        (Fault.status(403, code="insufficient_permissions"), ConnixPermissionError),
        (Fault.status(404, code="agent_not_found"), ConnixAgentGoneError),
    ],
    ids=["401", "403", "404"],
)
def test_permanent_errors_end_it_at_once(fault, error, deferrable, emulator, run, warp):
    scenario = _creating(emulator, ConnixPauseAgentOperator, (100, "running"))
    emulator.faults.add(fault, on="get_agent", after=2, times=None)
    ran = run(ConnixPauseAgentOperator, deferrable=deferrable, **scenario)
    assert type(ran.error) is error, ran.log
    assert len(emulator.journal.entries("get_agent")) == 3
    assert len(emulator.journal.entries("pause_agent")) == 1


def test_a_key_that_is_changed_meanwhile_goes_on(emulator, run, connection, warp, monkeypatch):
    scenario = _creating(emulator, ConnixPauseAgentOperator, (40, "running"))
    await_settled = busy_agent.await_settled

    def with_a_refused_key(*args, **kwargs):
        connection(password=emulator.add_key())
        emulator.revoke_key(emulator.api_key)
        return await_settled(*args, **kwargs)

    monkeypatch.setattr(busy_agent, "await_settled", with_a_refused_key)
    ran = run(ConnixPauseAgentOperator, **scenario)
    assert (ran.state, ran.error) == ("success", None), ran.log
    assert len([entry for entry in emulator.journal.entries() if entry.status == 401]) == 1


@MODES
def test_an_update_refused_while_updating_is_sent_again(deferrable, emulator, run, warp):
    (agent_id,) = emulator.seed(status="updating", name="scenario")
    emulator.script(agent_id, [(40, "running")])
    emulator.faults.add(Fault.status(409, code="agent_conflict"), on="update_agent", times=1)
    ran = run(ConnixUpdateAgentOperator, agent_id=agent_id, description="better", deferrable=deferrable)
    assert (ran.state, ran.error) == ("success", None), ran.log
    assert emulator.agent(agent_id)["description"] == "better"


@MODES
@pytest.mark.parametrize(
    ("operator", "action", "status", "becomes"),
    [
        (ConnixStartAgentOperator, "start", "stopped", "running"),
        (ConnixPauseAgentOperator, "pause", "running", "paused"),
        (ConnixStopAgentOperator, "stop", "running", "stopped"),
    ],
)
def test_another_refusal_proves_nothing_about_a_lost_request(
    operator, action, status, becomes, deferrable, emulator, run, warp
):
    (agent_id,) = emulator.seed(status="updating")
    emulator.script(agent_id, [(40, status)])
    emulator.faults.add(Fault.reset_before(), on=f"{action}_agent", times=1)
    ran = run(operator, agent_id=agent_id, deferrable=deferrable, timeout=300)
    assert (ran.state, ran.error) == ("success", None), ran.log
    assert emulator.agent(agent_id)["status"] == becomes
    assert len(emulator.journal.executed(f"{action}_agent")) == 1


@MODES
def test_six_refusals_of_an_action_fail_the_task(deferrable, emulator, run, warp, monkeypatch):
    (agent_id,) = emulator.seed(status="error")
    emulator.faults.add(Fault.status(409, message="not now"), on="start_agent", times=None)
    await_settled = busy_agent.await_settled

    def move(*args, **kwargs):
        # A sign of life: each refusal might be the last.
        emulator.clock.advance(0.001)
        emulator.set_status(agent_id, "error")
        return await_settled(*args, **kwargs)

    monkeypatch.setattr(busy_agent, "await_settled", move)
    ran = run(ConnixStartAgentOperator, agent_id=agent_id, deferrable=deferrable, timeout=600)
    assert type(ran.error) is ConnixConflictError, ran.log
    assert "not now" in str(ran.error)
    assert len(emulator.journal.entries("start_agent")) == 6


OLD, NEW = Snapshot("error", updated_at_text="1"), Snapshot("error", updated_at_text="2")


@pytest.mark.parametrize(
    ("state", "repeats", "was_lost", "explains"),
    [
        (PollState(before=OLD, last=OLD, was_busy=True), 100, False, True),
        (PollState(before=OLD, last=NEW), 5, False, True),
        (PollState(before=OLD, last=NEW), 6, False, False),
        (PollState(before=OLD, last=OLD), 1, False, False),
        (PollState(before=OLD, last=OLD), 5, True, True),
        (PollState(before=OLD, last=OLD), 6, True, False),
        (PollState(last=NEW), 1, False, False),
    ],
)
def test_a_busy_or_changed_agent_explains_a_conflict(state, repeats, was_lost, explains):
    assert busy_agent.explains_conflict(state, repeats, may_have_executed=was_lost) is explains


@pytest.mark.parametrize("event", [{**DONE, "deadline": 1.0}, {**DONE, "outcome": "timeout"}])
def test_a_timeout_names_the_last_conflict(event, connection):
    task = ConnixPauseAgentOperator(task_id="task", agent_id="agent_1", deferrable=True)
    with pytest.raises(ConnixAgentTimeoutError, match="Connix refused to pause it"):
        task.resume_after_conflict({}, {**event, "resume_with": {"reason": "Connix refused to pause it."}})


@MODES
def test_a_taken_name_fails_at_once(deferrable, emulator, run, warp):
    emulator.seed(name="taken")
    (agent_id,) = emulator.seed()
    ran = run(ConnixUpdateAgentOperator, agent_id=agent_id, name="taken", deferrable=deferrable)
    assert type(ran.error) is ConnixConflictError, ran.log
    assert "name already exists" in str(ran.error)
    assert len(emulator.journal.entries("update_agent")) == 1


@MODES
def test_an_unknown_status_explains_no_refusal(deferrable, emulator, run, warp):
    (agent_id,) = emulator.seed(status="hibernating")
    ran = run(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable)
    assert type(ran.error) is ConnixConflictError, ran.log


@ACTIONS
def test_a_deferrable_task_leaves_its_slot_at_once(
    operator, arguments, call, looks, emulator, run, warp, monkeypatch
):
    scenario = _creating(emulator, operator, (100, "running"))
    triggers = []
    defer = operator.defer

    def keep(self, **how):
        triggers.append((how["trigger"], how["method_name"], warp.slept))
        defer(self, **how)

    monkeypatch.setattr(operator, "defer", keep)
    ran = run(operator, deferrable=True, **scenario, **arguments)
    assert ran.state == "success", ran.log
    trigger, method_name, slept = triggers[0]
    assert isinstance(trigger, ConnixAgentStatusTrigger)
    assert (trigger.goal, method_name) == ("settle", "resume_after_conflict")
    # A restart waits out the second of the last change before it is sent.
    assert slept <= 1
    # Acting anew wins the task no time.
    assert len({trigger.deadline for trigger, _, _ in triggers}) == 1


@pytest.mark.parametrize("event", [None, {}, {"deadline": 1.0}, DONE, {**DONE, "deadline": "soon"}])
def test_a_bad_event_sends_no_action(event):
    task = ConnixPauseAgentOperator(task_id="task", agent_id="agent_1", deferrable=True)
    with pytest.raises(ValueError, match="the task was resumed with"):
        task.resume_after_conflict({}, event)
