"""
Run the lifecycle DAG once without a scheduler, and compare its result with the emulator's journal.

Airflow's task states alone would not show that the agent changed, so the emulator is asked too.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from airflow_setup import AIRFLOW, CONNECTION, connection, environment, make_home
from processes import Processes
from rich import box
from rich.console import Console
from rich.table import Table

from connix_provider.emulator import Emulator, Fault

DAG_ID: Final = "connix_lifecycle"
#: The calls that change something, in the order of the DAG's tasks.
CALLS: Final = (
    "create_agent",
    "pause_agent",
    "start_agent",
    "stop_agent",
    "start_agent",
    "restart_agent",
    "update_agent",
    "delete_agent",
)
STATUSES: Final = (
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
)
#: Seconds after which a run that should take half a minute is hanging.
LIMIT: Final = 300.0


class TaskRow(NamedTuple):
    """A task in Airflow's database."""

    name: str
    state: str
    start: datetime | None
    end: datetime | None


class Event(NamedTuple):
    """A request that changed something, or a new status of the agent; the other field is empty."""

    at: datetime
    call: str
    status: str


def run(fail: bool) -> int:
    """
    Run the DAG and report.

    :param fail: whether the agent shall end in ``error`` after its restart
    :return: the exit code: 0, or 1 for a failed task, or 2 where ``fail`` had another effect
    """
    began = datetime.now(UTC)
    home = make_home("demo")
    log = home / "demo.log"
    with Emulator() as emulator:
        if fail:
            emulator.faults.add(Fault.ends_in_error(), on="restart_agent", times=None)
        print(f"Emulated Connix at {emulator.url}")
        print(f"Airflow's log: {log}\n")
        fields = connection(emulator)
        fields["extra"] = json.loads(fields["extra"])
        variables = environment(home, **{f"AIRFLOW_CONN_{CONNECTION.upper()}": json.dumps(fields)})
        with Processes(variables) as processes:
            dag_run = processes.start("airflow", [AIRFLOW, "dags", "test", DAG_ID], log)
            _follow(dag_run, emulator, home, began)
        tasks = _tasks(home, began)
        _print_table(
            f"Tasks of {DAG_ID} in Airflow",
            ("task", "state", "seconds"),
            [(task.name, task.state, _seconds(task.start, task.end)) for task in tasks],
        )
        _print_table(
            "Changes in the emulator",
            ("second", "request", "agent's status"),
            [
                (_seconds(began, event.at), event.call.removesuffix("_agent"), event.status)
                for event in _events(emulator)
            ],
        )
        if fail:
            problems = [*_differences_from_failure(tasks, emulator)]
        else:
            problems = [*_failures(tasks, dag_run.returncode), *_differences_from_lifecycle(emulator)]
    if not problems and not fail:
        print("\nEvery task succeeded, and the emulator's journal shows every change.")
        return 0
    failed = next((task.name for task in tasks if task.state == "failed"), None)
    print(f"\nThe end of the log{f' of task {failed}' if failed else ''}:\n")
    print("\n".join(_tail(log, failed)))
    if fail and not problems:
        print(
            "\nThis is what --fail was to show: the agent ended in error after its restart."
            f"\nSo task {failed} is failed, and the tasks after it are upstream_failed."
            "\nThe lines above are what a user reads in Airflow. The exit code is 1, as for any failed run."
        )
        return 1
    print(f"\nThe demo went WRONG (log: {log}):")
    for problem in problems:
        print(f"  - {problem}")
    return 2 if fail else 1


def _follow(process: subprocess.Popen[bytes], emulator: Emulator, home: Path, began: datetime) -> None:
    """Print task states and statuses as they change, until the run ends."""
    limit = time.monotonic() + LIMIT
    printed: set[str] = set()
    running = True
    print(f"{_seconds(began, datetime.now(UTC)):>6}  Airflow is starting")
    while running:
        running = process.poll() is None
        if running and time.monotonic() > limit:
            print(f"The run has not ended within {LIMIT:.0f} s.")
            return
        for at, key, text in sorted(_progress(home, began, emulator)):
            if key not in printed:
                printed.add(key)
                print(f"{_seconds(began, at):>6}  {text}", flush=True)
        time.sleep(0.25)


def _progress(home: Path, began: datetime, emulator: Emulator) -> Iterable[tuple[datetime, str, str]]:
    """Yield for each change so far its time, a key and a line of text."""
    for task in _tasks(home, began):
        # The key has no time, because Airflow moves a task's start time while the task begins.
        if task.start:
            yield task.start, f"{task.name} runs", f"{task.name:<12}task runs"
        if task.end:
            yield task.end, f"{task.name} {task.state}", f"{task.name:<12}task is {task.state}"
    for event in _events(emulator):
        if event.status:
            yield event.at, f"{event.at} {event.status}", f"{'':<12}agent is {event.status}"


def _tasks(home: Path, began: datetime) -> list[TaskRow]:
    """Read the run's tasks from Airflow's database, without a lock that could stop Airflow."""
    query = """
        SELECT task_id, state, start_date, end_date FROM task_instance WHERE dag_id = ? AND run_id =
        (SELECT run_id FROM dag_run WHERE dag_id = ? AND start_date >= ? ORDER BY start_date DESC LIMIT 1)
        ORDER BY start_date IS NULL, start_date
    """
    since = began.replace(tzinfo=None).isoformat(sep=" ")
    try:
        read_only = f"file:{home / 'airflow.db'}?mode=ro"
        with closing(sqlite3.connect(read_only, uri=True, timeout=1.0)) as database:
            rows = database.execute(query, (DAG_ID, DAG_ID, since)).fetchall()
    except sqlite3.OperationalError:
        # Airflow is writing; the next call reads again.
        return []
    return [TaskRow(name, state or "none", _utc(start), _utc(end)) for name, state, start, end in rows]


def _utc(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def _events(emulator: Emulator) -> list[Event]:
    journal = emulator.journal
    events = [Event(entry.at, str(entry.call), "") for entry in journal.executed() if entry.method != "GET"]
    # The run has one agent.
    if agent_id := next((entry.agent_id for entry in journal.entries() if entry.agent_id), None):
        events += [Event(at, "", status) for at, status in emulator.history(agent_id)]
        not_found = [entry.at for entry in journal.entries("get_agent") if entry.status == 404]
        events += [Event(at, "", "gone") for at in not_found[:1]]
    return sorted(events)


def _failures(tasks: Sequence[TaskRow], code: int | None) -> Iterable[str]:
    if code:
        yield f"Airflow ended with exit code {code}"
    if not tasks:
        yield "Airflow ran no task"
    for task in tasks:
        if task.state != "success":
            yield f"task {task.name} is {task.state}"


def _differences_from_lifecycle(emulator: Emulator) -> Iterable[str]:
    events = _events(emulator)
    calls = [event.call for event in events if event.call]
    if calls != list(CALLS):
        yield f"the emulator executed {', '.join(calls) or 'nothing'}, not {', '.join(CALLS)}"
    # A status may stand there twice, so only the order of the changes is compared.
    statuses = [status for status, _ in itertools.groupby(event.status for event in events if event.status)]
    if statuses != [*STATUSES, "gone"]:
        yield f"the agent was {', '.join(statuses) or 'never there'}, not {', '.join(STATUSES)}, gone"


def _differences_from_failure(tasks: Sequence[TaskRow], emulator: Emulator) -> Iterable[str]:
    states = {task.name: task.state for task in tasks}
    expected = dict.fromkeys(("create", "is_healthy", "pause", "resume", "stop", "start"), "success")
    expected |= {"restart": "failed", "update": "upstream_failed", "delete": "upstream_failed"}
    for name, state in expected.items():
        if states.get(name) != state:
            yield f"task {name} is {states.get(name, 'missing')}, not {state}"
    events = _events(emulator)
    # A retry of the task may restart the agent again.
    calls = [call for call, _ in itertools.groupby(event.call for event in events if event.call)]
    if calls != list(CALLS[:6]):
        yield f"the emulator executed {', '.join(calls) or 'nothing'}, not {', '.join(CALLS[:6])}"
    if (last := [event.status for event in events if event.status][-1:]) != ["error"]:
        yield f"the agent was {last[0] if last else 'never there'} in the end, not error"


def _tail(log: Path, task: str | None) -> list[str]:
    """Return the last lines of the log, or of one task's last try in it, without Python's stack."""
    lines = log.read_text(errors="replace").splitlines()
    if task:
        ends = [
            number for number, line in enumerate(lines) if f"task_id={task} " in line and "[DAG TEST]" in line
        ]
        if ends:
            lines = lines[: ends[-1] + 1]
    # The stack is the way through Airflow, which is the same for every failure.
    return [line for line in lines if line[:1].strip() and not line.startswith("Traceback")][-20:]


def _seconds(start: datetime | None, end: datetime | None) -> str:
    return f"{(end - start).total_seconds():.1f}" if start and end else ""


def _print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=box.SIMPLE)
    for column in head:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    print(f"\n{title}")
    Console(highlight=False).print(table)
