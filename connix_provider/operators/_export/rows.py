"""
The rows of an export, page by page, so that memory does not grow with their number.

The end of an interval does not belong to it. So two exports that follow each other neither share a line nor
miss one, whether or not the service counts the end in. Only a point of metrics that spans a bound is in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.client.calls.arguments import check_choice
from connix_provider.client.endpoints import INTERVALS, LOG_LEVELS, MAX_LOGS_PER_PAGE, get_logs, get_metrics
from connix_provider.client.models import LogEntry
from connix_provider.client.pagination import LogPaginator

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client
    from connix_provider.client.models import AgentMetrics

__all__ = ["LogRows", "MetricRows", "Page", "Rows"]

#: A page of rows, and the number of all rows of the agent, if the service reports it.
Page = tuple[list[dict[str, Any]], int | None]

_SECONDS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86400}
#: Points in one response, because the reference names no bound and a service needs one.
_MOST_POINTS = 1000


class Rows:
    """
    Read the rows of an agent.

    :cvar columns: names and kinds (``text``, ``time``, ``number``) of the columns of a table, if the rows
        have any
    """

    columns: ClassVar[Mapping[str, str] | None] = None

    def pages(
        self, client: Client, project_id: str, agent: Agent, start: datetime, end: datetime
    ) -> Iterator[Page]:
        """
        Read the rows of an interval.

        :param agent: the agent, from Get Agent
        :param start: the start of the interval
        :param end: its end
        :return: the pages
        """
        raise NotImplementedError


class LogRows(Rows):
    """
    Read log lines, with the agent's secrets hidden.

    :param level: only lines of this level
    :raises ValueError: for an unknown level
    """

    def __init__(self, level: str | None) -> None:
        self._level = check_choice(level, "level", LOG_LEVELS)

    def pages(
        self, client: Client, project_id: str, agent: Agent, start: datetime, end: datetime
    ) -> Iterator[Page]:
        """Read the lines of an interval, in the service's order."""
        secrets = agent.secrets()
        page_of = partial(
            get_logs,
            project_id,
            agent.id,
            level=self._level,
            start_time=start,
            end_time=end,
            limit=MAX_LOGS_PER_PAGE,
        )
        pages = LogPaginator[LogEntry](page_of)
        while pages.next_call is not None:
            page = client.perform(pages.next_call)
            rows = [
                {"agent_id": agent.id, "agent_name": agent.name, **entry.model_dump(mode="json")}
                for entry in pages.take(page)
                if entry.timestamp is None or start <= entry.timestamp < end
            ]
            yield client.redact(rows, secrets), page.pagination.total


class MetricRows(Rows):
    """
    Read metrics: a row for the interval, and one for each point of the time series.

    :param interval: the distance of the points
    :raises ValueError: for an unknown interval
    """

    columns: ClassVar[Mapping[str, str] | None] = {
        **dict.fromkeys(("agent_id", "agent_name", "record"), "text"),
        **dict.fromkeys(("timestamp", "end_time"), "time"),
        "interval": "text",
        **dict.fromkeys(
            (
                *("total", "completed", "failed", "in_progress", "success_rate", "tasks_completed"),
                *("avg_response_time", "p95_response_time", "p99_response_time"),
                *("tokens_per_minute", "requests_per_minute"),
                *("cpu_usage", "memory_usage", "disk_usage", "network_in", "network_out"),
            ),
            "number",
        ),
    }

    def __init__(self, interval: str) -> None:
        self._interval = check_choice(interval, "interval", INTERVALS) or "1h"

    def pages(
        self, client: Client, project_id: str, agent: Agent, start: datetime, end: datetime
    ) -> Iterator[Page]:
        """Read the metrics of an interval: in one response, or else the totals and parts of 1000 points."""
        parts = _parts(start, end, _SECONDS[self._interval])
        known = {"agent_id": agent.id, "agent_name": agent.name}

        def read(since: datetime, until: datetime, interval: str) -> AgentMetrics:
            call = get_metrics(project_id, agent.id, start_time=since, end_time=until, interval=interval)
            return client.perform(call)

        def points(found: AgentMetrics, since: datetime, until: datetime) -> list[dict[str, Any]]:
            # The first point may begin before the interval, which is then a part of it.
            first = since - timedelta(seconds=_SECONDS[self._interval])
            return [
                {**known, "record": "point", "interval": self._interval, **point.model_dump(mode="json")}
                for point in found.time_series
                if point.timestamp is None or first < point.timestamp < until
            ]

        is_whole = len(parts) == 1
        found = read(start, end, self._interval if is_whole else "1d")
        totals = {
            **known,
            "record": "period",
            "timestamp": _iso(start),
            "end_time": _iso(end),
            "interval": self._interval,
            **found.tasks.model_dump(mode="json"),
            **found.performance.model_dump(mode="json"),
            **found.resource_usage.model_dump(mode="json"),
        }
        yield [totals, *(points(found, start, end) if is_whole else ())], None
        for since, until in () if is_whole else parts:
            yield points(read(since, until, self._interval), since, until), None


def _parts(start: datetime, end: datetime, step: int) -> list[tuple[datetime, datetime]]:
    """Divide an interval into parts whose bounds are those of points."""
    size = step * _MOST_POINTS
    first = math.floor(start.timestamp() / step) * step + size
    bounds = [start]
    while first < end.timestamp():
        bounds.append(datetime.fromtimestamp(first, UTC))
        first += size
    return list(zip(bounds, [*bounds[1:], end], strict=True))


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
