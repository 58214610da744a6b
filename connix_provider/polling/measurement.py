"""Measure an agent's health: read what the checks of a policy need, and no more."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from connix_provider.client.endpoints import MAX_LOGS_PER_PAGE, get_agent, get_logs, get_metrics
from connix_provider.client.errors import ConnixNotFoundError
from connix_provider.client.models import LogEntry
from connix_provider.client.pagination import LogPaginator
from connix_provider.health import HealthPolicy, HealthReport, evaluate

if TYPE_CHECKING:
    from connix_provider.client import Agent, AsyncClient, Client
    from connix_provider.client.calls.steps import Flow

__all__ = ["is_error", "measure"]

#: Entries in a page of the log at least.
_PAGE = 100
#: Pages with other entries than errors of the window. More of them mean that the service does not filter.
_OTHER_PAGES = 10
#: Levels below error. An entry of an unknown level counts, because the service was asked for errors.
_BELOW = frozenset({"debug", "info", "warn", "warning"})


def measure(
    client: Client | AsyncClient,
    policy: HealthPolicy,
    project_id: str,
    agent_id: str,
    *,
    agent: Agent | None = None,
) -> Flow[HealthReport]:
    """
    Measure an agent's health once; for ``client.run_flow()``.

    The agent costs one Get, unless it is given. A metrics request and a logs request are sent only if a check
    needs them.

    :param client: whose flow it is; its bounds hold for each request
    :param agent: the agent, if it was just read
    :return: the steps; their result is the report
    :raises ConnixError: if a request fails
    """
    is_incomplete = agent is not None and agent.is_listed and agent.last_activity is None
    if agent is None or (is_incomplete and policy.max_silence is not None):
        # A listing may leave out the last activity.
        agent = yield from client.flow(get_agent(project_id, agent_id))
    now = client.server_now()
    # Without an end, because this clock may be a second behind the service's.
    start = datetime.fromtimestamp(now - _seconds(policy), UTC)
    metrics = errors = None
    if policy.needs_metrics:
        call = get_metrics(project_id, agent_id, start_time=start)
        metrics = yield from _none_if_missing(client.flow(call))
    if policy.max_error_logs is not None:
        counting = _count_errors(client, project_id, agent_id, start, policy.max_error_logs)
        errors = yield from _none_if_missing(counting)
    return evaluate(policy, agent, metrics, errors, now=now, project_id=project_id)


def _none_if_missing(flow: Flow[Any]) -> Flow[Any]:
    """Take a 404 for missing data, because only a Get shows whether the agent is gone."""
    try:
        return (yield from flow)
    except ConnixNotFoundError:
        return None


def _seconds(policy: HealthPolicy) -> float:
    window = policy.window
    return float(window) if isinstance(window, int | float) else window.total_seconds()


def _count_errors(
    client: Client | AsyncClient, project_id: str, agent_id: str, start: datetime, most: int
) -> Flow[int | None]:
    """Count the error log lines of a window; stop once they are more than ``most``."""
    page_of = partial(
        get_logs,
        project_id,
        agent_id,
        level="error",
        start_time=start,
        limit=min(max(most + 1, _PAGE), MAX_LOGS_PER_PAGE),
    )
    pages: LogPaginator[LogEntry] = LogPaginator(page_of)
    count = others = 0
    while pages.next_call is not None and count <= most:
        entries = pages.take((yield from client.flow(pages.next_call)))
        found = sum(is_error(entry) and not _is_before(entry, start) for entry in entries)
        count += found
        others += found == 0
        if others > _OTHER_PAGES:
            return None
    return count


def is_error(entry: LogEntry) -> bool:
    """
    Check the level of a log entry, because the service may not filter by it.

    The reference's example shows an ``info`` among errors.

    :param entry: an entry of a page that was requested with ``level="error"``
    :return: false for the levels below error; an unknown level counts
    """
    return entry.level.strip().lower() not in _BELOW


def _is_before(entry: LogEntry, start: datetime) -> bool:
    # The service may not filter by time either.
    return entry.timestamp is not None and entry.timestamp < start
