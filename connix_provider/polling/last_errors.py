"""
Read the newest error lines of a failed agent's log.

A failure to read them never changes the outcome of the task, and delays it by at most :data:`SECONDS`.

The driver of a wait reads them where the wait ends. There the agent was polled just now, so its secrets are
known, and one request is enough. For a timeout it is sent after the last poll, right before the deadline. A
trigger that polled the agent in a listing does not know its secrets. There the worker that resumes the task
reads the agent and its log, because triggers share their reads and send no request for one agent alone.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from connix_provider.client.endpoints import get_agent, get_logs
from connix_provider.client.redaction.quoting import printable
from connix_provider.polling.measurement import is_error
from connix_provider.polling.poll_result import Outcome, PollResult

if TYPE_CHECKING:
    from connix_provider.client import Agent, AsyncClient, Client, LogEntry
    from connix_provider.client.calls.steps import Flow
    from connix_provider.polling.status_poller import StatusPoller

__all__ = ["FAILURES", "MAX_LINES", "MAX_READ_SECONDS", "add_last_errors", "read_last_errors"]

log = logging.getLogger(__name__)

#: Seconds that it may take.
MAX_READ_SECONDS = 5.0
#: Seconds below which no response would come in time.
_WORTH_A_REQUEST = 0.05
#: Lines that are quoted.
MAX_LINES = 10
#: Entries in the page that is read. More than the lines, because the service may not filter by level.
_PAGE = 100
#: Characters of a message that are quoted, and that are searched for secrets before.
_LONGEST, _SEARCHED = 300, 2000
#: Characters of a level that are quoted.
_LONGEST_LEVEL = 20
#: How a wait ends that failed for the agent.
FAILURES = frozenset({Outcome.FAILED, Outcome.TIMEOUT, Outcome.UNHEALTHY})


def add_last_errors(
    client: Client | AsyncClient,
    poller: StatusPoller,
    poll_result: PollResult | None,
    *,
    may_read_agent: bool,
) -> Flow[PollResult | None]:
    """
    Add the agent's last errors to a failure of one agent; for ``client.run_flow()``.

    Nothing is sent for an agent that is gone or that this process never saw, for a refused request, and after
    a poll that failed. After the deadline no more time is spent than the last poll may take.

    :param poll_result: how it ended; ``None`` while it continues. After the last poll it can only time out,
        so the lines are read before the deadline
    :param may_read_agent: whether to read the agent if the last poll did not show its secrets; otherwise the
        lines are left to another process
    :return: the steps; their result is ``poll_result``, with the lines of a failure
    """
    if poll_result is None and not poller.schedule.is_last_poll:
        return None
    if poll_result is not None and poll_result.outcome not in FAILURES:
        return poll_result
    # A failed last poll means that the service is down, so the log could not be read either.
    was_seen = poller.last_agent is not None or poller.was_listed
    is_readable = poller.is_about_one_agent and was_seen and poller.log.last_error is None
    if poller.last_errors is None and not is_readable:
        poller.last_errors = ()
    if poller.last_errors is None and (poller.last_agent is not None or may_read_agent):
        poller.last_errors = yield from read_last_errors(
            client,
            str(poller.agent.project_id),
            poller.agent_id,
            agent=poller.last_agent,
            seconds=poller.schedule.left() + poller.response_grace,
            secrets_digest=poller.earlier_secrets,
            # The lines of a stream are in the task's log already.
            task_log=None if poller.stream else poller.log.log,
        )
    return poll_result and dataclasses.replace(poll_result, last_errors=poller.last_errors)


def read_last_errors(
    client: Client | AsyncClient,
    project_id: str,
    agent_id: str,
    *,
    agent: Agent | None = None,
    seconds: float = MAX_READ_SECONDS,
    secrets_digest: str | None = None,
    task_log: Any,
) -> Flow[tuple[str, ...]]:
    """
    Read the last errors in an agent's log, and log them; for ``client.run_flow()``.

    :param client: whose flow it is; its deadline does not count
    :param agent: the agent as Get showed it, if it was just read; otherwise it is read, because its secrets
        must not be quoted
    :param seconds: the time that is left; at most :data:`SECONDS` are spent
    :param secrets_digest: a digest of the agent's secrets that another process knew, if any
    :param task_log: the task's log; ``None`` not to log them
    :return: the steps; their result is at most :data:`MAX_LINES` lines, oldest first, none after an error
    """
    seconds = min(MAX_READ_SECONDS, seconds)
    if seconds < _WORTH_A_REQUEST:
        return ()
    bounded = client.with_options(
        max_attempts=1, total_timeout=seconds, deadline=time.time() + seconds, max_permit_wait=seconds
    )
    try:
        if agent is None:
            yield from bounded.flow(get_agent(project_id, agent_id))
        if not client.can_hide_secrets(agent_id, secrets_digest):
            return ()
        page = yield from bounded.flow(get_logs(project_id, agent_id, level="error", limit=_PAGE))
        secrets = client.secrets_of_agent(agent_id)
        entries = _newest(filter(is_error, page.logs))
        # All at once, because the search for the secrets is prepared for each call.
        texts = client.redact(
            [[entry.level.strip()[:_LONGEST_LEVEL], entry.message[:_SEARCHED]] for entry in entries], secrets
        )
        lines = tuple(_quote(entry, *text) for entry, text in zip(entries, texts, strict=True))
    except Exception as error:
        # It must not hide the failure, whatever it is.
        log.debug("The last errors of agent %s could not be read: %s", agent_id, error)
        return ()
    for line in lines if task_log else ():
        task_log.error("In the log of agent %s: %s", agent_id, line)
    return lines


def _newest(entries: Iterable[LogEntry]) -> list[LogEntry]:
    """Return the newest entries, oldest first; without times the service's order counts, newest first."""
    found = list(entries)
    if all(entry.timestamp for entry in found):
        found.sort(key=lambda entry: entry.timestamp, reverse=True)  # type: ignore[arg-type, return-value]
    return found[:MAX_LINES][::-1]


def _quote(entry: LogEntry, level: str, message: str) -> str:
    # Control characters would be obeyed by a terminal, so they are escaped.
    text = printable(message)
    quoted = text[:_LONGEST] + ("…" if len(text) > _LONGEST or len(entry.message) > _SEARCHED else "")
    at = f"{entry.timestamp:%Y-%m-%d %H:%M:%S} UTC " if entry.timestamp else ""
    return f"{at}{printable(level) or 'error'}: {quoted}"
