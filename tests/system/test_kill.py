"""Killed, cleared, moved and repeated tasks on a real scheduler with two triggerers and PostgreSQL."""

from __future__ import annotations

import json
import pathlib
import secrets
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from cryptography.fernet import Fernet
from held_starts import hold_starts
from postgres import PostgreSQL
from real_airflow import RealAirflow
from secret_scan import SecretScan
from tally import record

from connix_provider.client import Client
from connix_provider.emulator import Durations, Emulator, Limits

pytestmark = pytest.mark.slow

DAGS = pathlib.Path(__file__).with_name("dags")
#: Seconds for which agents stay on their way, until a test moves the emulator's clock.
HELD = 3600.0
DURATIONS = Durations(creating=HELD, starting=HELD, deleting=0.5, restarting_down=HELD)
FERNET_KEY = Fernet.generate_key().decode()
#: What a task logs whose agent is left as it is.
LEFT = "is left as it is: cancel_on_kill applies only to a failed task"
#: What Airflow itself logs as an error of each task that it kills.
SUPERVISOR = ["Server indicated the task shouldn't be running anymore", "Task killed!"]
#: Where users keep their secrets. Airflow encrypts these columns, but has the key.
STORES = {"connection.password", "variable.val"}


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    with PostgreSQL() as running:
        yield running


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(durations=DURATIONS, limits=Limits.off()) as running:
        yield running


@pytest.fixture(scope="module")
def known(emulator: Emulator) -> dict[str, str]:
    """Name the secrets that users of the DAGs keep in Airflow, and one that is planted in clear text."""
    return {
        "key": emulator.api_key,
        "prompt": f"You are {secrets.token_hex(16)}.",
        "data source": f"postgres://kill:{secrets.token_hex(16)}@host/db",
        "planted": secrets.token_hex(16),
    }


@pytest.fixture(scope="module")
def airflow(
    emulator: Emulator,
    database: PostgreSQL,
    known: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RealAirflow]:
    with RealAirflow(
        tmp_path_factory.mktemp("kill") / "home",
        DAGS,
        emulator,
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=database.url,
        AIRFLOW__CORE__FERNET_KEY=FERNET_KEY,
        AIRFLOW__CORE__PARALLELISM="8",
        # A triggerer that stalls is missed after seconds.
        AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC="2",
    ) as running:
        connection = {
            "connection_id": "connix_stored",
            "conn_type": "connix",
            "host": emulator.url,
            "password": known["key"],
            "extra": json.dumps({"project_id": emulator.project_id}),
        }
        running.post("connections", connection)
        for name, secret in (("kill_prompt", "prompt"), ("kill_data_source", "data source")):
            running.post("variables", {"key": name, "value": known[secret]})
        yield running


@pytest.fixture(autouse=True)
def clean(emulator: Emulator) -> None:
    emulator.journal.clear()


def test_a_stalled_triggerer_undoes_nothing(airflow, emulator, database):
    emulator.seed(3, "stopped", "stopped-{n}")
    run_id = airflow.run("kill_stall")
    airflow.until("all are started", lambda: len(hold_starts(emulator)) == 3)
    airflow.until_states("kill_stall", run_id, lambda states: states.count("deferred") == 6)

    def triggers() -> set[str]:
        return {row[0] for row in database.execute("SELECT DISTINCT triggerer_id FROM trigger")}

    airflow.until("the first triggerer has them all", lambda: len(triggers()) == 1 and triggers() != {""})
    (first,) = triggers()
    airflow.start_triggerer("second-triggerer")
    alive = f"SELECT id FROM job WHERE job_type = 'TriggererJob' AND state = 'running' AND id <> {first}"
    airflow.until("there are two triggerers", lambda: len(database.execute(alive)) == 1)
    ((second,),) = database.execute(alive)
    airflow.pause("triggerer")
    airflow.until("the second triggerer has them all", lambda: triggers() == {second})
    airflow.resume("triggerer")
    # Airflow cancels what was moved as if a user had killed it.
    airflow.until(
        "all of it is cancelled",
        lambda: all(LEFT in log for log in _mapped_logs(airflow, "kill_stall", run_id)),
        lambda: "\n".join(_mapped_logs(airflow, "kill_stall", run_id)),
    )

    undone = [entry.call for entry in emulator.journal.entries() if entry.method == "DELETE"]
    undone += [entry.call for entry in emulator.journal.entries("stop_agent")]
    emulator.clock.advance(HELD)
    for agent_id in hold_starts(emulator):
        emulator.set_status(agent_id, "running")
    state = airflow.until_ended("kill_stall", run_id)
    record(
        "kill: triggerer stalled under 6 waits",
        "succeeded" if state == "success" else "failed",
        creates_lost=len(undone),
        tried=6,
    )
    assert not undone
    assert state == "success", airflow.states("kill_stall", run_id)
    logs = "\n".join(_mapped_logs(airflow, "kill_stall", run_id))
    assert len(emulator.journal.executed("create_agent")) == 3, logs
    assert len(emulator.journal.executed("start_agent")) == 3, logs


MARKED = [f"{how}_{where}" for how in ("cleared", "failed", "succeeded") for where in ("worker", "deferred")]


def test_only_tasks_marked_as_failed_are_undone(airflow, emulator, database, known):
    run_id = airflow.run("kill_marked", planted=known["planted"])
    airflow.until_states(
        "kill_marked", run_id, lambda states: states.count("deferred") == 3 == states.count("running")
    )
    for task in MARKED:
        waits = " s waited" if "worker" in task else " starting"
        airflow.until(f"{task} waits", lambda task=task, waits=waits: waits in _log(airflow, run_id, task))
    created = _agents(emulator)
    processes = {task["task_id"]: task["pid"] for task in airflow.tasks("kill_marked", run_id)}
    # What lies in triggers' rows is there only as long as they run.
    _hunt(database, known)

    airflow.clear("kill_marked", run_id, "cleared_worker", "cleared_deferred")
    for task in MARKED[2:]:
        airflow.set_state("kill_marked", run_id, task, "failed" if "failed" in task else "success")
    ended = _until_ended({task: pid for task, pid in processes.items() if "worker" in task})
    for task in ended:
        airflow.until(f"{task} is killed", lambda task=task: "Task killed!" in _log(airflow, run_id, task))
    for task in ("cleared_deferred", "succeeded_deferred"):
        airflow.until(f"{task} is left", lambda task=task: LEFT in _log(airflow, run_id, task))
    for task in ("failed_worker", "failed_deferred"):
        airflow.until(f"{task} is undone", lambda task=task: " is gone." in _log(airflow, run_id, task))
    for task in ("cleared_worker", "cleared_deferred"):
        airflow.until(f"{task} waits again", lambda task=task: " s waited" in _log(airflow, run_id, task, 2))
    emulator.clock.advance(HELD)
    airflow.until_ended("kill_marked", run_id)

    states, left = airflow.states("kill_marked", run_id), _agents(emulator)
    wanted = {task: "failed" if "failed" in task else "success" for task in MARKED}
    record(
        "kill: marked and cleared, on the worker and deferred",
        "succeeded" if states == wanted else "failed",
        creates_lost=len([task for task in MARKED if "failed" not in task and task not in left]),
        creates_doubled=len(emulator.journal.executed("create_agent")) - len(MARKED),
        tried=len(MARKED),
    )
    assert states == wanted
    assert set(MARKED) <= set(created)
    assert {name: left.get(name) for name in MARKED} == {
        name: None if "failed" in name else created[name] for name in MARKED
    }
    assert len(emulator.journal.executed("create_agent")) == len(MARKED)
    for task, ended_at in ended.items():
        lines = [json.loads(line) for line in _log(airflow, run_id, task).splitlines()]
        errors = [line for line in lines if line.get("level") in {"error", "critical"}]
        # The supervisor's own words, for every kill: nothing of a failure, nor of a process that hung.
        assert [line["event"].partition(".")[0] for line in errors] == SUPERVISOR, errors
        killed_at = datetime.fromisoformat(errors[0]["timestamp"]).timestamp()
        # Airflow would send SIGKILL after five seconds.
        assert ended_at - killed_at < (4.5 if "failed" in task else 2.0)
    for task in ("cleared_worker", "cleared_deferred"):
        assert airflow.xcom("kill_marked", run_id, task) == created[task]


def test_two_runs_with_one_try_number_restart_once(airflow, emulator, database):
    (agent_id,) = emulator.seed(name="again")
    run_id = airflow.run("kill_again")

    def told() -> str:
        return airflow.log("kill_again", run_id, "restart")

    airflow.until("the restart is waited for", lambda: " s waited" in told())
    # What Airflow's handler of tasks that are stuck in the queue does, a moment too late.
    database.execute(f"UPDATE task_instance SET state = 'scheduled' WHERE run_id = '{run_id}'")
    airflow.until("the task has begun again", lambda: told().count("Connix at ") >= 2)
    airflow.until(
        "it has acted again, or not", lambda: told().rpartition("Connix at ")[2].count("waited") > 0
    )
    emulator.set_status(agent_id, "updating")
    emulator.clock.advance(HELD)
    emulator.set_status(agent_id, "running")
    state = airflow.until_ended("kill_again", run_id)

    restarts = len(emulator.journal.executed("restart_agent"))
    # The first start's end may cost the second one its try: then there is a third.
    starts = airflow.log("kill_again", run_id, "restart", attempt=1).count("Connix at ")
    record(
        "kill: run again with the same try number",
        "succeeded" if state == "success" else "failed",
        unsafe_repeats=restarts - 1,
    )
    assert starts == 2, "no second start had the same try number"
    assert restarts == 1, told()
    assert state == "success", told()


def test_no_secret_is_left_in_the_database(airflow, database, known):
    assert airflow.runs("kill_marked")
    _hunt(database, known)


def _until_ended(processes: dict[str, int]) -> dict[str, float]:
    """Wait until processes have ended, and return when, in epoch seconds."""
    ended: dict[str, float] = {}
    limit = time.monotonic() + 60
    while len(ended) < len(processes):
        assert time.monotonic() < limit, ended
        for name, pid in processes.items():
            if name not in ended and not _runs(pid):
                ended[name] = time.time()
        time.sleep(0.05)
    return ended


def _runs(pid: int) -> bool:
    try:
        # A process that has ended is a zombie until its supervisor looks for it.
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _hunt(database: PostgreSQL, known: dict[str, str]) -> None:
    found = database.secrets(SecretScan(known, FERNET_KEY))
    planted = {line for line in found if ": planted " in line}
    leaks = sorted(line for line in found - planted if line.partition(":")[0] not in STORES)
    record(
        "kill: secrets in the database",
        "found" if leaks else "nothing found",
        secrets_found=len(leaks),
        tried=len(known) - 1,
    )
    assert not leaks, "\n".join(leaks)
    assert {line.partition(":")[0] for line in found - planted} == STORES, "the scan opens nothing encrypted"
    assert "dag_run.conf: planted (plain)" in planted, "the scan does not see what is there"


def _log(airflow: RealAirflow, run_id: str, task: str, attempt: int = 1) -> str:
    return airflow.log("kill_marked", run_id, task, attempt)


def _mapped_logs(airflow: RealAirflow, dag_id: str, run_id: str) -> list[str]:
    return [
        airflow.log(dag_id, run_id, task, map_index=index)
        for task in ("create", "start")
        for index in range(3)
    ]


def _agents(emulator: Emulator) -> dict[str, str]:
    with Client(emulator.api_key, base_url=emulator.url) as client:
        return {agent.name: agent.id for agent in client.agents.iter(emulator.project_id)}
