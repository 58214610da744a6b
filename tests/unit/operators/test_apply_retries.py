"""A retry of an apply is green only if each agent is as a first try would have required."""

from __future__ import annotations

import pytest
from in_process import TaskRun

from connix_provider.client.errors import (
    ConnixAuthenticationError,
    ConnixNotFoundError,
    ConnixValidationError,
)
from connix_provider.emulator import Fault
from connix_provider.exceptions import (
    ConnixAgentFailedError,
    ConnixAgentGoneError,
    ConnixAgentTimeoutError,
)
from connix_provider.operators.apply import ConnixApplyAgentsOperator

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]

MISSING = Fault.status(404, code="agent_not_found")
#: How the task is started again without a clear.
AGAIN = pytest.mark.parametrize("same_try", [False, True], ids=["next try", "same try"])


@pytest.fixture
def task(connection, warp):
    """Make a run of an apply of one agent, with other keys of its declaration if they are given."""

    def make(declared=None, **arguments):
        spec = [{"name": "agent", "description": "new", **(declared or {})}]
        arguments = {"owner": "team", "timeout": 120, "poll_interval": 5, "spec": spec, **arguments}
        return TaskRun(warp, ConnixApplyAgentsOperator, remembering=True, **arguments)

    return make


def the_agent(emulator):
    (agent_id,) = {entry.agent_id for entry in emulator.journal.entries("get_agent")}
    return agent_id, emulator.agent(agent_id)["status"]


#: Status before, faults of the first try, and its exception.
UPDATES = {
    "error": ("running", [(Fault.ends_in_error(), "update_agent", 0)], ConnixAgentFailedError),
    "error of a stopped agent": (
        "stopped",
        [(Fault.ends_in_error(), "update_agent", 0)],
        ConnixAgentFailedError,
    ),
    "error after a lost response": (
        "running",
        [
            (Fault.reset_after(), "update_agent", 0),
            (Fault.status(409, code="agent_conflict"), "update_agent", 0),
            (Fault.unknown_status("error"), "get_agent", 3),
        ],
        ConnixAgentFailedError,
    ),
    "error after a refused key": (
        "running",
        [
            (Fault.ends_in_error(), "update_agent", 0),
            (Fault.status(401, code="unauthorized"), "get_agent", 2),
        ],
        ConnixAuthenticationError,
    ),
}


@AGAIN
@pytest.mark.parametrize(("before", "faults", "error"), UPDATES.values(), ids=UPDATES)
def test_an_update_that_failed_stays_failed(before, faults, error, same_try, task, emulator):
    (agent_id,) = emulator.seed(name="agent", status=before)
    for fault, call, after in faults:
        emulator.faults.add(fault, on=call, after=after, times=1)
    run = task()
    assert type(run.try_once().error) is error
    emulator.faults.clear()
    emulator.clock.advance(60)
    emulator.set_status(agent_id, "error")
    for _ in range(2):
        assert type(run.try_once(same_try=same_try).error) is ConnixAgentFailedError
    # The agent was corrected, so the update has ended well.
    emulator.set_status(agent_id, before)
    assert run.try_once(same_try=same_try).error is None
    assert len(emulator.journal.executed("update_agent")) == 1
    assert "connix_apply" not in run.store


@AGAIN
def test_an_unknown_status_after_an_update_stays_unknown(same_try, task, emulator):
    emulator.seed(name="agent")
    emulator.faults.add(Fault.unknown_status("migrating"), on="get_agent", after=2, times=None)
    run = task()
    for _ in range(2):
        assert type(run.try_once(same_try=same_try).error) is ConnixAgentTimeoutError
    emulator.faults.clear()
    assert run.try_once(same_try=same_try).error is None


def test_an_old_error_fails_no_update(task, emulator):
    (agent_id,) = emulator.seed(name="agent", status="error")
    run = task()
    assert run.try_once().error is None
    assert run.try_once().error is None
    assert emulator.agent(agent_id)["status"] == "error"


@pytest.mark.parametrize(("state", "action"), [("running", "restart"), ("stopped", "stop")])
def test_a_declared_state_decides_after_an_error(state, action, task, emulator):
    (agent_id,) = emulator.seed(name="agent")
    emulator.faults.add(Fault.ends_in_error(), on="update_agent", times=1)
    run = task({"state": state})
    assert type(run.try_once().error) is ConnixAgentFailedError
    assert run.try_once().error is None
    assert emulator.agent(agent_id)["status"] == state
    assert len(emulator.journal.executed(f"{action}_agent")) == 1


@AGAIN
@pytest.mark.parametrize(
    ("status", "action"), [("error", "restart"), ("paused", "start"), ("stopped", "start")]
)
def test_a_retry_gets_a_created_agent_running(status, action, same_try, task, emulator):
    emulator.faults.add(Fault.unknown_status(status), on="get_agent", times=1)
    run = task()
    assert type(run.try_once().error) is ConnixAgentFailedError
    agent_id, _ = the_agent(emulator)
    emulator.clock.advance(60)
    emulator.set_status(agent_id, status)
    emulator.faults.add(Fault.ends_in_error(), on=f"{action}_agent", times=1)
    assert type(run.try_once(same_try=same_try).error) is ConnixAgentFailedError
    ran = run.try_once(same_try=same_try)
    assert ran.error is None, ran.error
    assert the_agent(emulator) == (agent_id, "running")
    assert len(emulator.journal.executed("create_agent")) == 1
    assert "connix_apply" not in run.store


def test_a_killed_create_gets_its_agent_running(task, emulator):
    emulator.faults.add(Fault.ends_in_error(), on="create_agent", times=1)
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_agent", times=1)
    run = task()
    assert type(run.try_once().error) is ConnixAuthenticationError
    emulator.clock.advance(60)
    assert run.try_once().error is None
    assert the_agent(emulator)[1] == "running"


@pytest.mark.parametrize("status", ["paused", "stopped", "error"])
def test_a_clear_leaves_the_state_to_others(status, task, emulator):
    run = task()
    assert run.try_once().error is None
    agent_id, _ = the_agent(emulator)
    emulator.set_status(agent_id, status)
    run.clear()
    assert run.try_once().error is None
    assert the_agent(emulator) == (agent_id, status)


BOTH = [{"name": "agent", "description": "new"}, {"name": "other"}]
INVALID = Fault.status(400, code="validation_error")


@AGAIN
def test_a_done_create_leaves_the_state_to_others(same_try, task, emulator):
    emulator.faults.add(INVALID, on="create_agent", after=1, times=1)
    run = task(spec=BOTH)
    assert type(run.try_once().error) is ConnixValidationError
    agent_id, _ = the_agent(emulator)
    emulator.set_status(agent_id, "paused")
    assert run.try_once(same_try=same_try).error is None
    assert emulator.agent(agent_id)["status"] == "paused"


@AGAIN
def test_a_done_update_ignores_a_later_error(same_try, task, emulator):
    (agent_id,) = emulator.seed(name="agent")
    emulator.faults.add(INVALID, on="create_agent", times=1)
    run = task(spec=BOTH)
    assert type(run.try_once().error) is ConnixValidationError
    emulator.set_status(agent_id, "error")
    assert run.try_once(same_try=same_try).error is None
    assert len(emulator.journal.executed("update_agent")) == 1


STATES = pytest.mark.parametrize("state", [None, "running", "paused", "stopped"])
WAITS = pytest.mark.parametrize("waits", [True, False], ids=["wait", "no wait"])


@WAITS
@STATES
@pytest.mark.parametrize("reads", [0, 1, 2])
def test_a_new_agent_may_be_missing_at_first(reads, state, waits, task, emulator):
    emulator.faults.add(MISSING, on="get_agent", after=reads, times=2)
    ran = task({"state": state} if state else {}, wait_for_completion=waits).try_once()
    assert ran.error is None, ran.error
    emulator.clock.advance(60)
    assert emulator.agent(ran.result["agents"]["agent"])["status"] == (state or "running")


@WAITS
@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_new_agent_that_stays_missing_is_gone(state, waits, task, emulator, warp):
    emulator.faults.add(MISSING, on="get_agent", times=None)
    began = warp.time()
    ran = task({"state": state}, wait_for_completion=waits).try_once()
    assert type(ran.error) in {ConnixAgentGoneError, ConnixNotFoundError}
    assert 15 <= warp.time() - began < 30
