"""
Quote the last error line of a failed agent's log, so that a reader need not look for it.

It is a help, never a condition: whatever goes wrong with it leaves the failure as it was. At most
:data:`SECONDS` are spent, on a worker, and nothing is sent after the wait's deadline.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from connix_provider.client.redaction import secrets_of
from connix_provider.polling.poll_result import Outcome, PollResult

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client, LogEntry

__all__ = ["add_last_error"]

log = logging.getLogger(__name__)

#: Seconds that it may take.
SECONDS = 5.0
#: Characters of the line that are quoted.
_LONGEST = 300


def add_last_error(
    client: Client, poll_result: PollResult, *, seconds: float, agent: Agent | None = None
) -> PollResult:
    """
    Add the last error line to a result that is a failure of the agent.

    :param client: a client
    :param poll_result: how a wait ended
    :param seconds: the time that is left
    :param agent: the agent as Get showed it, where that is known
    :return: the result with the line, or as it was
    """
    seconds = min(SECONDS, seconds)
    if poll_result.outcome is not Outcome.FAILED or poll_result.project_id is None or seconds <= 0:
        return poll_result
    ends = time.time() + seconds
    bounded = client.with_options(
        max_attempts=1, total_timeout=seconds, deadline=ends, longest_pause=seconds / 2
    )
    try:
        # Its secrets are not to be quoted, and a listing leaves them out.
        known = agent or bounded.agents.get(poll_result.project_id, poll_result.agent_id)
        page = bounded.agents.logs(poll_result.project_id, poll_result.agent_id, level="error", limit=1)
        if not page.logs:
            return poll_result
        line = _quote(client, known, page.logs[0])
    except Exception as error:
        # It must not hide the failure, whatever it is.
        log.debug("The last error line of agent %s could not be read: %s", poll_result.agent_id, error)
        return poll_result
    return dataclasses.replace(poll_result, message=f"{poll_result.message} Its last error log line: {line}.")


def _quote(client: Client, agent: Agent, entry: LogEntry) -> str:
    secrets = secrets_of(agent.model_dump(mode="json"))
    text = str(client.redact(entry.message, secrets))
    # Control characters would be obeyed by a terminal, so they are escaped.
    quoted = repr(text[:_LONGEST] + ("…" if len(text) > _LONGEST else ""))
    return f"{quoted} at {entry.timestamp:%Y-%m-%d %H:%M:%S} UTC" if entry.timestamp else quoted
