"""A 409 for one agent of a fleet: it is repeated only if the agent, or an earlier request, explains it."""

from __future__ import annotations

import pytest
from fleets import fleet, requests
from modes import MODES

from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixFleetError

__all__ = ["fleet"]

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]

BEFORE = dict.fromkeys(("restart", "stop", "pause", "delete"), "running") | {"start": "stopped"}
ACTIONS = pytest.mark.parametrize("action", BEFORE)
CONFLICT = Fault.status(409, code="agent_conflict", message="not now")


@MODES
@ACTIONS
def test_an_unexplained_conflict_is_not_repeated(action, deferrable, fleet, emulator):
    agents = emulator.seed(2, name="team-{n}", status=BEFORE[action])
    emulator.clock.advance(60)
    emulator.faults.add(CONFLICT, on=f"{action}_agent", times=None, agent_id=agents[0])
    ran = fleet(action=action, max_failures=1, max_unavailable=2, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert ran.result["summary"] == {"done": 1, "failed": 1, "not_touched": 0}
    reason = ran.result["agents"][agents[0]]["reason"]
    assert reason.startswith(f"Could not {action} agent 'team-1' ({agents[0]}): Connix responded 409")
    assert "not now. Change what Connix names as the reason, then clear the task" in reason
    assert ran.result["agents"][agents[1]]["reason"] is None
    assert len([entry for entry in emulator.journal.entries(f"{action}_agent") if entry.status == 409]) == 1


@MODES
@pytest.mark.parametrize(("action", "status"), [("pause", "stopped"), ("pause", "error"), ("start", "error")])
def test_a_status_that_allows_no_action_fails(action, status, deferrable, fleet, emulator):
    emulator.seed(1, name="team-{n}", status=status)
    emulator.clock.advance(60)
    ran = fleet(action=action, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert len(emulator.journal.entries(f"{action}_agent")) == 1
    assert "then clear the task" in str(ran.error)
    # Each sentence of the summary ends with a full stop.
    assert "). A retry or a clear of this task continues with those that are not done." in str(ran.error)


def _is_busy_after_each_conflict(emulator, reads):
    """Show an agent as updating for three polls after each read before an action."""
    for number in range(30):
        busy = Fault.unknown_status("updating")
        emulator.faults.add(busy, on="get_agent", after=reads + (4 + reads) * number, times=3)


@MODES
@ACTIONS
def test_a_busy_agent_is_acted_on_after_settling(action, deferrable, fleet, emulator):
    (agent_id,) = emulator.seed(1, name="team-{n}", status=BEFORE[action])
    emulator.clock.advance(60)
    # A delete does not read the agent before.
    _is_busy_after_each_conflict(emulator, reads=action != "delete")
    # More often than a conflict is repeated for an agent that is not busy.
    emulator.faults.add(CONFLICT, on=f"{action}_agent", times=8)
    ran = fleet(action=action, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert requests(emulator, f"{action}_agent") == [agent_id]


@MODES
def test_a_busy_agent_fails_at_the_healthy_deadline(deferrable, fleet, emulator, warp):
    emulator.seed(1, name="team-{n}")
    emulator.clock.advance(60)
    _is_busy_after_each_conflict(emulator, reads=1)
    emulator.faults.add(CONFLICT, on="stop_agent", times=None)
    began = warp.time()
    ran = fleet(action="stop", healthy_deadline=200, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert "was not ready to be acted on within the time allowed (200 s)" in str(ran.error)
    assert 199 <= warp.time() - began <= 205


@MODES
@pytest.mark.parametrize("fault", [Fault.reset_before(), Fault.reset_after()], ids=["before", "after"])
@pytest.mark.parametrize("action", ["stop", "pause"])
def test_a_lost_response_explains_a_conflict(action, fault, deferrable, fleet, emulator):
    (agent_id,) = emulator.seed(1, name="team-{n}")
    emulator.clock.advance(60)
    emulator.faults.add(fault, on=f"{action}_agent", times=1)
    emulator.faults.add(CONFLICT, on=f"{action}_agent", times=1)
    emulator.script(agent_id, [(30, "stopped" if action == "stop" else "paused")])
    ran = fleet(action=action, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error


@MODES
@pytest.mark.parametrize("status", ["running", "updating"])
def test_an_agent_gone_after_a_conflict_is_deleted(status, deferrable, fleet, emulator):
    agents = emulator.seed(2, name="team-{n}", status="running")
    emulator.set_status(agents[0], status)
    emulator.faults.add(CONFLICT, on="delete_agent", agent_id=agents[0])
    emulator.script(agents[0], [(0.5, None)])
    ran = fleet(action="delete", deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert ran.result["summary"]["done"] == 2
    assert ran.result["agents"][agents[0]]["reason"] == "it was gone already"
