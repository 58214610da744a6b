"""Orphaned agents are deleted, and nothing else is: by real runs of Airflow in every state."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from orphans import DAY, before_get, clean_up, deletes, deployment, outcomes, seed, set_states, task_run
from rendered_fields import masker

from connix_provider.client import Client
from connix_provider.operators._base.identity import (
    APPLY_OWNER_FIELD,
    IDENTITY_FIELD,
    parse_identity_key,
)
from connix_provider.operators._orphans import rules as orphan_rules
from connix_provider.operators.agent import ConnixCreateAgentOperator
from connix_provider.operators.fleet import ConnixDeleteOrphanedAgentsOperator

__all__ = ["before_get", "clean_up", "deletes", "deployment", "masker", "seed", "task_run"]

pytestmark = pytest.mark.heavy


#: The states of a run and of its task instances, and why its agent is kept.
RUNS = {
    "success": ("success", "success", None),
    "failed": ("failed", "failed", None),
    "upstream failed": ("failed", "upstream_failed", None),
    "deadlocked": ("failed", None, None),
    "skipped": ("success", "skipped", None),
    "running": ("running", "running", "its run has not ended"),
    "queued": ("queued", None, "its run has not ended"),
    "cleared alone": ("success", "running", "1 of its task instances are under way"),
    "deferred": ("failed", "deferred", "1 of its task instances are under way"),
    "of an unknown state": ("success", "dreaming", "1 of its task instances are under way"),
    "deleted": (None, None, "Airflow has no such run"),
}


def test_only_agents_of_ended_runs_are_deleted(clean_up, task_run, seed, deletes, emulator):
    ids = {name: seed(task_run(*states), name=name) for name, (*states, _) in RUNS.items()}
    emulator.journal.clear()
    for is_dry, outcome in ((True, "would_delete"), (False, "deleted")):
        ran = clean_up(dry_run=is_dry)
        assert ran.state == "success", ran.log
        assert outcomes(ran) == {
            ids[name]: "kept" if reason else outcome for name, (*_, reason) in RUNS.items()
        }
        for name, (*_, reason) in RUNS.items():
            agent = ran.result["agents"][ids[name]]
            assert (agent["name"], agent["reason"] is None) == (name, reason is None)
            assert reason is None or reason in agent["reason"]
            assert parse_identity_key(agent["task_run"]).deployment == "production"
            assert 2 * DAY <= agent["age"] < 2 * DAY + 600
            assert f"Agent '{name}' ({ids[name]}) of task task of DAG case_" in ran.log
        assert ran.result["dry_run"] is is_dry
        assert ran.result["summary"][outcome] == 5
        assert deletes() == ([] if is_dry else list(ids.values())[:5])
    emulator.clock.advance(60)
    for name, agent_id in list(ids.items())[5:]:
        assert emulator.agent(agent_id)["name"] == name


def foreign_keys(own):
    other = dataclasses.replace(own, deployment="development")
    return {
        "another deployment": {IDENTITY_FIELD: str(other)},
        "a deployment without a name": {IDENTITY_FIELD: str(dataclasses.replace(own, deployment=""))},
        "an apply": {IDENTITY_FIELD: f"{own}/agent", APPLY_OWNER_FIELD: "production/team"},
        "six parts": {IDENTITY_FIELD: f"{own}/agent"},
        "four parts": {IDENTITY_FIELD: str(own).rpartition("/")[0]},
        "an owner": {IDENTITY_FIELD: str(own), APPLY_OWNER_FIELD: "production/team"},
        "no map index": {IDENTITY_FIELD: f"{str(own).rpartition('/')[0]}/x"},
        "an odd map index": {IDENTITY_FIELD: f"{str(own).rpartition('/')[0]}/-01"},
        "an empty part": {IDENTITY_FIELD: f"production//{own.run_id}/task/-1"},
        "other quotes": {IDENTITY_FIELD: str(own).replace("production", "%70roduction")},
        "a number": {IDENTITY_FIELD: 5},
        "nothing": {IDENTITY_FIELD: ""},
        "no key": {},
        "another field": {"airflow_task": str(own)},
    }


def test_agents_of_others_are_never_touched(clean_up, task_run, seed, deletes, emulator):
    own = task_run()
    foreign = foreign_keys(own)
    for name, metadata in foreign.items():
        seed(metadata=metadata, name=name)
    orphan = seed(own, name="orphan")
    emulator.journal.clear()
    ran = clean_up(older_than=0)
    assert outcomes(ran) == {orphan: "deleted"}
    assert deletes() == [orphan]
    assert ran.result["others"] == {
        "a key of another deployment": 2,
        "kept by an apply": 2,
        "a key of another form": 8,
        "no key of a task run": 2,
    }
    assert ran.result["summary"]["others"] == len(foreign)


def test_an_agents_age_follows_the_services_clock(clean_up, task_run, seed, emulator):
    key = task_run()
    young, old = seed(key, age=0), seed(key, age=3700)
    assert outcomes(clean_up()) == {young: "kept", old: "deleted"}
    emulator.clock.advance(3700)
    assert outcomes(clean_up(older_than=timedelta(hours=1))) == {young: "deleted"}


def test_defaults_change_nothing_and_keep_a_day(run, task_run, seed, deletes, emulator):
    key = task_run()
    young, old = seed(key, age=DAY - 60), seed(key, age=DAY + 60)
    emulator.journal.clear()
    ran = run(ConnixDeleteOrphanedAgentsOperator)
    assert outcomes(ran) == {young: "kept", old: "would_delete"}
    assert deletes() == []
    assert "Nothing is deleted, because this is a dry run." in ran.log


def test_an_agent_changed_since_the_listing_is_kept(clean_up, task_run, seed, emulator, before_get):
    key = task_run()
    (agent_id, name) = seed(key, name="adopted"), "adopted"

    def adopt():
        with Client(api_key=emulator.api_key, base_url=emulator.url) as client:
            other = str(dataclasses.replace(key, deployment="development"))
            client.agents.update(emulator.project_id, agent_id, {"metadata": {IDENTITY_FIELD: other}})

    before_get(adopt)
    ran = clean_up()
    reason = "its metadata changed since it was listed: a key of another deployment"
    assert ran.result["agents"][agent_id] == {
        "name": name,
        "outcome": "kept",
        "reason": reason,
        "task_run": str(key),
        "age": pytest.approx(2 * DAY, abs=600),
    }
    assert not emulator.journal.executed("delete_agent")


def test_a_run_cleared_meanwhile_keeps_its_agent(clean_up, task_run, seed, emulator, before_get):
    key = task_run()
    agent_id = seed(key)
    before_get(lambda: set_states(key, "queued", None))
    ran = clean_up()
    assert ran.result["agents"][agent_id]["reason"] == "its run has not ended"
    assert not emulator.journal.executed("delete_agent")


def test_an_agent_deleted_since_the_listing_is_gone(clean_up, task_run, seed, emulator, before_get):
    agent_id = seed(task_run())
    before_get(lambda: emulator.remove(agent_id))
    ran = clean_up()
    assert (ran.state, outcomes(ran)) == ("success", {agent_id: "gone"}), ran.log


def test_an_agent_that_left_the_selection_is_kept(clean_up, task_run, seed, emulator, before_get):
    agent_id = seed(task_run(), status="stopped")
    before_get(lambda: emulator.set_status(agent_id, "running"))
    ran = clean_up(agents={"statuses": "stopped"})
    assert "no longer meets the selector" in ran.result["agents"][agent_id]["reason"]
    assert not emulator.journal.executed("delete_agent")


def test_a_listing_without_metadata_costs_a_get_each(clean_up, task_run, seed, monkeypatch):
    key = task_run()
    ids = [seed(key), seed(key, age=0), seed(dataclasses.replace(key, deployment="development")), seed()]
    perform = Client.flow

    def flow(client, call):
        result = yield from perform(client, call)
        for agent in result if call.path.endswith("/agents") else ():
            agent.metadata.clear()
            agent.model_fields_set.discard("metadata")
        return result

    monkeypatch.setattr(Client, "flow", flow)
    ran = clean_up()
    assert outcomes(ran) == {ids[0]: "deleted", ids[1]: "kept"}, ran.log
    assert ran.result["summary"]["others"] == 2


def test_a_run_of_unknown_state_keeps_its_agent(clean_up, task_run, seed, monkeypatch):
    unknown, known = task_run(), task_run()
    ids = [seed(unknown), seed(known)]
    count = orphan_rules.count_dag_runs

    def count_or_fail(ti, dag_id, *arguments):
        if dag_id == unknown.dag_id:
            raise RuntimeError("the API server is away")
        return count(ti, dag_id, *arguments)

    monkeypatch.setattr(orphan_rules, "count_dag_runs", count_or_fail)
    ran = clean_up()
    assert outcomes(ran) == {ids[0]: "kept", ids[1]: "deleted"}
    assert "(RuntimeError: the API server is away)" in ran.result["agents"][ids[0]]["reason"]


def test_a_missing_run_counts_as_ended_on_request(clean_up, task_run, seed):
    agent_id = seed(task_run(None))
    assert outcomes(clean_up(on_missing_run="delete")) == {agent_id: "deleted"}


def test_a_deployment_without_a_name_is_warned(clean_up, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CONNIX__DEPLOYMENT_ID", "")
    for section in ("API", "WEBSERVER"):
        monkeypatch.setenv(f"AIRFLOW__{section}__BASE_URL", "")
    ran = clean_up(agents={"names": "absent", "allow_empty": True})
    assert ran.state == "success"
    assert "This Airflow deployment has no name" in ran.log


@pytest.mark.parametrize("native", [False, True])
def test_templates_narrow_the_selection(native, clean_up, task_run, seed):
    key = task_run()
    ids = [seed(key, name=name) for name in ("12", "13")]
    ran = clean_up(
        older_than="{{ params.hours * 3600 }}",
        dry_run="{{ params.dry }}",
        agents={"names": ["{{ params.name }}"]},
        on_missing_run="{{ 'keep' }}",
        params={"hours": 1, "dry": False, "name": "12"},
        dag_options={"render_template_as_native_obj": native},
    )
    assert outcomes(ran) == {ids[0]: "deleted"}, ran.log


BAD = [
    ({"older_than": -1}, "older_than must be a number of seconds"),
    ({"older_than": "soon"}, "older_than must be a number of seconds"),
    ({"older_than": None}, "older_than must be a number of seconds"),
    ({"older_than": "nan"}, "older_than must be a number of seconds"),
    ({"older_than": True}, "older_than must be a number of seconds"),
    ({"older_than": "{{ params.get('nothing') }}"}, "older_than must be"),
    ({"dry_run": "perhaps"}, "dry_run must be true or false, not 'perhaps'"),
    ({"dry_run": None}, "dry_run must be true or false, not None"),
    ({"agents": {}}, "an AgentSelector needs a criterion"),
    ({"agents": {"nam": "a"}}, "agents: 'nam' is unknown. Did you mean 'name'?"),
    ({"agents": "support-*"}, "agents: must be an AgentSelector or a mapping"),
    ({"on_missing_run": "drop"}, "on_missing_run must be 'keep' or 'delete', not 'drop'"),
    ({"timeout": 0}, "timeout must be more than 0 s"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD)
def test_bad_input_is_refused_before_anything_is_sent(arguments, says, clean_up, emulator):
    ran = clean_up(**arguments)
    assert type(ran.error) is ValueError, ran.log
    assert says in str(ran.error)
    assert not emulator.journal.entries()


def test_deletes_for_missing_runs_need_a_deployment_id(clean_up, emulator, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CONNIX__DEPLOYMENT_ID", "")
    ran = clean_up(on_missing_run="delete")
    assert type(ran.error) is ValueError
    assert "needs [connix] deployment_id" in str(ran.error)
    assert not emulator.journal.entries()


def test_an_empty_selection_is_an_error_unless_allowed(clean_up, seed):
    seed()
    ran = clean_up(agents={"name": "report-*"})
    assert type(ran.error) is ValueError
    assert "give allow_empty=True" in str(ran.error)
    assert outcomes(clean_up(agents={"name": "report-*", "allow_empty": True})) == {}


def test_a_task_keeps_its_own_runs_agents(emulator, connection, clean_up):
    import pendulum
    from airflow.providers.common.compat.sdk import DAG
    from dag_store import store

    with DAG("create_and_clean_up", schedule=None, start_date=pendulum.datetime(2024, 1, 1)) as dag:
        create = ConnixCreateAgentOperator(
            task_id="create", name="mine", config={"model": "gpt-4"}, wait_for_completion=False
        )
        create >> ConnixDeleteOrphanedAgentsOperator(task_id="clean_up", older_than=0, dry_run=False)
    store(dag)
    instances = {ti.task_id: ti for ti in dag.test().get_task_instances()}
    assert {str(ti.state) for ti in instances.values()} == {"success"}
    agent_id = instances["create"].xcom_pull(task_ids="create")
    result = instances["clean_up"].xcom_pull(task_ids="clean_up")
    assert result["agents"][agent_id]["reason"] == "it belongs to this task's own run"
    emulator.clock.advance(60)
    ran = clean_up(older_than=30)
    assert outcomes(ran) == {agent_id: "deleted"}, ran.log
    assert "of task create of DAG create_and_clean_up" in ran.log
