"""Start Airflow's real parts, each a process of its own that can be killed and started again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from processes import Processes

from connix_provider.emulator import Emulator

AIRFLOW = Path(sys.executable).with_name("airflow")
#: Seconds that anything here may take: machines that run tests are slow and shared.
PATIENCE = 240.0
ENDED = {"success", "failed"}


class RealAirflow:
    """
    Serve the DAGs of a folder with scheduler, triggerer, DAG processor and API server, by default on SQLite.

    :param home: AIRFLOW_HOME, empty
    :param dags: the folder of DAG files
    :param emulator: the service that ``connix_default`` points at
    :param variables: further environment variables
    """

    def __init__(self, home: Path, dags: Path, emulator: Emulator, **variables: str) -> None:
        self.home = home
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        passwords = home / "passwords.json"
        connection = {
            "conn_type": "connix",
            "host": emulator.url,
            "password": emulator.api_key,
            "extra": {"project_id": emulator.project_id},
        }
        self._variables = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_CONNIX_DEFAULT": json.dumps(connection),
            "AIRFLOW__API__BASE_URL": self._url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self._url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            # A killed triggerer is missed after this many seconds, not after half a minute.
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
            "PYTHONUNBUFFERED": "1",
            **variables,
        }
        self._passwords = passwords
        self._commands = {
            "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "triggerer": ["triggerer", "--skip-serve-logs"],
            "dag-processor": ["dag-processor"],
        }
        self._processes = Processes(self._variables)
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._http = httpx.Client(base_url=self._url, timeout=30.0, trust_env=False)

    def __enter__(self) -> RealAirflow:
        self.home.mkdir(parents=True, exist_ok=True)
        if migrated := os.environ.get("CONNIX_TEST_DATABASE"):
            # A migration of an empty SQLite database takes ten seconds.
            shutil.copy(migrated, self.home / "airflow.db")
        subprocess.run([str(AIRFLOW), "db", "migrate"], env=self._variables, check=True, capture_output=True)
        try:
            for part in self._commands:
                self.start(part)
            self.until("Airflow is well", self._is_well)
            password = json.loads(self._passwords.read_text())["admin"]
            response = self._http.post("/auth/token", json={"username": "admin", "password": password})
            self._http.headers["Authorization"] = (
                f"Bearer {response.raise_for_status().json()['access_token']}"
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._processes.end()

    def start(self, part: str) -> None:
        """Start a part."""
        command = [str(AIRFLOW), *self._commands[part]]
        self._parts[part] = self._processes.start(part, command, self.home / f"{part}.log")

    def start_triggerer(self, name: str) -> None:
        """Start a further triggerer."""
        self._commands[name] = self._commands["triggerer"]
        self.start(name)

    def pause(self, part: str) -> None:
        """Stop a part and its child processes until it is resumed."""
        for process in _session_of(self._parts[part].pid):
            os.kill(process, signal.SIGSTOP)

    def resume(self, part: str) -> None:
        """Let a part go on that was paused."""
        for process in _session_of(self._parts[part].pid):
            os.kill(process, signal.SIGCONT)

    def kill(self, part: str) -> None:
        """Kill a part and its child processes with SIGKILL."""
        process = self._parts[part]
        for child in _session_of(process.pid):
            os.kill(child, signal.SIGKILL)
        process.wait()

    def kill_worker(self, dag_id: str, run_id: str, task_id: str, *, supervisor: bool = False) -> None:
        """Kill the process of a running task with SIGKILL, on request after its supervisor."""
        (task,) = (task for task in self.tasks(dag_id, run_id) if task["task_id"] == task_id)
        if supervisor:
            os.kill(_parent_of(task["pid"]), signal.SIGKILL)
        os.kill(task["pid"], signal.SIGKILL)

    def command(self, *arguments: str) -> str:
        """Run one of Airflow's commands as a user does in a shell, and return all that it prints."""
        done = subprocess.run(
            [str(AIRFLOW), *arguments],
            env=self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Send to Airflow's API, as its UI does."""
        self._http.post(f"/api/v2/{path}", json=body).raise_for_status()

    def run(self, dag_id: str, **conf: Any) -> str:
        """Start a run of a DAG, and return the run's id."""
        self.until(f"DAG {dag_id} is there", lambda: self._http.get(f"/api/v2/dags/{dag_id}").is_success)
        self._http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        body = {"logical_date": None, "conf": conf}
        response = self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        return str(response.raise_for_status().json()["dag_run_id"])

    def runs(self, dag_id: str) -> list[str]:
        """Return the ids of a DAG's runs."""
        response = self._http.get(f"/api/v2/dags/{dag_id}/dagRuns").raise_for_status()
        return [run["dag_run_id"] for run in response.json()["dag_runs"]]

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, as the API shows them."""
        response = self._http.get(
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 1000}
        )
        return list(response.raise_for_status().json()["task_instances"])

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return each task's state."""
        return {_name(task): task["state"] for task in self.tasks(dag_id, run_id)}

    def until_states(self, dag_id: str, run_id: str, wanted: Callable[[list[str]], bool]) -> None:
        """Wait until the states of a run's tasks are as wanted."""
        self.until(
            f"the states of {dag_id} are as wanted",
            lambda: wanted(list(self.states(dag_id, run_id).values())),
            lambda: str(self.states(dag_id, run_id)),
        )

    def until_ended(self, dag_id: str, run_id: str) -> str:
        """Wait until a run has ended, and return its state."""

        def state() -> str:
            return str(
                self._http.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").raise_for_status().json()["state"]
            )

        self.until(f"{dag_id} has ended", lambda: state() in ENDED, lambda: str(self.states(dag_id, run_id)))
        return state()

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return the XCom of a task's return value."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._http.get(path, params={"deserialize": False}).raise_for_status().json()["value"]

    def set_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task, as a user does in the UI."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._http.patch(path, json={"new_state": state}).raise_for_status()

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks, as a user does in the UI."""
        body = {
            "dry_run": False,
            "only_failed": False,
            "reset_dag_runs": True,
            "dag_run_id": run_id,
            "task_ids": task_ids,
        }
        self.post(f"dags/{dag_id}/clearTaskInstances", body)

    def log(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        attempt: int | str = "*",
        map_index: int | None = None,
    ) -> str:
        """Return the log of a task's tries, or of one of them, as files hold it."""
        place = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        if map_index is not None:
            place /= f"map_index={map_index}"
        return "".join(path.read_text() for path in sorted(place.rglob(f"attempt={attempt}.log*")))

    def until(self, what: str, holds: Callable[[], bool], shown: Callable[[], str] = lambda: "") -> None:
        """
        Wait until a condition holds.

        :param what: the condition in words
        :param holds: checks the condition
        :param shown: returns what the failure shows
        :raises AssertionError: if it does not hold in time
        """
        limit = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > limit:
                logs = {part: (self.home / f"{part}.log").read_text()[-2000:] for part in self._parts}
                raise AssertionError(
                    f"not within {PATIENCE:.0f} s: {what}. {shown()}\n{json.dumps(logs, indent=1)}"
                )
            time.sleep(0.5)

    def _is_well(self) -> bool:
        try:
            health = self._http.get("/api/v2/monitor/health").raise_for_status().json()
        except httpx.HTTPError:
            return False
        return all(
            health[part]["status"] == "healthy"
            for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")
        )


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _name(task: dict[str, Any]) -> str:
    return task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"


def _parent_of(pid: int) -> int:
    # The name in parentheses may hold anything; what follows it is the state, then the parent.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _session_of(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
