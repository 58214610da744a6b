"""Drive a wait in a trigger, together with all other waits of its event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from connix_provider.client.errors import ConnixAuthenticationError, ConnixError
from connix_provider.polling.agent_log import stream_log
from connix_provider.polling.health_poller import HealthPoller
from connix_provider.polling.last_errors import add_last_errors
from connix_provider.polling.poll_result import PollResult
from connix_provider.polling.watching.shared_client import SharedClient, shared_client
from connix_provider.polling.watching.subscription import PollDelayed, Subscription

if TYPE_CHECKING:
    from connix_provider.client import Agent
    from connix_provider.polling.status_poller import StatusPoller

__all__ = ["poll_until_done_async"]


async def poll_until_done_async(
    connix_conn_id: str, poller: StatusPoller, *, first_poll_at: float = 0.0
) -> PollResult:
    """
    Wait in a trigger, without blocking its event loop, and together with all other waits there.

    :param poller: what to wait for
    :param first_poll_at: epoch seconds before which there is nothing new to see
    :return: how it ended
    :raises ValueError: for a connection whose settings cannot be right
    """
    due = poller.schedule.clock.to_monotonic(first_poll_at)
    async with AsyncExitStack() as stack:
        joined: tuple[SharedClient, Subscription] | None = None
        while (poll_result := poller.check_deadline()) is None:
            try:
                joined = joined or await _join(stack, connix_conn_id, poller)
                polled = await _poll(*joined, poller, due)
            except AirflowNotFoundException as error:
                polled = error
            poll_result = poller.no_response() if polled is None else poller.observe(polled)
            if joined is not None and polled is not None:
                await joined[0].client.run_flow(stream_log(joined[0].client, poller, poll_result))
            if poll_result is not None:
                break
            # The next poll may be a minute away, and an agent takes three KiB.
            polled = None
            if joined is not None:
                await _add_last_errors(joined[0], poller, None)
            pause = poller.schedule.sleep_seconds()
            due = time.monotonic() + pause
            if joined is None or pause >= poller.schedule.left():
                # No poll is left before the deadline, or there is no place to wait for one.
                await asyncio.sleep(pause)
        if joined is None:
            return dataclasses.replace(poll_result, last_errors=())
        return await _add_last_errors(joined[0], poller, poll_result) or poll_result


async def _add_last_errors(
    shared: SharedClient, poller: StatusPoller, poll_result: PollResult | None
) -> PollResult | None:
    # Many waits may fail at the same time, so none sends a request for its agent alone.
    return await shared.client.run_flow(
        add_last_errors(shared.client, poller, poll_result, may_read_agent=False)
    )


async def _join(
    stack: AsyncExitStack, connix_conn_id: str, poller: StatusPoller
) -> tuple[SharedClient, Subscription]:
    """Open the client that all waits share, or join those that did, and take a place among them."""
    shared = await stack.enter_async_context(shared_client(connix_conn_id))
    poller.located(link=shared.agent_url(poller.agent.project_id, poller.agent_id))
    deadline = poller.schedule.clock.to_monotonic(poller.schedule.deadline)
    subscription = shared.subscription(
        str(poller.agent.project_id), poller.agent_id, poller.schedule.poll_interval, deadline
    )
    return shared, await stack.enter_async_context(subscription)


async def _poll(
    shared: SharedClient, subscription: Subscription, poller: StatusPoller, due: float
) -> Agent | Exception | None:
    """Wait for the next poll, and for one more for each key that the connection got meanwhile."""
    last = subscription.deadline - subscription.lead()
    if last < due:
        due = max(last, min(due, time.monotonic() + poller.schedule.poll_interval / 2))
    while True:
        polled = await subscription.poll(due)
        if isinstance(poller, HealthPoller) and not isinstance(polled, Exception | PollDelayed | None):
            async with poller.measurement_permit() as has_waited:
                # The agent may have changed meanwhile.
                polled = await subscription.poll(0.0) if has_waited else polled
                if not isinstance(polled, Exception | PollDelayed | None):
                    polled = await _measure(shared, poller, polled)
        if isinstance(polled, PollDelayed):
            poller.on_rate_limit(polled.error)
        elif isinstance(polled, ConnixAuthenticationError) and await shared.reload_key(subscription.version):
            poller.log.new_key(poller.agent)
            due = 0.0
        else:
            return polled


async def _measure(shared: SharedClient, poller: HealthPoller, agent: Agent) -> Agent | ConnixError:
    """Send what a wait needs besides the agent, which the watcher has read."""
    # The agent's response may come after the deadline.
    seconds = max(poller.schedule.begin_poll(), poller.response_grace)
    client = shared.client.with_options(
        max_attempts=1,
        total_timeout=seconds,
        deadline=time.time() + seconds + 1.0,
        background=True,
    )
    try:
        return await client.run_flow(poller.measure(client, agent))
    except ConnixError as error:
        return error
