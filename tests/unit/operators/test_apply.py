"""Agents are kept as declared: what is sent, what is not, and what a plan says of it."""

from __future__ import annotations

import copy
import json

import pytest
from in_process import TaskRun

from connix_provider.client import Client
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentFailedError, ConnixAgentTimeoutError
from connix_provider.operators._apply.run import ApplyRun
from connix_provider.operators._base.identity import APPLY_OWNER_FIELD
from connix_provider.operators.apply import ConnixApplyAgentsOperator

pytestmark = pytest.mark.heavy

CONFIG = {"model": "gpt-4", "temperature": 0.3, "tools": ["web_search"]}


@pytest.fixture
def task(connection, warp):
    """Make a run of an apply, without Airflow's task runner around it."""

    def make(spec, **arguments):
        arguments = {"owner": "team", "timeout": 600, "poll_interval": 1, **arguments}
        return TaskRun(warp, ConnixApplyAgentsOperator, remembering=True, spec=spec, **arguments)

    return make


@pytest.fixture
def apply(task):
    def run(spec, **arguments):
        ran = task(spec, **arguments).try_once()
        if ran.error:
            raise ran.error
        return ran.result

    return run


@pytest.fixture
def writes(emulator):
    """List the requests that may change something, oldest first, and forget them."""

    def listed():
        entries = [entry for entry in emulator.journal.entries() if entry.method != "GET"]
        emulator.journal.clear()
        return [(entry.call, entry.agent_id) for entry in entries]

    return listed


@pytest.fixture
def bodies(monkeypatch):
    """Keep the method and the body of each call."""
    kept, perform = [], Client.perform

    def keep(client, call):
        kept.append((call.method, call.body))
        return perform(client, call)

    monkeypatch.setattr(Client, "perform", keep)
    return kept


def spec_of(count, **fields):
    return [{"name": f"agent-{number}", "config": dict(CONFIG), **fields} for number in range(count)]


def test_fifty_agents_of_which_thirty_are_equal(apply, emulator, writes, bodies):
    spec = spec_of(50)
    ids = [emulator.seed(name=f"agent-{number}", config=dict(CONFIG))[0] for number in range(40)]
    for entry in spec[30:40]:
        entry["config"]["temperature"] = 0.7
    result = apply(spec)
    assert result["summary"] == {"create": 10, "update": 10, "delete": 0, "unchanged": 30}
    assert [json.loads(body) for method, body in bodies if method == "PUT"] == 10 * [
        {"config": {"temperature": 0.7}}
    ]
    calls = writes()
    assert [call for call, _ in calls if call == "create_agent"] == 10 * ["create_agent"]
    assert [agent_id for call, agent_id in calls if call == "update_agent"] == ids[30:40]
    assert len(calls) == 20
    assert list(result["agents"]) == [entry["name"] for entry in spec]
    assert {emulator.agent(agent_id)["status"] for agent_id in result["agents"].values()} == {"running"}
    assert apply(spec)["summary"] == {"create": 0, "update": 0, "delete": 0, "unchanged": 50}
    assert writes() == []


@pytest.mark.parametrize("wanted", ["running", "paused", "stopped", None])
@pytest.mark.parametrize("status", ["running", "paused", "stopped", "error", "updating", None])
def test_each_agent_gets_into_its_declared_state(status, wanted, apply, emulator, writes):
    state = {"state": wanted} if wanted else {}
    if status:
        (agent_id,) = emulator.seed(status=status, name="agent-0", config=dict(CONFIG))
        if status == "updating":
            emulator.script(agent_id, [(5, "running")])
    result = apply(spec_of(1, **state))
    emulator.clock.advance(60)
    agent = emulator.agent(result["agents"]["agent-0"])
    untouched = "running" if status in {"updating", None} else status
    assert agent["status"] == (wanted or untouched)
    sent = writes()
    assert len(sent) == len(set(sent))
    assert apply(spec_of(1, **state))["summary"]["unchanged"] == 1
    assert writes() == []


def without_metadata(perform):
    """Leave the metadata out of each listing, as a service may."""

    def flow(client, call):
        result = yield from perform(client, call)
        for agent in result if (call.method, call.path[-7:]) == ("GET", "/agents") else ():
            agent.metadata.clear()
            agent.model_fields_set.discard("metadata")
        return result

    return flow


@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "read"])
def test_prune_deletes_only_the_owners_agents(is_listed, apply, emulator, writes, monkeypatch):
    if not is_listed:
        monkeypatch.setattr(Client, "flow", without_metadata(Client.flow))
    (foreign,) = emulator.seed(name="foreign")
    (adopted,) = emulator.seed(name="adopted", config=dict(CONFIG))
    named = ("adopted", "mine-1", "mine-2")
    ids = apply([{"name": name, "config": {**CONFIG, "temperature": 0.9}} for name in named])["agents"]
    other = apply([{"name": "theirs", "config": CONFIG}], owner="another team")["agents"]["theirs"]
    writes()
    spec = [{"name": "mine-1", "config": CONFIG}]
    assert apply(spec)["summary"]["delete"] == 0
    result = apply(spec, prune=True)
    assert [change["name"] for change in result["changes"]] == ["mine-2"]
    assert [call for call in writes() if call[0] == "delete_agent"] == [("delete_agent", ids["mine-2"])]
    emulator.clock.advance(60)
    for agent_id in (foreign, adopted, other, ids["mine-1"]):
        assert emulator.agent(agent_id)["status"] == "running"
    with pytest.raises(KeyError):
        emulator.agent(ids["mine-2"])


def test_an_agent_without_its_owner_is_kept(task, emulator, monkeypatch):
    agent_id = task([{"name": "old", "config": CONFIG}]).try_once().result["agents"]["old"]
    carry_out = ApplyRun.carry_out

    def change_first(run):
        # Another user takes the agent over, after the plan was made.
        run._polling_session.client.agents.update(
            run._project_id, agent_id, {"metadata": {APPLY_OWNER_FIELD: "x"}}
        )
        return carry_out(run)

    monkeypatch.setattr(ApplyRun, "carry_out", change_first)
    ran = task([], prune=True).try_once()
    assert "no longer names the owner 'team'" in str(ran.error)
    assert emulator.journal.entries("delete_agent") == []


def test_a_dry_run_only_returns_the_plan(apply, emulator, writes):
    emulator.seed(name="drifted", config={"model": "gpt-3"}, status="stopped")
    spec = [
        {"name": "new", "config": CONFIG, "state": "paused"},
        {"name": "drifted", "description": "Is here", "config": {"model": "gpt-4"}, "state": "running"},
    ]
    plan = apply(spec, dry_run=True)
    assert writes() == []
    assert json.loads(json.dumps(plan)) == plan
    new, drifted = plan["changes"]
    assert (new["action"], new["state"]) == ("create", {"from": None, "to": "paused"})
    assert drifted["state"] == {"from": "stopped", "to": "running"}
    assert drifted["fields"] == [
        {"field": "description", "from": None, "to": "Is here"},
        {"field": "config.model", "from": "gpt-3", "to": "gpt-4"},
    ]
    assert plan["diff"].splitlines()[1:] == [
        "+ agent 'new'",
        '    config.model: "gpt-4"',
        "    config.temperature: 0.3",
        '    config.tools: ["web_search"]',
        "    state: paused",
        f"~ agent 'drifted' ({drifted['agent_id']})",
        '    description: null -> "Is here"',
        '    config.model: "gpt-3" -> "gpt-4"',
        "    state: stopped -> running",
    ]


def test_a_saved_plan_is_carried_out(apply, emulator, writes):
    emulator.seed(name="agent-0", config={"model": "gpt-3"})
    spec = spec_of(2, state="stopped")
    plan = json.loads(json.dumps(apply(spec, dry_run=True)))
    result = apply(spec, plan=plan)
    assert result["changes"] == plan["changes"]
    assert [call for call, _ in writes()] == ["update_agent", "create_agent", "stop_agent", "stop_agent"]


OTHER_CHANGE = {
    "an update of an agent that changes": lambda emulator, apply, ids: apply(
        [{"name": "agent-0", "description": "by others"}]
    ),
    "an update of an agent that is equal": lambda emulator, apply, ids: apply(
        [{"name": "agent-1", "config": {"temperature": 1.5}}]
    ),
    "a status": lambda emulator, apply, ids: emulator.set_status(ids[0], "error"),
    "a delete": lambda emulator, apply, ids: emulator.remove(ids[1]),
    "a create": lambda emulator, apply, ids: emulator.seed(name="agent-2"),
}


@pytest.mark.parametrize("change", OTHER_CHANGE.values(), ids=OTHER_CHANGE.keys())
def test_a_saved_plan_is_refused_after_foreign_changes(change, apply, emulator, writes):
    ids = [
        *emulator.seed(name="agent-0", config={"model": "gpt-3"}),
        *emulator.seed(name="agent-1", config=dict(CONFIG)),
    ]
    plan = apply(spec_of(3), dry_run=True)
    change(emulator, apply, ids)
    writes()
    with pytest.raises(ValueError, match="1 of its agents changed: 'agent-"):
        apply(spec_of(3), plan=plan)
    assert writes() == []


def test_a_saved_plan_of_another_declaration_is_refused(apply, writes):
    plan = apply(spec_of(2), dry_run=True)
    changed = copy.deepcopy(spec_of(2))
    changed[0]["config"]["environment_variables"] = {"A": "b"}
    for arguments, says in (
        ({"spec": changed}, "the spec changed"),
        ({"prune": True}, "prune=False"),
        ({"owner": "other"}, "owner='team'"),
        ({"plan": {"diff": ""}}, "dry_run=True"),
    ):
        with pytest.raises(ValueError, match=says):
            apply(**{"spec": spec_of(2), "plan": plan, **arguments})
    assert writes() == []


def test_a_plans_digest_needs_the_credentials(apply, emulator, connection):
    plans = [apply(spec_of(2), dry_run=True)]
    connection(password=emulator.add_key())
    plans.append(apply(spec_of(2), dry_run=True))
    digests = [plan["spec"].partition(":")[2] for plan in plans]
    assert digests[0] != digests[1]
    with pytest.raises(ValueError, match="or the credentials of the connection did"):
        apply(spec_of(2), plan=plans[0])


def test_a_retry_goes_on_with_a_saved_plan(task, apply, emulator, writes):
    emulator.seed(name="agent-0", config={"model": "gpt-3"})
    plan = apply(spec_of(3, state="stopped"), dry_run=True)
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="stop_agent", times=1)
    run = task(spec_of(3, state="stopped"), plan=plan)
    assert run.try_once().error is not None
    ran = run.try_once()
    assert ran.error is None
    sent = [call for call, _ in writes()]
    assert (sent.count("create_agent"), sent.count("update_agent")) == (2, 1)
    assert {emulator.agent(agent_id)["status"] for agent_id in ran.result["agents"].values()} == {"stopped"}


LOST = [Fault.reset_before(), Fault.reset_after(), Fault.status(503), Fault.rate_limited(retry_after=5)]


@pytest.mark.parametrize(
    "call", ["create_agent", "update_agent", "stop_agent", "delete_agent", "list_agents"]
)
@pytest.mark.parametrize("fault", LOST, ids=["reset before", "reset after", "503", "429"])
def test_a_lost_response_leaves_the_declared_agents(fault, call, apply, emulator, writes):
    old = apply([{"name": "old", "config": CONFIG}])["agents"]["old"]
    emulator.seed(name="agent-0", config={"model": "gpt-3"})
    emulator.journal.clear()
    emulator.faults.add(fault, on=call, times=2)
    result = apply(spec_of(2, state="stopped"), prune=True)
    executed = [entry.call for entry in emulator.journal.executed() if entry.method != "GET"]
    assert sorted(set(executed)) == ["create_agent", "delete_agent", "stop_agent", "update_agent"]
    assert executed.count("create_agent") == 1
    for agent_id in result["agents"].values():
        assert emulator.agent(agent_id)["status"] == "stopped"
    with pytest.raises(KeyError):
        emulator.agent(old)
    emulator.journal.clear()
    assert apply(spec_of(2, state="stopped"), prune=True)["summary"]["unchanged"] == 2
    assert writes() == []


def test_a_killed_create_is_found_by_the_retry(task, emulator, writes):
    emulator.faults.add(Fault.reset_after(), on="create_agent", times=1)
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="list_agents", after=1, times=1)
    run = task(spec_of(2))
    assert run.try_once().error is not None
    assert run.try_once().error is None
    assert len(emulator.journal.executed("create_agent")) == 2


def test_an_earlier_trys_restart_is_not_repeated(task, emulator):
    (agent_id,) = emulator.seed(name="agent-0", status="error", config=dict(CONFIG))
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_agent", after=2, times=1)
    run = task(spec_of(1, state="running"))
    assert run.try_once().error is not None
    assert run.try_once().error is None
    assert len(emulator.journal.executed("restart_agent")) == 1
    assert emulator.agent(agent_id)["status"] == "running"


def test_each_restart_of_an_earlier_try_is_kept(task, emulator):
    agents = emulator.seed(2, name="agent-{n}", status="error", config=dict(CONFIG))
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_agent", after=4, times=1)
    run = task([{"name": f"agent-{number}", "state": "running"} for number in (1, 2)])
    assert run.try_once().error is not None
    assert len(emulator.journal.executed("restart_agent")) == 2
    assert sorted(run.store["connix_apply"]["record"]["restarts"]) == sorted(agents)
    assert run.try_once().error is None
    assert len(emulator.journal.executed("restart_agent")) == 2
    assert "connix_apply" not in run.store


def test_a_failed_agent_stops_no_other(task, emulator, writes):
    apply_old = task([{"name": "old", "config": CONFIG}]).try_once().result["agents"]["old"]
    ids = emulator.seed(3, name="agent-{n}", status="stopped", config=dict(CONFIG))
    emulator.faults.add(Fault.ends_in_error(), on="start_agent", times=1)
    spec = [{"name": f"agent-{number}", "state": "running"} for number in (1, 2, 3)]
    ran = task(spec, prune=True).try_once()
    assert type(ran.error) is ConnixAgentFailedError
    assert ran.error.agent_id == ids[0]
    assert [emulator.agent(agent_id)["status"] for agent_id in ids] == ["error", "running", "running"]
    # Nothing is deleted after a failure.
    assert emulator.agent(apply_old)["status"] == "running"


def test_several_failures_are_one_error(task, emulator):
    emulator.seed(3, name="agent-{n}", status="stopped")
    emulator.faults.add(Fault.ends_in_error(), on="start_agent", times=2)
    emulator.faults.add(Fault.status(400, code="validation_error"), on="update_agent", times=1)
    spec = [{"name": f"agent-{number}", "state": "running"} for number in (1, 2)]
    ran = task([*spec, {"name": "agent-3", "description": "new"}]).try_once()
    assert type(ran.error) is ConnixAgentFailedError
    assert str(ran.error).startswith("3 of 3 agents are not as declared. (1) ")
    assert all(f"agent-{number}" in str(ran.error) for number in (1, 2, 3))


def test_a_stuck_agent_delays_no_other_agent(task, emulator):
    stuck, fine = emulator.seed(2, name="agent-{n}", config={"model": "gpt-3"}, status="running")
    emulator.set_status(stuck, "updating")
    ran = task([{"name": f"agent-{n}", "state": "stopped"} for n in (1, 2)]).try_once()
    assert type(ran.error) is ConnixAgentTimeoutError
    assert ran.error.agent_id == stuck
    stopped_at = emulator.history(fine)[-1][0].timestamp()
    assert stopped_at < ran.deadline - 590


def test_a_busy_agent_is_updated_after_it_settles(apply, emulator, writes):
    (agent_id,) = emulator.seed(name="agent-0", config={"model": "gpt-3"})
    emulator.script(agent_id, [(0, "updating"), (30, "running")])
    assert apply(spec_of(1))["agents"] == {"agent-0": agent_id}
    assert emulator.agent(agent_id)["config"]["model"] == "gpt-4"


def test_without_waiting_the_last_request_ends_the_task(apply, emulator, warp, writes):
    (agent_id,) = emulator.seed(name="agent-0", config={"model": "gpt-3"})
    before = warp.time()
    apply([*spec_of(1, state="stopped"), {"name": "new", "config": CONFIG}], wait_for_completion=False)
    assert [call for call, _ in writes()] == ["update_agent", "create_agent", "stop_agent"]
    assert warp.time() - before < 5
    emulator.clock.advance(5)
    assert emulator.agent(agent_id)["status"] == "stopped"


def test_an_agent_without_owner_belongs_to_the_task(connection, warp, emulator):
    arguments = {"dag_id": "agents", "spec": spec_of(1), "timeout": 60, "remembering": True}
    run = TaskRun(warp, ConnixApplyAgentsOperator, **arguments)
    agent = emulator.agent(run.try_once().result["agents"]["agent-0"])
    assert agent["metadata"][APPLY_OWNER_FIELD].endswith("/agents.task")


def test_prune_in_a_mapped_task_needs_an_owner(connection, warp, emulator):
    arguments = {"spec": spec_of(1), "prune": True, "timeout": 60, "map_index": 0, "remembering": True}
    ran = TaskRun(warp, ConnixApplyAgentsOperator, **arguments).try_once()
    assert type(ran.error) is ValueError
    assert "needs an owner in a mapped task" in str(ran.error)
    assert TaskRun(warp, ConnixApplyAgentsOperator, owner="team", **arguments).try_once().error is None


def test_an_owner_of_another_deployment_prunes_nothing(apply, emulator, writes, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CONNIX__DEPLOYMENT_ID", "one")
    apply(spec_of(2))
    monkeypatch.setenv("AIRFLOW__CONNIX__DEPLOYMENT_ID", "two")
    assert apply(spec_of(1), prune=True)["summary"]["delete"] == 0
    monkeypatch.setenv("AIRFLOW__CONNIX__DEPLOYMENT_ID", "one")
    assert apply(spec_of(1), prune=True)["summary"]["delete"] == 1
