"""Drive a wait: the few lines that look and sleep, on a worker and in a trigger."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from connix_provider.waiting.wait import Look, Wait

if TYPE_CHECKING:
    from connix_provider.client import Agent, AsyncClient, Client, ConnixError
    from connix_provider.waiting.ending import Ending

__all__ = ["look", "wait_async", "wait_sync"]


def look(client: Client, project_id: str, wait: Wait) -> Ending | None:
    """
    Take one look and judge it.

    :param client: the client
    :param project_id: the agent's project
    :param wait: the wait that the look is for
    :return: the ending, or ``None`` while the wait goes on
    """
    if (ending := wait.overdue()) is not None:
        return ending
    return wait.observe(_get(client, project_id, wait.agent_id, wait.look_timeout()))


def wait_sync(client: Client, project_id: str, wait: Wait) -> Ending:
    """
    Wait on a worker.

    :param client: the client
    :param project_id: the agent's project
    :param wait: what to wait for
    :return: how it ended
    """
    steps = wait.steps()
    seen: Agent | ConnixError | None = None
    while True:
        try:
            step = steps.send(seen)
        except StopIteration as end:
            ending: Ending = end.value
            return ending
        seen = None
        if isinstance(step, Look):
            seen = _get(client, project_id, wait.agent_id, step.timeout)
        else:
            time.sleep(step.seconds)


async def wait_async(client: AsyncClient, project_id: str, wait: Wait) -> Ending:
    """
    Wait in a trigger, without blocking its event loop.

    :param client: the client
    :param project_id: the agent's project
    :param wait: what to wait for
    :return: how it ended
    """
    from connix_provider.client import ConnixError

    steps = wait.steps()
    seen: Agent | ConnixError | None = None
    while True:
        try:
            step = steps.send(seen)
        except StopIteration as end:
            ending: Ending = end.value
            return ending
        seen = None
        if isinstance(step, Look):
            one_look = client.with_options(max_attempts=1, total_timeout=step.timeout)
            try:
                seen = await one_look.agents.get(project_id, wait.agent_id)
            except ConnixError as error:
                seen = error
        else:
            await asyncio.sleep(step.seconds)


def _get(client: Client, project_id: str, agent_id: str, timeout: float) -> Agent | ConnixError:
    from connix_provider.client import ConnixError

    # One attempt: the wait itself is what repeats, at its own pace.
    one_look = client.with_options(max_attempts=1, total_timeout=timeout)
    try:
        return one_look.agents.get(project_id, agent_id)
    except ConnixError as error:
        return error
