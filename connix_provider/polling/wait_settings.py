"""The settings of a wait, and its progress, which one process passes to the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from connix_provider.poll_state import PollState
from connix_provider.polling.deadlines import RESPONSE_GRACE

__all__ = ["WaitProgress", "WaitSettings"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WaitSettings:
    """
    The settings of a wait, the same for each of its agents.

    :param poll_interval: seconds between two polls of an agent
    :param deadline: epoch seconds at which the wait times out
    :param began_at: epoch seconds at which the task began; default now
    :param is_resumed: whether another process sent the polls before
    :param exponential_backoff: whether the interval doubles from poll to poll
    :param max_wait: upper bound of the interval in seconds; default none
    :param silent_fail: whether only success and the deadline end the wait, as with Airflow's sensors
    :param connix_conn_id: the Airflow connection, for messages
    :param had_response: whether an earlier response showed that the connection is right
    :param response_grace: seconds after the deadline during which the last response is awaited
    :param log: the logger for changes, each of which is logged once
    """

    poll_interval: float
    deadline: float
    began_at: float | None = None
    is_resumed: bool = False
    exponential_backoff: bool = False
    max_wait: float | None = None
    silent_fail: bool = False
    project_id: str | None = None
    connix_conn_id: str | None = None
    had_response: bool = False
    response_grace: float = RESPONSE_GRACE
    log: Any = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WaitProgress:
    """
    What polls have shown of an agent so far.

    :param agent_name: the agent's name, if known
    :param state: the state of earlier polls; it is updated
    :param last_seen_at: epoch seconds of the last poll in the state, if another process sent it
    :param errors: the failed polls of another process, as
        :meth:`~connix_provider.polling.poll_errors.PollErrors.to_json` makes it
    :param log_position: brings the lines of the agent's log after this position into the task's log; empty
        for those since the task began, ``None`` for none
    :param secrets_digest: a digest of the agent's secrets that another process knew, and that must be hidden
    :param last_report: the last health report of another process, in words
    """

    agent_name: str | None = None
    state: PollState = dataclasses.field(default_factory=PollState)
    last_seen_at: float | None = None
    errors: Mapping[str, Any] | None = None
    log_position: Mapping[str, Any] | None = None
    secrets_digest: str | None = None
    last_report: str | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> WaitProgress:
        """Read the part of a poller's :meth:`trigger_arguments` that is about the agent."""
        return cls(
            agent_name=stored.get("agent_name"),
            state=PollState.from_json(stored.get("poll_state") or {}),
            last_seen_at=stored.get("last_seen_at"),
            errors=stored.get("poll_errors"),
            log_position=stored.get("log_position"),
            secrets_digest=stored.get("secrets_digest"),
            last_report=stored.get("last_report"),
        )
