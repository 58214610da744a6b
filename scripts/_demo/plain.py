"""Run the lifecycle DAG once, without a scheduler, and have the emulator bear witness."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from processes import Processes
from setting import AIRFLOW, CONNECTION, connection, environment, home

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
    """One task as Airflow's database shows it."""

    name: str
    state: str
    start: datetime | None
    end: datetime | None


class Happening(NamedTuple):
    """Something that the emulator saw."""

    at: datetime
    what: str
    detail: str


def run(fail: bool) -> int:
    """
    Run the DAG and report.

    :param fail: whether the agent shall end in ``error`` halfway
    :return: the exit code: 0, or 1 where a task failed, or 2 where --fail showed something else
    """
    began = datetime.now(UTC)
    log = home() / "demo.log"
    with Emulator() as emulator:
        if fail:
            emulator.faults.add(Fault.ends_in_error(), on="restart_agent", times=None)
        print(f"Emulated Connix at {emulator.url}")
        print(f"Airflow's log: {log}\n")
        variables = environment(
            **{f"AIRFLOW_CONN_{CONNECTION.upper()}": json.dumps(_with_extra(connection(emulator)))}
        )
        with Processes(variables) as processes:
            dag_run = processes.start("airflow", [AIRFLOW, "dags", "test", DAG_ID], log)
            _follow(dag_run, emulator, began)
        tasks = _tasks(began)
        print(f"\nTasks of {DAG_ID}, as Airflow knows them\n")
        _print_table(
            ("task", "state", "seconds"),
            ((task.name, task.state, _seconds(task.start, task.end)) for task in tasks),
        )
        print("\nWhat the emulator saw: requests that changed something, and what became of the agent\n")
        _print_table(
            ("second", "request", "agent"),
            ((_seconds(began, event.at), *_columns(event)) for event in _history(emulator)),
        )
        if fail:
            complaints = [*_missing_of_a_failure(tasks, emulator)]
        else:
            complaints = [*_complaints_of_airflow(tasks, dag_run.returncode), *_complaints_of(emulator)]
    if not complaints and not fail:
        print("\nEvery task succeeded, and the emulator saw all of it happen.")
        return 0
    failed = next((task.name for task in tasks if task.state == "failed"), None)
    print(f"\nThe end of the log{f' of task {failed}' if failed else ''}:\n")
    print("\n".join(_tail(log, failed)))
    if fail and not complaints:
        print(
            "\nThis is what --fail was to show: the agent ended in error after its restart."
            f"\nSo task {failed} is failed, and the tasks after it are upstream_failed."
            "\nThe lines above are what a user reads in Airflow. The exit code is 1, as for any failed run."
        )
        return 1
    print(f"\nThe demo went WRONG (log: {log}):")
    for complaint in complaints:
        print(f"  - {complaint}")
    return 2 if fail else 1


def _with_extra(fields: dict[str, Any]) -> dict[str, object]:
    return {**fields, "extra": json.loads(fields["extra"])}


def _follow(process: subprocess.Popen[bytes], emulator: Emulator, began: datetime) -> None:
    """Print what happens until the run ends."""
    limit = time.monotonic() + LIMIT
    told: set[str] = set()
    running = True
    print(f"{_seconds(began, datetime.now(UTC)):>6}  Airflow is starting")
    while running:
        running = process.poll() is None
        if running and time.monotonic() > limit:
            print(f"The run has not ended within {LIMIT:.0f} s.")
            return
        for at, key, text in sorted(_news(began, emulator)):
            if key not in told:
                told.add(key)
                print(f"{_seconds(began, at):>6}  {text}", flush=True)
        time.sleep(0.25)


def _news(began: datetime, emulator: Emulator) -> Iterable[tuple[datetime, str, str]]:
    """Collect what has happened so far: when, what makes it one thing, and how to say it."""
    for task in _tasks(began):
        # Airflow moves a task's start while it gets going; it is told once all the same.
        if task.start:
            yield task.start, f"{task.name} runs", f"{task.name:<12}task runs"
        if task.end:
            yield task.end, f"{task.name} {task.state}", f"{task.name:<12}task is {task.state}"
    for event in _history(emulator):
        if event.detail:
            yield event.at, f"{event.at} {event.detail}", f"{'':<12}agent is {event.detail}"


def _tasks(began: datetime) -> list[TaskRow]:
    """Read the run's tasks from Airflow's database, without any lock that Airflow could run into."""
    query = """
        SELECT task_id, state, start_date, end_date FROM task_instance WHERE dag_id = ? AND run_id =
        (SELECT run_id FROM dag_run WHERE dag_id = ? AND start_date >= ? ORDER BY start_date DESC LIMIT 1)
        ORDER BY start_date IS NULL, start_date
    """
    since = began.replace(tzinfo=None).isoformat(sep=" ")
    try:
        database = sqlite3.connect(f"file:{home() / 'airflow.db'}?mode=ro", uri=True, timeout=1.0)
        try:
            rows = database.execute(query, (DAG_ID, DAG_ID, since)).fetchall()
        finally:
            database.close()
    except sqlite3.OperationalError:
        # Airflow is writing: the next look will show it.
        return []
    return [TaskRow(name, state or "none", _moment(start), _moment(end)) for name, state, start, end in rows]


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def _agent_id(emulator: Emulator) -> str | None:
    """Find the agent of the run: the only one that was ever asked for."""
    return next((entry.agent_id for entry in emulator.journal.entries() if entry.agent_id), None)


def _history(emulator: Emulator) -> list[Happening]:
    events = [
        Happening(entry.at, str(entry.call), "")
        for entry in emulator.journal.executed()
        if entry.method != "GET"
    ]
    if agent_id := _agent_id(emulator):
        events += [Happening(at, "", status) for at, status in emulator.history(agent_id)]
        missing = [entry.at for entry in emulator.journal.entries("get_agent") if entry.status == 404]
        events += [Happening(at, "", "gone") for at in missing[:1]]
    return sorted(events)


def _columns(event: Happening) -> tuple[str, str]:
    return (event.what.removesuffix("_agent"), event.detail)


def _complaints_of_airflow(tasks: Sequence[TaskRow], code: int | None) -> Iterable[str]:
    if code:
        yield f"Airflow ended with exit code {code}"
    if not tasks:
        yield "Airflow ran no task"
    for task in tasks:
        if task.state != "success":
            yield f"task {task.name} is {task.state}"


def _complaints_of(emulator: Emulator) -> Iterable[str]:
    """Compare with what must have happened; Airflow's word alone would prove nothing."""
    history = _history(emulator)
    calls = [event.what for event in history if event.what]
    if calls != list(CALLS):
        yield f"the emulator did {', '.join(calls) or 'nothing'}, not {', '.join(CALLS)}"
    statuses = [event.detail for event in history if event.detail]
    # An agent may show a status twice; what counts is the order of the changes.
    changes = [status for status, _ in itertools.groupby(statuses)]
    if changes != [*STATUSES, "gone"]:
        yield f"the agent was {', '.join(changes) or 'never there'}, not {', '.join(STATUSES)}, gone"


def _missing_of_a_failure(tasks: Sequence[TaskRow], emulator: Emulator) -> Iterable[str]:
    """Compare with what --fail is to show."""
    states = {task.name: task.state for task in tasks}
    wanted = dict.fromkeys(("create", "is_healthy", "pause", "resume", "stop", "start"), "success")
    wanted |= {"restart": "failed", "update": "upstream_failed", "delete": "upstream_failed"}
    for name, state in wanted.items():
        if states.get(name) != state:
            yield f"task {name} is {states.get(name, 'not there')}, not {state}"
    history = _history(emulator)
    calls = [call for call, _ in itertools.groupby(event.what for event in history if event.what)]
    # A retry of the task may restart the agent again.
    if calls != list(CALLS[:6]):
        yield f"the emulator did {', '.join(calls) or 'nothing'}, not {', '.join(CALLS[:6])}"
    if (last := [event.detail for event in history if event.detail][-1:]) != ["error"]:
        yield f"the agent was {last[0] if last else 'never there'} in the end, not error"


def _tail(log: Path, task: str | None) -> list[str]:
    """Return the last lines of the log, or of one task's last try in it, without Python's stack."""
    lines = log.read_text(errors="replace").splitlines()
    if task:
        marks = [
            number for number, line in enumerate(lines) if f"task_id={task} " in line and "[DAG TEST]" in line
        ]
        if marks:
            lines = lines[: marks[-1] + 1]
    # The stack shows the way through Airflow, which is the same for every failure.
    return [line for line in lines if line[:1].strip() and not line.startswith("Traceback")][-20:]


def _seconds(start: datetime | None, end: datetime | None) -> str:
    return f"{(end - start).total_seconds():.1f}" if start and end else ""


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, tuple("-" * width for width in widths))
    for line in lines:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
