"""The demo, started as a script: what it prints, and that it leaves no process behind."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.slow

DEMO = pathlib.Path(__file__).parents[2] / "scripts" / "demo"
#: Seconds that a busy machine may take for any step.
PATIENCE = 300.0
TROUBLESHOOTING = " ".join((DEMO.parents[1] / "docs" / "troubleshooting.md").read_text().split())


class Demo:
    """A running demo and its output so far."""

    def __init__(self, arguments: tuple[str, ...], output: pathlib.Path, homes: pathlib.Path) -> None:
        # Every process of the demo inherits this, even when its parent has ended.
        self._mark = f"demo-{uuid.uuid4()}"
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [DEMO, *arguments],
                env={**os.environ, "DEMO_TEST_MARK": self._mark, "_CONNIX_HOMES": str(homes)},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def wait_for(self, pattern: str) -> str:
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            if found := re.search(pattern, self.output):
                return found[found.lastindex or 0]
            assert self.process.poll() is None, self.output
            time.sleep(0.2)
        raise AssertionError(f"{pattern!r} did not come:\n{self.output}")

    def left_behind(self) -> list[str]:
        left = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("DEMO_TEST_MARK") == self._mark:
                    left.append(f"{process.pid} {' '.join(process.cmdline())}")
        return left


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a folder for these tests, because the demo keeps what a user did in its UI."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture
def demo(tmp_path: pathlib.Path, homes: pathlib.Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(arguments, tmp_path / f"output-{len(started)}", homes))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.wait()


def test_lifecycle_succeeds_in_airflow_and_emulator(demo):
    run = demo()
    assert run.wait() == 0, run.output
    assert "Every task succeeded, and the emulator's journal shows every change." in run.output
    for task in ("create", "is_healthy", "pause", "resume", "stop", "start", "restart", "update", "delete"):
        assert re.search(rf"^  {task} +success ", run.output, re.MULTILINE), run.output
    assert re.search(r"agent is creating(.|\n)*agent is paused(.|\n)*agent is gone", run.output)
    assert pathlib.Path(re.search("Airflow's log: (.*)", run.output)[1]).stat().st_size > 0
    assert run.left_behind() == []


def test_fail_shows_the_task_and_its_log(demo):
    run = demo("--fail")
    assert run.wait() == 1, run.output
    assert re.search(r"^  restart +failed ", run.output, re.MULTILINE)
    assert "The end of the log of task restart:" in run.output
    assert "ConnixAgentFailedError" in run.output
    said = run.output.split("The end of the log of task restart:")[1]
    assert "This is what --fail was to show: the agent ended in error after its restart." in said
    assert "task restart is failed" in said
    assert 'File "' not in said
    # A failure on purpose is no difference from the lifecycle.
    assert "WRONG" not in run.output
    assert ", not create_agent" not in run.output
    assert run.left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_process_behind(demo, number):
    run = demo()
    run.wait_for("agent is creating")
    assert len(run.left_behind()) > 1
    run.process.send_signal(number)
    asked = time.monotonic()
    run.wait_for(r"Stopping\.")
    assert time.monotonic() - asked < 5
    assert run.wait() == 128 + number, run.output
    assert run.left_behind() == []


def test_a_taken_port_is_named(demo):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = demo("--ui", "--port", str(port))
        assert run.wait() == 1
    assert run.output.splitlines()[-1].startswith(f"scripts/demo: cannot listen on port {port}: ")
    assert run.left_behind() == []


@contextlib.contextmanager
def api(run: Demo) -> Iterator[httpx.Client]:
    """Log in with the printed password."""
    url = run.wait_for(r"Airflow  (http://127\.0\.0\.1:\d+)\n")
    password = run.wait_for(r"Password (\S+)\n")
    run.wait_for(r"Press Ctrl\+C to end it\.")
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        response = http.post("/auth/token", json={"username": "admin", "password": password})
        http.headers["Authorization"] = f"Bearer {response.raise_for_status().json()['access_token']}"
        yield http


def trigger(http: httpx.Client, dag_id: str) -> dict[str, str]:
    """Trigger a DAG, wait for its run and return the states of its tasks."""
    runs = f"/api/v2/dags/{dag_id}/dagRuns"
    run = http.post(runs, json={"logical_date": None}).raise_for_status().json()
    path = f"{runs}/{run['dag_run_id']}"
    limit = time.monotonic() + PATIENCE
    while http.get(path).json()["state"] not in {"success", "failed"}:
        assert time.monotonic() < limit, http.get(path).text
        time.sleep(1)
    tasks = http.get(f"{path}/taskInstances").json()["task_instances"]
    return {task["task_id"]: task["state"] for task in tasks}


def test_ui_has_connection_and_examples(demo, homes):
    run = demo("--ui")
    with api(run) as http:
        service = run.wait_for(r"Connix   (http://127\.0\.0\.1:\d+/api/v1)\n")
        key = run.wait_for(r"API key  (\S+)\n")
        project = run.wait_for(r"Project  (\S+)\n")
        agents = httpx.get(
            f"{service}/projects/{project}/agents", headers={"X-API-Key": key}, trust_env=False
        ).json()["agents"]
        assert "Translator" in [agent["name"] for agent in agents]

        providers: list[dict[str, Any]] = http.get("/api/v2/providers").json()["providers"]
        assert "airflow-provider-connix" in [provider["package_name"] for provider in providers]

        connection = http.get("/api/v2/connections/connix_default").json()
        assert connection["conn_type"] == "connix"
        assert connection["password"] == "***"
        tried = {
            name: connection[name] for name in ("connection_id", "conn_type", "host", "password", "extra")
        }
        # The form sends 0 for an empty port.
        response = http.post("/api/v2/connections/test", json={**tried, "port": 0})
        assert response.json().get("status"), response.text
        assert "has 4 agents" in response.json()["message"]

        # Airflow does this until the port is stored; docs/troubleshooting.md describes it.
        without = {**tried, "connection_id": "without_a_port", "password": key}
        http.post("/api/v2/connections", json=without).raise_for_status()
        response = http.post("/api/v2/connections/test", json={**without, "port": 0, "password": "***"})
        assert response.status_code == 400
        assert response.json()["detail"] in TROUBLESHOOTING
        http.delete("/api/v2/connections/without_a_port").raise_for_status()

        paused = {dag["dag_id"]: dag["is_paused"] for dag in http.get("/api/v2/dags").json()["dags"]}
        # Those with a schedule.
        assert {dag_id for dag_id, is_paused in paused.items() if is_paused} == {
            "connix_daily_export",
            "connix_declared_agents",
            "connix_fleet_restart",
            "connix_nightly_restart",
            "connix_orphaned_agents",
        }

        states = trigger(http, "connix_lifecycle")
        assert len(states) == 9
        assert set(states.values()) == {"success"}, states
        # Its sensor waits in a real triggerer.
        try:
            states = trigger(http, "connix_gated_pipeline")
            assert set(states.values()) == {"success"}, states
        except AssertionError:
            logs = [path.read_text() for path in homes.rglob("*.trigger.*.log")]
            if any("isn't defined" in log for log in logs):
                # The UI shows the connection, and tasks on workers read it.
                pytest.xfail("Airflow's triggerer under load may report every connection as undefined")
            raise

        second = demo("--ui")
        assert second.wait() == 1
        assert second.output.splitlines()[-1] == (
            "scripts/demo: the UI is being served already; end that first"
        )
    (home,) = homes.glob("ui-*")
    ours = [path for path in home.rglob("*") if not path.is_symlink()]
    assert len(ours) > 10
    assert [path for path in (home, *ours) if path.stat().st_mode & 0o077] == []
    run.process.send_signal(signal.SIGINT)
    run.wait_for(r"Stopping\.")
    assert run.wait() == 0, run.output
    assert run.left_behind() == []
