"""
Drive the wait of a group of agents for health, on a worker and in a trigger.

What the polls mean for the group is decided in :mod:`connix_provider.polling.health_group`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from connix_provider.polling.health_group import HealthGroup
from connix_provider.polling.health_poller import HealthPoller
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.polling.selection import select_agents
from connix_provider.polling.trigger_loop import poll_until_done_async
from connix_provider.polling.worker_loop import poll_once, send_with_new_keys

if TYPE_CHECKING:
    from connix_provider.client import Agent
    from connix_provider.polling.worker_loop import Locate, PollingSession
    from connix_provider.selector import AgentSelector

__all__ = ["poll_group", "poll_group_until_done_async", "select_with"]

#: Results that rest on the number of healthy agents.
_DECIDED = frozenset({Outcome.DONE, Outcome.GONE, Outcome.UNHEALTHY})


def poll_group(
    polling_session: PollingSession,
    project_id: str | None,
    group: HealthGroup,
    *,
    locate: Locate | None = None,
) -> PollResult | None:
    """
    Poll each agent once from a worker.

    :param locate: finds the agent, if the wait does not know it yet
    :return: the result, or ``None`` while the wait continues
    """
    for poller in group.by_age():
        if (poll_result := poll_once(polling_session, project_id, poller, locate=locate)) is not None:
            break
    else:
        return None
    if poll_result.outcome not in _DECIDED:
        return poll_result
    group.begin_count()
    for poller in group.pollers:
        if not poller.polled.is_set() and not poller.schedule.is_over:
            poll_once(polling_session, project_id, poller, locate=locate)
    return group.end_count(poll_result)


async def poll_group_until_done_async(
    connix_conn_id: str, group: HealthGroup, *, first_poll_at: float = 0.0
) -> PollResult:
    """
    Wait in a trigger, without blocking its event loop. All agents are polled at the same time.

    :param first_poll_at: epoch seconds of the first polls
    :raises ValueError: for a connection whose settings cannot be right
    """
    waits = [
        asyncio.ensure_future(poll_until_done_async(connix_conn_id, poller, first_poll_at=first_poll_at))
        for poller in group.pollers
    ]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        # A success may end in the same turn of the loop as the deadline of another agent.
        result = min((wait.result() for wait in done), key=lambda result: result.outcome is not Outcome.DONE)
        if result.outcome not in _DECIDED:
            return result
        group.begin_count()
        polls = zip(group.pollers, waits, strict=True)
        await asyncio.gather(*(_until_polled(poller, wait) for poller, wait in polls))
        return group.end_count(result)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _until_polled(poller: HealthPoller, wait: asyncio.Future[PollResult]) -> None:
    """Wait for the first poll of an agent, or for the end of its wait."""
    if poller.polled.is_set() or wait.done():
        return
    first_poll = asyncio.ensure_future(poller.polled.wait())
    try:
        either: set[asyncio.Future[Any]] = {first_poll, wait}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        first_poll.cancel()


def select_with(
    polling_session: PollingSession, selector: AgentSelector, project_id: str, poller: HealthPoller
) -> list[Agent] | PollResult:
    """
    Select agents on a worker; a transient error is repeated like a failed poll.

    :param poller: the wait, for its deadline and errors
    :return: the agents, or how the wait ended
    :raises ValueError: if nothing is selected
    """

    def send() -> list[Agent]:
        client = polling_session.client
        return client.run_flow(select_agents(client, selector, project_id))

    while True:
        if (poll_result := poller.check_deadline()) is not None:
            return poll_result
        selected = send_with_new_keys(polling_session, poller, send)
        if isinstance(selected, list):
            return selected
        if (poll_result := poller.observe(selected)) is not None:
            return poll_result
        time.sleep(poller.schedule.sleep_seconds())
