"""Serve Airflow's own UI with the connection and the example DAGs, until a signal stops it."""

from __future__ import annotations

import fcntl
import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from airflow_setup import AIRFLOW, CONNECTION, ROOT, connection, environment, make_home, seed_agents
from processes import Processes

from connix_provider.emulator import Emulator

#: Seconds within which every component of Airflow must be healthy.
LIMIT: Final = 180.0
#: Airflow writes the generated password there.
PASSWORDS: Final = "passwords.json"
COMPONENTS: Final = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class NotServingError(Exception):
    """Raised when the UI cannot be served; its text says why in one line."""


def serve(port: int) -> int:
    """
    Serve until a signal arrives.

    :param port: port of the UI; 0: a free one
    :return: the exit code
    """
    home = make_home("ui")
    try:
        port = _free_port(port)
        url = f"http://127.0.0.1:{port}"
        with _locked(home), Emulator() as emulator, Processes(_variables(home, port)) as processes:
            seed_agents(emulator)
            print(f"Emulated Connix at {emulator.url}")
            print(f"Airflow's logs: {home / 'components'}")
            print("Airflow is starting, which takes half a minute.", flush=True)
            _start(processes, home, port)
            with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as http:
                _wait_until_healthy(http, processes)
                password = _log_in(http, home)
                _connect(http, emulator)
                _unpause_examples(http, processes)
            print(f"\nAirflow  {url}\nUser     admin\nPassword {password}\n")
            print(f"Connix   {emulator.url}\nAPI key  {emulator.api_key}\nProject  {emulator.project_id}\n")
            print("Press Ctrl+C to end it.", flush=True)
            while True:
                _raise_if_ended(processes)
                time.sleep(1.0)
    except NotServingError as error:
        print(f"scripts/demo: {error}")
        return 1


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Allow one UI at a time, because two schedulers would lock each other out of one SQLite database."""
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotServingError("the UI is being served already; end that first") from None
        yield


def _free_port(port: int) -> int:
    with socket.socket() as listener:
        # As Airflow's server does, because closed connections of the last run still occupy the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise NotServingError(f"cannot listen on port {port}: {error}") from None
        return int(listener.getsockname()[1])


def _variables(home: Path, port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    return environment(
        home,
        # Every task talks to the API server at this address.
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__BASE_URL=url,
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{url}/execution/",
        AIRFLOW__API__SECRET_KEY=secrets.token_hex(32),
        AIRFLOW__API_AUTH__JWT_SECRET=secrets.token_hex(32),
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        AIRFLOW__CORE__PARALLELISM="4",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS="admin:admin",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=str(home / PASSWORDS),
        # Airflow disables the connection form's Test button by default.
        AIRFLOW__CORE__TEST_CONNECTION="Enabled",
        AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL="10",
    )


def _start(processes: Processes, home: Path, port: int) -> None:
    """Start each component of Airflow, because ``airflow standalone`` does not stop them on SIGTERM."""
    logs = home / "components"
    logs.mkdir(exist_ok=True)
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    processes.start("API server", [AIRFLOW, "api-server", *address], logs / "api-server.log")
    # The API server reads log files of this machine, so no component needs a log server and its port.
    processes.start("scheduler", [AIRFLOW, "scheduler", "--skip-serve-logs"], logs / "scheduler.log")
    processes.start("triggerer", [AIRFLOW, "triggerer", "--skip-serve-logs"], logs / "triggerer.log")
    processes.start("DAG processor", [AIRFLOW, "dag-processor"], logs / "dag-processor.log")


def _wait_until_healthy(http: httpx.Client, processes: Processes) -> None:
    limit = time.monotonic() + LIMIT
    unhealthy = ["API server"]
    while unhealthy:
        _raise_if_ended(processes)
        if time.monotonic() > limit:
            raise NotServingError(f"not healthy after {LIMIT:.0f} s: {', '.join(unhealthy)}")
        time.sleep(0.5)
        try:
            health = http.get("/api/v2/monitor/health").raise_for_status().json()
        except httpx.HTTPError:
            continue
        unhealthy = [name for name in COMPONENTS if health[name]["status"] != "healthy"]


def _raise_if_ended(processes: Processes) -> None:
    if dead := processes.dead():
        name, log = dead
        print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))
        raise NotServingError(f"Airflow's {name} has ended by itself; the end of its log, {log}, is above")


def _log_in(http: httpx.Client, home: Path) -> str:
    password = str(json.loads((home / PASSWORDS).read_text())["admin"])
    response = http.post("/auth/token", json={"username": "admin", "password": password})
    http.headers["Authorization"] = f"Bearer {response.raise_for_status().json()['access_token']}"
    return password


def _connect(http: httpx.Client, emulator: Emulator) -> None:
    """Replace the connection, because the emulator has another port and key than in the last demo."""
    http.delete(f"/api/v2/connections/{CONNECTION}")
    body = {"connection_id": CONNECTION, "description": "The demo's emulated Connix", **connection(emulator)}
    http.post("/api/v2/connections", json=body).raise_for_status()


def _unpause_examples(http: httpx.Client, processes: Processes) -> None:
    """Wait for the example DAGs, and unpause those without a schedule, so that they can be triggered."""
    expected = {path.stem for path in (ROOT / "example_dags").glob("connix_*.py")}
    limit = time.monotonic() + LIMIT
    listed: dict[str, Any] = {}
    while expected - set(listed):
        _raise_if_ended(processes)
        if time.monotonic() > limit:
            raise NotServingError(f"Airflow does not show {', '.join(sorted(expected - set(listed)))}")
        time.sleep(0.5)
        dags = http.get("/api/v2/dags", params={"tags": "example"}).raise_for_status().json()["dags"]
        listed = {dag["dag_id"]: dag for dag in dags}
    for dag_id, dag in listed.items():
        if dag["timetable_summary"] is None:
            http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
