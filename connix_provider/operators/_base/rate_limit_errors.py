"""The error of a task that waited for a rate limit until its deadline, the same in both modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connix_provider.client.attempts.limit_log import limit_name
from connix_provider.client.errors import ConnixRateLimitError
from connix_provider.hooks.diagnosis import remedy
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.poll_result import PollResult
from connix_provider.values import quoted

__all__ = ["add_advice", "restore_error", "store_error"]


def add_advice(
    error: ConnixRateLimitError, *, waited: float, allowed: float, connix_conn_id: str | None
) -> None:
    """
    Add how long the task waited for the rate limit, and what to change.

    :param waited: seconds
    :param allowed: seconds from the start of the task to its deadline
    """
    error.advice = (
        f"The {limit_name(error.bucket)} delayed the task by {waited:.0f} s, and the time allowed is "
        f"{allowed:.4g} s. {remedy(error, connix_conn_id)}"
    )


def store_error(error: ConnixRateLimitError) -> dict[str, Any]:
    """
    Serialize an error for the process that resumes the task.

    :return: plain JSON without secrets
    """
    agent = AgentRef(error.agent_id, error.agent_name)
    names = {"agent_id": error.agent_id, "agent_name": error.agent_name, "bucket": error.bucket}
    return {**names, "event": PollResult.refused(agent, None, error).to_event()}


def restore_error(stored: Mapping[str, Any]) -> ConnixRateLimitError:
    """
    Deserialize what :func:`store_error` made.

    :raises ValueError: for anything else
    """
    error = PollResult.from_event(stored.get("event")).rebuild_error()
    if not isinstance(error, ConnixRateLimitError):
        raise ValueError(f"the task was resumed with {quoted(stored)}, not with the error of its rate limit")
    error.agent_id, error.agent_name = stored["agent_id"], stored["agent_name"]
    error.bucket = stored["bucket"]
    return error
