"""Which exception a task raises for each outcome of a wait."""

from __future__ import annotations

from connix_provider.exceptions import (
    ConnixAgentError,
    ConnixAgentFailedError,
    ConnixAgentGoneError,
    ConnixAgentTimeoutError,
    ConnixAgentUnhealthyError,
)
from connix_provider.polling.poll_result import Outcome, PollResult

__all__ = ["exception_for"]

_KINDS: dict[Outcome, type[ConnixAgentError]] = {
    Outcome.FAILED: ConnixAgentFailedError,
    Outcome.TIMEOUT: ConnixAgentTimeoutError,
    Outcome.GONE: ConnixAgentGoneError,
    Outcome.UNHEALTHY: ConnixAgentUnhealthyError,
}


def exception_for(
    poll_result: PollResult, *, timeout: type[ConnixAgentError] = ConnixAgentTimeoutError
) -> Exception:
    """
    Return the exception for a wait that ended without success.

    :param timeout: the class to use if the deadline passed
    """
    kind = timeout if poll_result.outcome is Outcome.TIMEOUT else _KINDS.get(poll_result.outcome)
    if kind is None:
        return poll_result.rebuild_error()
    return kind(
        poll_result.message,
        agent_id=poll_result.agent_id,
        agent_name=poll_result.agent_name,
        project_id=poll_result.project_id,
        status=poll_result.status,
        request_id=poll_result.request_id,
        last_errors=poll_result.last_errors or (),
    )
