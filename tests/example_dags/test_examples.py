"""Every example is parsed by Airflow and run to success, and the emulator saw it happen."""

from __future__ import annotations

import json
import pathlib
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from dag_store import airflow_version

from connix_provider.emulator import Durations, Emulator, Fault

pytestmark = pytest.mark.heavy

FOLDER = pathlib.Path(__file__).parents[2] / "example_dags"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    from airflow.utils.db import initdb

    # Alembic and SQLAlchemy warn of Airflow's own models.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        initdb()


@pytest.fixture(scope="module")
def bag(_database: None) -> Any:
    """All examples as a DAG processor sees them, and stored as it would."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before 3.2
        from airflow.models.dagbag import DagBag
    bag = DagBag(FOLDER)
    if airflow_version() >= (3, 1):
        store(bag)
    return bag


def store(bag: Any) -> None:
    """Put the DAGs into the database, as the DAG processor would; before 3.1 nothing asks for that."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    try:
        from airflow.dag_processing.dagbag import sync_bag_to_db
    except ImportError:
        from airflow.models.dagbag import sync_bag_to_db
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator whose agents obey at once, with the agents that the examples name."""
    with Emulator(durations=Durations.instant()) as emulator:
        for name in ("Support agent", "Translator", "Researcher", "Proofreader"):
            emulator.seed(name=name)
        connection = {
            "conn_type": "connix",
            "host": emulator.url,
            "password": emulator.api_key,
            "extra": {"project_id": emulator.project_id},
        }
        monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", json.dumps(connection))
        yield emulator


@pytest.fixture
def run(bag: Any, emulator: Emulator) -> Any:
    def run_example(dag_id: str, **conf: Any) -> SimpleNamespace:
        dag = bag.dags[dag_id]
        for task in dag.tasks:
            # As short as they go: what they wait for is tested elsewhere.
            for name in ("poll_interval", "poke_interval", "stable_for"):
                if getattr(task, name, None):
                    setattr(task, name, 1.0)
        dag_run = dag.test(run_conf=conf or None)
        instances = dag_run.get_task_instances()
        tasks = {(ti.task_id, ti.map_index): str(ti.state) for ti in instances}
        results = {ti.task_id: ti.xcom_pull(task_ids=ti.task_id) for ti in instances if ti.map_index == -1}
        seen = [
            (entry.call, entry.agent_id) for entry in emulator.journal.executed() if entry.method != "GET"
        ]
        return SimpleNamespace(state=str(dag_run.state), tasks=tasks, results=results, seen=seen)

    return run_example


def statuses(emulator: Emulator, agent_id: str) -> list[str]:
    return [status for _, status in emulator.history(agent_id)]


def agent_named(emulator: Emulator, name: str) -> str:
    from connix_provider.client import Client

    with Client(api_key=emulator.api_key, base_url=emulator.url) as client:
        return next(agent.id for agent in client.agents.iter(emulator.project_id) if agent.name == name)


def test_every_example_is_parsed_without_an_error(bag):
    assert not bag.import_errors
    assert sorted(bag.dags) == EXAMPLES


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_an_example_explains_itself_and_repeats_no_past(bag, dag_id):
    dag = bag.dags[dag_id]
    assert dag.doc_md
    assert dag.description
    assert not dag.catchup
    assert {"connix", "example"} <= set(dag.tags)


def test_lifecycle(run, emulator):
    ran = run("connix_lifecycle")
    assert set(ran.tasks.values()) == {"success"}, ran.tasks
    assert [call for call, _ in ran.seen] == [
        "create_agent",
        "pause_agent",
        "start_agent",
        "stop_agent",
        "start_agent",
        "restart_agent",
        "update_agent",
        "delete_agent",
    ]
    agent_id = ran.results["create"]
    assert {agent for call, agent in ran.seen if call != "create_agent"} == {agent_id}
    assert set(ran.results.values()) == {agent_id}
    assert statuses(emulator, agent_id) == [
        "creating",
        "running",
        "paused",
        "running",
        "stopped",
        "running",
        "stopped",
        "running",
        "updating",
        "running",
    ]
    with pytest.raises(KeyError):
        emulator.agent(agent_id)


def test_nightly_restart(run, emulator):
    agent_id = agent_named(emulator, "Support agent")
    ran = run("connix_nightly_restart")
    assert set(ran.tasks.values()) == {"success"}, ran.tasks
    assert ran.seen == [("restart_agent", agent_id)]
    assert statuses(emulator, agent_id) == ["running", "stopped", "running"]


def test_gated_pipeline(run, emulator):
    agent_id = agent_named(emulator, "Support agent")
    ran = run("connix_gated_pipeline")
    assert set(ran.tasks.values()) == {"success"}, ran.tasks
    assert ran.seen == []
    assert ran.results["agent_is_healthy"] == agent_id
    assert "tasks" in ran.results["report"]


def test_health_gate(run, emulator):
    agent_id = agent_named(emulator, "Support agent")
    emulator.set_metrics(agent_id, completed=95, failed=5)
    emulator.add_logs(agent_id, ["A task is done"], after=-60)
    ran = run("connix_health_gate")
    assert set(ran.tasks.values()) == {"success"}, ran.tasks
    assert ran.seen == []
    assert ran.results["agents_are_healthy"] == {
        "agents": 1,
        "healthy": 1,
        "not_healthy": [],
        "not_measured": [],
    }
    assert ran.results["report"]["state"] == "healthy"
    assert ran.results["report"]["agent_id"] == agent_id


DECLARED = {
    "Declared translator": "running",
    "Declared researcher": "running",
    "Declared archivist": "paused",
}


def declared(emulator):
    return {name: emulator.agent(agent_named(emulator, name))["status"] for name in DECLARED}


def test_declared_agents(run, emulator):
    ran = run("connix_declared_agents")
    assert set(ran.tasks.values()) == {"success"}, ran.tasks
    assert [call for call, _ in ran.seen] == 3 * ["create_agent"] + ["pause_agent"]
    assert declared(emulator) == DECLARED
    emulator.set_status(agent_named(emulator, "Declared translator"), "stopped")
    emulator.journal.clear()
    assert [call for call, _ in run("connix_declared_agents").seen] == ["start_agent"]
    emulator.journal.clear()
    ran = run("connix_declared_agents")
    assert ran.results["apply"]["summary"] == {"create": 0, "update": 0, "delete": 0, "unchanged": 3}
    assert ran.seen == []
    assert declared(emulator) == DECLARED


@pytest.mark.parametrize("choice", ["Approve", "Reject"])
def test_approved_agents(choice, run, emulator, bag, monkeypatch):
    dag = bag.dags["connix_approved_agents"]
    if dag.has_task("approve"):
        event = {"chosen_options": [choice], "params_input": {}, "responded_by_user": None}
        event["responded_at"] = datetime.now(UTC)
        asked = []

        def execute(self, context):
            asked.append(self.body)
            return self.execute_complete(context, event)

        monkeypatch.setattr(type(dag.get_task("approve")), "execute", execute)
    else:
        approval = dag.get_task("approve_by_parameter")
        approve = approval.python_callable
        approved = {"approved": choice == "Approve"}
        monkeypatch.setattr(approval, "python_callable", lambda params=None: approve(params=approved))
        asked = []
    ran = run("connix_approved_agents")
    assert ran.tasks["plan", -1] == "success"
    assert ran.results["plan"]["summary"]["create"] == 3
    assert all("+ agent 'Declared archivist'" in body for body in asked)
    if choice == "Approve":
        assert set(ran.tasks.values()) == {"success"}, ran.tasks
        assert declared(emulator) == DECLARED
    else:
        assert ran.tasks["apply", -1] == "skipped"
        assert ran.seen == []


def test_daily_export(run, emulator, tmp_path):
    # The run's own day depends on the version of Airflow: it ends now, or at the last midnight.
    agent_id = agent_named(emulator, "Translator")
    emulator.add_logs(agent_id, 96, after=-47.9 * 3600, every=1800)
    ran = run("connix_daily_export", folder=str(tmp_path))
    assert set(ran.tasks.values()) == {"success"}, ran.tasks
    assert ran.seen == []
    assert 47 <= ran.results["logs"]["agents"][agent_id] <= 51
    assert len(ran.results["metrics"]["agents"]) == 4
    assert sorted(path.name.partition(".")[2] for path in tmp_path.iterdir()) == [
        "logs.jsonl.gz",
        "metrics.jsonl",
    ]


def test_fleet_restart(run, emulator):
    ran = run("connix_fleet_restart")
    assert set(ran.tasks.values()) == {"success"}, ran.tasks
    assert [call for call, _ in ran.seen] == 4 * ["restart_agent"]
    assert len({agent_id for _, agent_id in ran.seen}) == 4
    assert ran.results["restart"]["summary"] == {"done": 4, "failed": 0, "not_touched": 0}


def test_agent_for_one_run(run, emulator):
    ran = run("connix_agent_for_one_run")
    assert set(ran.tasks.values()) == {"success"}, ran.tasks
    agent_id = ran.results["create_agent"]
    assert ran.seen == [("create_agent", None), ("delete_agent", agent_id)]
    assert ran.results["read_log"] >= 1
    with pytest.raises(KeyError):
        emulator.agent(agent_id)


def test_orphaned_agents(run, emulator, bag, monkeypatch):
    monkeypatch.setattr(bag.dags["connix_agent_for_one_run"].get_task("delete_agent"), "retries", 0)
    emulator.faults.add(Fault.status(403), on="delete_agent")
    left = run("connix_agent_for_one_run")
    assert left.tasks[("delete_agent", -1)] == "failed"
    agent_id = left.results["create_agent"]
    emulator.clock.advance(3 * 86400)
    emulator.journal.clear()
    ran = run("connix_orphaned_agents")
    assert (ran.state, ran.seen) == ("success", [])
    assert ran.results["clean_up"]["agents"][agent_id]["outcome"] == "would_delete"
    ran = run("connix_orphaned_agents", dry_run=False)
    assert (ran.state, ran.seen) == ("success", [("delete_agent", agent_id)])
    assert run("connix_orphaned_agents", dry_run=False).results["clean_up"]["agents"] == {}


def test_agent_for_one_run_is_deleted_after_failure(run, emulator, bag, monkeypatch):
    work = bag.dags["connix_agent_for_one_run"].get_task("read_log")
    monkeypatch.setattr(work, "python_callable", lambda agent_id: 1 / 0)
    monkeypatch.setattr(work, "retries", 0)
    ran = run("connix_agent_for_one_run")
    assert ran.state == "failed"
    assert ran.tasks == {
        ("create_agent", -1): "success",
        ("read_log", -1): "failed",
        ("delete_agent", -1): "success",
    }
    assert ran.seen == [("create_agent", None), ("delete_agent", ran.results["create_agent"])]


def test_agent_of_a_failed_create_is_deleted(run, emulator, bag, monkeypatch):
    monkeypatch.setattr(bag.dags["connix_agent_for_one_run"].get_task("create_agent"), "retries", 0)
    emulator.faults.add(Fault.ends_in_error(), on="create_agent", times=None)
    ran = run("connix_agent_for_one_run")
    assert ran.state == "failed"
    assert ran.tasks[("create_agent", -1)] == "failed"
    assert ran.tasks[("delete_agent", -1)] == "upstream_failed"
    (created,) = emulator.journal.executed("create_agent")
    (deleted,) = emulator.journal.executed("delete_agent")
    assert created.status == 201
    emulator.clock.advance(60)
    with pytest.raises(KeyError):
        emulator.agent(deleted.agent_id)


def test_many_agents(run, emulator):
    agents = [agent_named(emulator, name) for name in ("Translator", "Researcher", "Proofreader")]
    ran = run("connix_many_agents")
    assert set(ran.tasks.values()) == {"success"}, ran.tasks
    assert len(ran.tasks) == 7
    for agent_id in agents:
        assert statuses(emulator, agent_id) == ["running", "paused", "running"]
    assert statuses(emulator, agent_named(emulator, "Support agent")) == ["running"]
