"""
Take an action back, without doing any I/O.

Connix takes a stop or a delete before it is done, and the task's next try may begin at once: so the agent is
looked at until it is down or gone. An agent that was started shows its old status until the start takes hold,
and until then there is nothing to stop: the moment at which tasks are killed most. The steps are those of a
client's flow, so both kinds of client can take them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from connix_provider.client.calls import delete_agent, get_agent, stop_agent
from connix_provider.client.errors import (
    ConnixConflictError,
    ConnixError,
    ConnixNotFoundError,
    ConnixTimeoutError,
)
from connix_provider.client.steps import Flow, Pause
from connix_provider.lifecycle import SETTLED, AgentStatus, Snapshot, has_changed

if TYPE_CHECKING:
    from connix_provider.client import AsyncClient, Client
    from connix_provider.client.call import Call

__all__ = ["UNDO_TIMEOUT", "undoing"]

#: Seconds that taking an action back may take: Airflow kills a task that takes long to die.
UNDO_TIMEOUT = 20.0
#: Seconds between two looks, and twice as many each time before a request is repeated: actions are scarce.
_PAUSE = 1.0
#: What is asked for, and the statuses in which it is worth asking again after it was in vain.
_UNDOINGS: dict[str, tuple[Callable[[str, str], Call[Any]], frozenset[AgentStatus]]] = {
    "delete": (delete_agent, SETTLED),
    "stop": (stop_agent, frozenset({AgentStatus.RUNNING})),
}


def undoing(
    client: Client | AsyncClient,
    undo: str,
    project_id: str,
    agent_id: str,
    before: Snapshot | None,
    *,
    log: Any,
) -> Flow[None]:
    """
    Take the action of a killed task back, and tell what came of it; what goes wrong is told, too.

    :param client: whose flow it is
    :param undo: the call that does it: ``delete`` or ``stop``
    :param project_id: the agent's project
    :param agent_id: the agent
    :param before: the agent before it was started, where that is known
    :param log: the task's
    :return: the steps
    """
    log.info("The task is killed: Connix is asked to %s agent %s.", undo, agent_id)
    try:
        became = yield from _until_undone(client, undo, project_id, agent_id, before)
    except ConnixError as error:
        log.warning("Nobody saw what the agent was asked for come true: %s", error)
    else:
        log.info("Agent %s is %s.", agent_id, became)


def _until_undone(
    client: Client | AsyncClient, undo: str, project_id: str, agent_id: str, before: Snapshot | None
) -> Flow[str]:
    """Ask as soon as Connix lets it be asked, and see what the agent is in the end: gone, or its status."""
    call, ready = _UNDOINGS[undo]
    pause, asks, in_vain, has_moved = _PAUSE, True, False, False
    ends = time.time() + UNDO_TIMEOUT
    client = client.with_options(deadline=ends)
    while True:
        try:
            if asks:
                refusal = None
                try:
                    yield from client.flow(call(project_id, agent_id))
                except ConnixConflictError as error:
                    refusal = error
                in_vain = refusal is not None
            seen = (yield from client.flow(get_agent(project_id, agent_id))).snapshot()
        except ConnixNotFoundError as error:
            if error.is_of_an_agent:
                return "gone"
            raise
        has_moved = has_moved or before is None or has_changed(before, seen)
        is_down = undo == "stop" and seen.status in SETTLED - ready
        if is_down and has_moved:
            return str(seen.status)
        # A stop that is taken before the start shows is taken of an agent that does not run.
        in_vain = in_vain or is_down
        asks = in_vain and seen.status in ready
        rest = pause if asks else _PAUSE
        if time.time() + rest >= ends:
            break
        yield Pause(rest)
        pause = 2 * pause if asks else pause
    if is_down and refusal is None:
        return str(seen.status)
    raise refusal or ConnixTimeoutError(f"{UNDO_TIMEOUT:.0f} s after the {undo} it was still {seen.status}")
