"""An agent's metrics: zeros until its canned work is done, then constants, unless a test sets others."""

import math
from bisect import bisect_right
from operator import itemgetter
from typing import Any, Final

from connix_provider.emulator.agent import Agent, MetricValues
from connix_provider.emulator.clock import iso
from connix_provider.emulator.logs import WORK_DONE_AFTER

_SECOND: Final = 1_000_000
_INTERVALS: Final = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86400}
_DEFAULT_PERIOD: Final = 86400 * _SECOND
# A day by the minute. The reference names no bound, but a response needs one: the newest points stay.
_MOST_POINTS: Final = 1440

_SECTIONS: Final = {
    "tasks": ("total", "completed", "failed", "in_progress", "success_rate"),
    "performance": (
        "avg_response_time",
        "p95_response_time",
        "p99_response_time",
        "tokens_per_minute",
        "requests_per_minute",
    ),
    "resource_usage": ("cpu_usage", "memory_usage", "disk_usage", "network_in", "network_out"),
}
_POINT: Final = ("tasks_completed", "avg_response_time", "cpu_usage", "memory_usage")
_STATS: Final = {
    "total_tasks": "total",
    "completed_tasks": "completed",
    "failed_tasks": "failed",
    "success_rate": "success_rate",
    "avg_response_time": "avg_response_time",
}
_DEFAULTS: Final[dict[str, float | None]] = {
    "completed": 96,
    "failed": 4,
    "in_progress": 0,
    "avg_response_time": 2.34,
    "p95_response_time": 8.12,
    "p99_response_time": 15.67,
    "tokens_per_minute": 1245.6,
    "requests_per_minute": 24.3,
    "cpu_usage": 0.45,
    "memory_usage": 0.67,
    "disk_usage": 0.23,
    "network_in": 1234567,
    "network_out": 987654,
    "tasks_completed": 12,
}
METRICS: Final = (*_DEFAULTS, "total", "success_rate")
_IDLE: Final[MetricValues] = dict.fromkeys(METRICS, 0)


def with_defaults(given: MetricValues) -> MetricValues:
    """
    Fill in the metrics that are not given; ``total`` and ``success_rate`` follow from the others.

    :raises ValueError: for a name that is no metric, or a value that is no finite number.
    """
    if unknown := sorted(set(given) - set(METRICS)):
        raise ValueError(f"no metric is named {', '.join(unknown)}; the metrics are {', '.join(METRICS)}")
    if wrong := [name for name, value in given.items() if value is not None and not math.isfinite(value)]:
        raise ValueError(f"{', '.join(wrong)} must be a finite number, or None to leave it out")
    values = {**_DEFAULTS, **given}
    total = sum(values[name] or 0 for name in ("completed", "failed", "in_progress"))
    values.setdefault("total", total)
    values.setdefault("success_rate", round((values["completed"] or 0) / total, 3) if total else 0)
    return values


_ACTIVE: Final = with_defaults({})


def metrics(agent: Agent, now: int, start: int | None, end: int | None, interval: str) -> dict[str, Any]:
    """
    Return the metrics of a period: those in force at its end, and a point for each interval in it.

    :param start: where the period begins; a day before its end by default.
    :param end: where it ends; now by default.
    """
    end = now if end is None else end
    start = end - _DEFAULT_PERIOD if start is None else start
    values = _in_force(agent, min(end, now)) if start <= min(end, now) else _IDLE
    sections: dict[str, Any] = {section: _shown(values, names) for section, names in _SECTIONS.items()}
    first, last = max(start, agent.created_at), min(end, now)
    sections["time_series"] = _points(agent, first, last, _INTERVALS[interval] * _SECOND)
    return {
        "metrics": sections,
        "period": {"start_time": iso(start), "end_time": iso(end), "interval": interval},
    }


def stats(agent: Agent, now: int) -> dict[str, Any]:
    """Return the statistics that Get Agent shows."""
    values = _in_force(agent, now)
    return {shown: values[name] for shown, name in _STATS.items() if values[name] is not None}


def _in_force(agent: Agent, at: int) -> MetricValues:
    index = bisect_right(agent.set_metrics, at, key=itemgetter(0))
    if index:
        return agent.set_metrics[index - 1][1]
    worked = any(end - begin >= WORK_DONE_AFTER * _SECOND for begin, end in agent.running_times(at))
    return _ACTIVE if worked else _IDLE


def _points(agent: Agent, first: int, last: int, step: int) -> list[dict[str, Any]]:
    # The end is exclusive: in the reference's example, 15:00 to 17:00 by the hour has two points.
    newest = (last - 1) // step
    oldest = max(first // step, newest - _MOST_POINTS + 1)
    return [
        {"timestamp": iso(number * step)} | _shown(_in_force(agent, min((number + 1) * step, last)), _POINT)
        for number in range(oldest, newest + 1)
        if first < last
    ]


def _shown(values: MetricValues, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if values[name] is not None}
