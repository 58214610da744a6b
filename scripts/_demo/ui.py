"""Serve Airflow's own UI, with the connection and the example DAGs in place, until a signal ends it."""

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
from processes import Processes
from setting import AIRFLOW, CONNECTION, ROOT, connection, environment, home, populate

from connix_provider.emulator import Emulator

#: Seconds within which Airflow's parts must be well.
LIMIT: Final = 180.0
PARTS: Final = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class NotServingError(Exception):
    """Say in one line why there is no UI."""


def serve(port: int) -> int:
    """
    Serve until a signal comes.

    :param port: where to serve the UI; 0: at a free port
    :return: the exit code
    """
    try:
        port = _free_port(port)
        url = f"http://127.0.0.1:{port}"
        with _alone(), Emulator() as emulator, Processes(_variables(port)) as processes:
            populate(emulator)
            print(f"Emulated Connix at {emulator.url}")
            print(f"Airflow's logs: {home() / 'parts'}")
            print("Airflow is starting; that takes half a minute.", flush=True)
            _start(processes, port)
            with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as http:
                _until_well(http, processes)
                password = _log_in(http)
                _connect(http, emulator)
                _show_examples(http, processes)
            print(f"\nAirflow  {url}\nUser     admin\nPassword {password}\n")
            print(f"Connix   {emulator.url}\nAPI key  {emulator.api_key}\nProject  {emulator.project_id}\n")
            print("Press Ctrl+C to end it.", flush=True)
            while True:
                _complain_of_dead(processes)
                time.sleep(1.0)
    except NotServingError as error:
        print(f"scripts/demo: {error}")
        return 1


@contextmanager
def _alone() -> Iterator[None]:
    """Keep a second UI out: two schedulers on one SQLite database end in locks."""
    with (home() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotServingError("the UI is being served already; end that first") from None
        yield


def _free_port(port: int) -> int:
    with socket.socket() as listener:
        # As Airflow's server does: the last run's closed connections do not count as taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise NotServingError(f"cannot listen on port {port}: {error}") from None
        return int(listener.getsockname()[1])


def _variables(port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    return environment(
        # These belong together: every task talks to the API server.
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__BASE_URL=url,
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{url}/execution/",
        AIRFLOW__API__SECRET_KEY=secrets.token_hex(32),
        AIRFLOW__API_AUTH__JWT_SECRET=secrets.token_hex(32),
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        AIRFLOW__CORE__PARALLELISM="4",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS="admin:admin",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=str(_passwords()),
        # The connection form's Test button is what one wants to try here.
        AIRFLOW__CORE__TEST_CONNECTION="Enabled",
        AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL="10",
    )


def _passwords() -> Path:
    return home() / "passwords.json"


def _start(processes: Processes, port: int) -> None:
    """Start the parts of Airflow one by one; ``airflow standalone`` leaves them behind when it is ended."""
    logs = home() / "parts"
    logs.mkdir(exist_ok=True)
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    processes.start("API server", [AIRFLOW, "api-server", *address], logs / "api-server.log")
    # Logs are read from this machine's files: no part needs a log server, and so no port.
    processes.start("scheduler", [AIRFLOW, "scheduler", "--skip-serve-logs"], logs / "scheduler.log")
    processes.start("triggerer", [AIRFLOW, "triggerer", "--skip-serve-logs"], logs / "triggerer.log")
    processes.start("DAG processor", [AIRFLOW, "dag-processor"], logs / "dag-processor.log")


def _until_well(http: httpx.Client, processes: Processes) -> None:
    limit = time.monotonic() + LIMIT
    unwell = ["API server"]
    while unwell:
        _complain_of_dead(processes)
        if time.monotonic() > limit:
            raise NotServingError(f"not well after {LIMIT:.0f} s: {', '.join(unwell)}")
        time.sleep(0.5)
        try:
            health = http.get("/api/v2/monitor/health").raise_for_status().json()
        except httpx.HTTPError:
            continue
        unwell = [part for part in PARTS if health[part]["status"] != "healthy"]


def _complain_of_dead(processes: Processes) -> None:
    if dead := processes.dead():
        name, log = dead
        print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))
        raise NotServingError(f"Airflow's {name} has ended by itself; the end of its log, {log}, is above")


def _log_in(http: httpx.Client) -> str:
    password = str(json.loads(_passwords().read_text())["admin"])
    answer = http.post("/auth/token", json={"username": "admin", "password": password})
    http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
    return password


def _connect(http: httpx.Client, emulator: Emulator) -> None:
    """Define the connection anew: the emulator has another port and key than last time."""
    http.delete(f"/api/v2/connections/{CONNECTION}")
    body = {"connection_id": CONNECTION, "description": "The demo's emulated Connix", **connection(emulator)}
    http.post("/api/v2/connections", json=body).raise_for_status()


def _show_examples(http: httpx.Client, processes: Processes) -> None:
    """Wait for the examples, and let those without a schedule run when somebody triggers them."""
    wanted = {path.stem for path in (ROOT / "example_dags").glob("connix_*.py")}
    limit = time.monotonic() + LIMIT
    shown: dict[str, Any] = {}
    while wanted - set(shown):
        _complain_of_dead(processes)
        if time.monotonic() > limit:
            raise NotServingError(f"Airflow does not show {', '.join(sorted(wanted - set(shown)))}")
        time.sleep(0.5)
        dags = http.get("/api/v2/dags", params={"tags": "example"}).raise_for_status().json()["dags"]
        shown = {dag["dag_id"]: dag for dag in dags}
    for dag_id, dag in shown.items():
        if dag["timetable_summary"] is None:
            http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
