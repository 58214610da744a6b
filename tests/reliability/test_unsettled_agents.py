"""A create that finds its agent in an unsettled status waits for the settled one, then acts once."""

from __future__ import annotations

import pytest
from modes import MODES

from connix_provider.client.agents import Agents
from connix_provider.client.errors import ConnixConnectionError, ConnixResponseError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentFailedError, ConnixAgentTimeoutError
from connix_provider.operators._base.task_state import ActionRecord
from connix_provider.operators._once.restart_once import resume_restart
from connix_provider.operators.agent import ConnixCreateAgentOperator
from connix_provider.poll_state import Snapshot

pytestmark = pytest.mark.heavy
OWNERS = pytest.mark.parametrize("is_own", [True, False], ids=["own agent", "if_exists=update"])
CREATE = {"name": "alpha", "config": {"model": "gpt-4"}}


@pytest.fixture
def create(scenario):
    """Make a run of a create that updates an agent of its name."""

    def make(deferrable, **arguments):
        common = {"poll_interval": 5, "timeout": 300, "if_exists": "update", **CREATE}
        return scenario.task(
            ConnixCreateAgentOperator, remembering=True, deferrable=deferrable, **{**common, **arguments}
        )

    return make


def _found(scenario, run, is_own, status, **fields) -> str:
    """Return an agent in a status that the next try of the create finds."""
    if is_own:
        agent_id = run.try_once().result
        scenario.emulator.set_status(agent_id, status)
        run.clear()
    else:
        fields = {**CREATE, **fields}
        (agent_id,) = scenario.emulator.seed(status=status, project_id=scenario.project_id, **fields)
    return agent_id


@MODES
@OWNERS
@pytest.mark.parametrize("found", ["creating", "updating", "booting"])
@pytest.mark.parametrize("description", [None, "new"], ids=["equal", "differs"])
@pytest.mark.parametrize(
    ("settled", "action"),
    [("running", None), ("error", "restart"), ("stopped", "start"), ("paused", "start")],
)
def test_an_unsettled_agent_ends_up_running(
    settled, action, description, found, is_own, deferrable, scenario, create
):
    run = create(deferrable)
    agent_id = _found(scenario, run, is_own, found)
    scenario.emulator.script(agent_id, [(20, settled)])
    ran = run.try_once(**({"description": description} if description else {}))
    assert (ran.result, ran.error) == (agent_id, None)
    agent = scenario.emulator.agent(agent_id)
    assert (agent["status"], agent["description"] or None) == ("running", description)
    for call in ("restart", "start"):
        assert scenario.executed(f"{call}_agent") == (call == action)


@MODES
@pytest.mark.parametrize("found", ["creating", "updating", "booting"])
def test_an_agent_that_never_settles_times_out(found, deferrable, scenario, create):
    run = create(deferrable)
    agent_id = _found(scenario, run, False, found)
    ran = run.try_once()
    assert isinstance(ran.error, ConnixAgentTimeoutError)
    assert abs(scenario.warp.time() - ran.deadline) < 1
    for word in ("alpha", agent_id, found, "300 s"):
        assert word in str(ran.error)
    # The triggerer waits, so that the task holds no worker slot.
    assert ran.deferrals == deferrable


@MODES
@pytest.mark.parametrize("limited", [False, True], ids=["", "rate limit"])
def test_a_lost_creates_agent_is_not_restarted(limited, deferrable, scenario, create, monkeypatch):
    send = Agents.create

    def lose_response(*arguments):
        agent_id = send(*arguments).id
        scenario.emulator.script(agent_id, [(100, "error")])
        if limited:
            scenario.emulator.faults.add(Fault.rate_limited(30), on="list_agents", times=1)
        error = ConnixConnectionError("the connection broke")
        error.may_have_executed = True
        raise error

    monkeypatch.setattr(Agents, "create", lose_response)
    ran = create(deferrable).try_once()
    assert isinstance(ran.error, ConnixAgentFailedError)
    assert scenario.executed("create_agent") == 1
    assert scenario.executed("restart_agent") == 0


@MODES
@pytest.mark.parametrize("fault", [Fault.reset_before(), Fault.reset_after()], ids=["before", "after"])
def test_a_lost_restart_after_an_update_is_confirmed(fault, deferrable, scenario, create):
    run = create(deferrable, description="new")
    agent_id = _found(scenario, run, False, "error")
    scenario.emulator.clock.advance(60)
    scenario.emulator.faults.add(fault, on="restart_agent", times=1)
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == 1
    assert scenario.executed("update_agent") == 1


@MODES
def test_a_stale_read_after_an_update_proves_nothing(deferrable, scenario, create, monkeypatch):
    run = create(deferrable, description="new")
    _found(scenario, run, False, "error")
    scenario.emulator.clock.advance(60)
    get, settled = Agents.get, []

    def lag(*arguments):
        agent = get(*arguments)
        if agent.status == "updating":
            return settled[-1]
        settled.append(agent)
        return agent

    monkeypatch.setattr(Agents, "get", lag)
    scenario.emulator.faults.add(Fault.reset_before(), on="restart_agent", times=1)
    ran = run.try_once()
    assert "was restarted is unknown: it was updating before" in str(ran.error)
    assert scenario.executed("restart_agent") == 0


@MODES
def test_a_restart_after_an_update_survives_kills(deferrable, scenario, create, monkeypatch):
    def kill(*arguments):
        raise KeyboardInterrupt

    run = create(deferrable, description="new")
    agent_id = _found(scenario, run, False, "error")
    scenario.emulator.clock.advance(60)
    with monkeypatch.context() as patched:
        patched.setattr(Agents, "restart", kill)
        with pytest.raises(KeyboardInterrupt):
            run.try_once()
    scenario.emulator.clock.advance(60)
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == 1


def test_an_unsettled_record_gives_its_own_reason():
    record = ActionRecord("agent_1")
    with pytest.raises(ConnixResponseError, match="unknown: it was updating before"):
        resume_restart(None, "project_1", record, Snapshot("updating"))
