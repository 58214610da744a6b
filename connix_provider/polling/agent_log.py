"""Read the agent's log after a poll, where the wait brings it into the task's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connix_provider.polling.poll_result import Outcome, PollResult

if TYPE_CHECKING:
    from connix_provider.client import AsyncClient, Client
    from connix_provider.client.calls.steps import Flow
    from connix_provider.polling.status_poller import StatusPoller

__all__ = ["stream_log"]

#: Seconds that are left for the next poll by a read of the agent's log.
_SPARE = 0.2


def stream_log(
    client: Client | AsyncClient, poller: StatusPoller, poll_result: PollResult | None
) -> Flow[None]:
    """Log the new lines of the agent's log after a poll that showed the agent."""
    is_there = poll_result is None or poll_result.outcome not in {Outcome.GONE, Outcome.REFUSED}
    has_seen = poller.last_agent is not None or poller.was_listed
    if poller.stream is not None and is_there and has_seen and poller.log.last_error is None:
        is_over = poll_result is not None or poller.schedule.is_last_poll
        # A slow log delays the next poll by less than a poll interval, and never the last one.
        schedule = poller.schedule
        seconds = schedule.left() + poller.response_grace if is_over else schedule.sleep_seconds() - _SPARE
        last = poller.state.last
        yield from poller.stream.read(
            client,
            poller.agent,
            poller.last_agent,
            changed_at=last.updated_at if last else None,
            secrets_digest=poller.earlier_secrets,
            seconds=seconds,
        )
