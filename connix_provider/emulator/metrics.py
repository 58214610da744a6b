"""An agent's metrics, computed from the same work as its log."""

from typing import Any, Final

from connix_provider.emulator.agent import Agent
from connix_provider.emulator.clock import iso
from connix_provider.emulator.telemetry import Timeline, fraction

_SECOND: Final = 1_000_000
INTERVALS: Final = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86400}
_DEFAULT_PERIOD: Final = 86400 * _SECOND
# A day by the minute. The reference names no bound, but an answer has to have one: the newest stay.
_MOST_POINTS: Final = 1440


def metrics(agent: Agent, now: int, start: int | None, end: int | None, interval: str) -> dict[str, Any]:
    """
    Return an agent's metrics over a period, with a point for each interval in which the agent existed.

    :param agent: its life so far.
    :param now: the time in microseconds.
    :param start: where the period begins; a day before its end by default.
    :param end: where it ends; now by default.
    :param interval: one of :data:`INTERVALS`.
    """
    end = now if end is None else end
    start = end - _DEFAULT_PERIOD if start is None else start
    timeline = Timeline(agent, now)
    first, last = timeline.works_before(start), timeline.works_before(end)
    last = max(first, last)
    completed, failed = timeline.completed(first, last), timeline.failed(first, last)
    in_progress = timeline.in_progress() if start <= now <= end else 0
    total = completed + failed + in_progress
    minutes = max((min(end, now) - max(start, agent.created_at)) / (60 * _SECOND), 1.0)
    response = timeline.response_time() if completed else 0.0
    return {
        "metrics": {
            "tasks": {
                "total": total,
                "completed": completed,
                "failed": failed,
                "in_progress": in_progress,
                "success_rate": round(completed / total, 3) if total else 0.0,
            },
            "performance": {
                "avg_response_time": response,
                "p95_response_time": round(response * 3.4, 2),
                "p99_response_time": round(response * 6.7, 2),
                "tokens_per_minute": round(completed * 250 / minutes, 1),
                "requests_per_minute": round((completed + failed) / minutes, 1),
            },
            "resource_usage": {
                "cpu_usage": _usage(agent, "cpu", bool(in_progress)),
                "memory_usage": _usage(agent, "memory", bool(in_progress)),
                "disk_usage": _usage(agent, "disk", True),
                "network_in": (completed + failed) * 1030,
                "network_out": (completed + failed) * 824,
            },
            "time_series": _series(agent, timeline, now, start, end, INTERVALS[interval] * _SECOND),
        },
        "period": {"start_time": iso(start), "end_time": iso(end), "interval": interval},
    }


def _usage(agent: Agent, of: str, busy: bool) -> float:
    return round(0.3 + 0.4 * fraction(agent.id, of), 2) if busy else 0.0


def _series(
    agent: Agent, timeline: Timeline, now: int, start: int, end: int, step: int
) -> list[dict[str, Any]]:
    low, high = max(start, agent.created_at), min(end, now)
    if low > high:
        return []
    newest = high // step
    oldest = max(low // step, newest - _MOST_POINTS + 1)
    points = []
    for number in range(oldest, newest + 1):
        # The first and the last interval are cut by the period: their points sum to the tasks above.
        first = timeline.works_before(max(number * step, start))
        last = max(first, timeline.works_before(min((number + 1) * step, end)))
        completed = timeline.completed(first, last)
        swing = 0.85 + 0.3 * fraction(agent.id, number, step)
        points.append(
            {
                "timestamp": iso(number * step),
                "tasks_completed": completed,
                "avg_response_time": round(timeline.response_time() * swing, 2) if completed else 0.0,
                "cpu_usage": round(_usage(agent, "cpu", last > first) * swing, 2),
                "memory_usage": round(_usage(agent, "memory", last > first) * swing, 2),
            }
        )
    return points
