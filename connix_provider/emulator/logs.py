"""
An agent's log: status changes, a canned line of work, and the lines that a test adds.

After ten seconds in ``running`` an agent logs a completed task, as in the reference's example, and again
after each return to ``running``. Nothing else is logged by itself, so that a healthy agent logs no error.
"""

from bisect import bisect_left, bisect_right, insort_left
from operator import attrgetter
from typing import Any, Final

from connix_provider.emulator.agent import Agent, LogLine
from connix_provider.emulator.clock import iso

LEVELS: Final = ("debug", "info", "warn", "error")

#: Seconds in ``running`` after which an agent has done its canned work.
WORK_DONE_AFTER: Final = 10

_DONE: Final[dict[str, Any]] = {
    "level": "info",
    "message": "Task completed successfully",
    "context": {"task_id": "task_1234567890abcdef", "duration": 2.34, "tokens_used": 156},
}
_AT: Final = attrgetter("at")


def log_lines(agent: Agent, now: int) -> list[LogLine]:
    """Return an agent's log up to now, oldest line first."""
    # Scripted lines may lie in the future.
    lines = agent.added_lines[: bisect_right(agent.added_lines, now, key=_AT)]
    # From the newest to the oldest, because each is put before the lines of the same time.
    for line in reversed(_status_lines(agent, now)):
        insort_left(lines, line, key=_AT)
    for begin, end in reversed(agent.running_times(now)):
        if (at := begin + WORK_DONE_AFTER * 1_000_000) <= end:
            insort_left(lines, LogLine(at, **_DONE), key=_AT)
    return lines


def last_activity(agent: Agent, now: int) -> int | None:
    """Return the time of an agent's newest line that is no status change, in microseconds."""
    return next((line.at for line in reversed(log_lines(agent, now)) if line.is_activity), None)


def page(
    agent: Agent, now: int, level: str | None, start: int | None, end: int | None, offset: int, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Return one page of an agent's log, newest line first, and the number of all lines that match."""
    lines = log_lines(agent, now)
    low = 0 if start is None else bisect_left(lines, start, key=_AT)
    high = len(lines) if end is None else bisect_right(lines, end, key=_AT)
    matches = [line for line in lines[low:high] if level in {None, line.level}]
    shown = [
        {"timestamp": iso(line.at), "level": line.level, "message": line.message, "context": line.context}
        for line in matches[::-1][offset : offset + limit]
    ]
    return shown, len(matches)


def _status_lines(agent: Agent, now: int) -> list[LogLine]:
    lines = []
    before = None
    for at, status in agent.history:
        if at > now:
            break
        if status == before:
            # A restart of a stopped agent, or an update of one that is updating.
            continue
        level = "info"
        if before is None:
            message = f"Agent created with status '{status}'"
        elif status == "error":
            level, message = "error", f"Agent encountered an error; its status was '{before}'"
        else:
            message = f"Agent status changed from '{before}' to '{status}'"
        lines.append(LogLine(at, level, message, is_activity=False))
        before = status
    return lines
