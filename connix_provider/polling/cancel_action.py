"""
Undo the action of a killed task, without doing any I/O.

Connix accepts a stop or a delete before it is carried out, so the agent is polled until it is down or gone.
An agent that was started shows its old status until the start takes effect, so it cannot be stopped earlier.
Most kills come before that. The steps are those of a client's flow, for both kinds of client.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from connix_provider.client.calls.steps import Flow, Sleep
from connix_provider.client.endpoints import delete_agent, get_agent, stop_agent
from connix_provider.client.errors import (
    ConnixAuthenticationError,
    ConnixError,
    ConnixNotFoundError,
    ConnixPermissionError,
    ConnixTimeoutError,
)
from connix_provider.lifecycle import has_changed
from connix_provider.poll_state import Snapshot
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.statuses import SETTLED, AgentStatus

if TYPE_CHECKING:
    from connix_provider.client import AsyncClient, Client
    from connix_provider.client.calls.call import Call

__all__ = ["CANCEL_TIMEOUT", "KILL_GRACE", "cancel_action"]

#: Seconds that an undo may take: Airflow allows a trigger 30 s for it, and a task of Airflow 2 a minute.
CANCEL_TIMEOUT = 20.0
#: Seconds that an undo may take in a task of Airflow 3, which sends SIGKILL five seconds after SIGTERM.
KILL_GRACE = 4.0
#: Seconds between two polls. The delay before a repeated request doubles, because actions are limited.
_POLL_INTERVAL = 1.0
#: What the agent has become when the undo is done.
_DONE = {"delete": "deleted", "stop": "stopped"}
#: What is requested, and the statuses in which a request without effect is worth repeating.
_UNDOINGS: dict[str, tuple[Callable[[str, str], Call[Any]], frozenset[AgentStatus]]] = {
    "delete": (delete_agent, SETTLED),
    "stop": (stop_agent, frozenset({AgentStatus.RUNNING})),
}


def cancel_action(
    client: Client | AsyncClient,
    undo: str,
    project_id: str,
    agent_id: str,
    before: Snapshot | None,
    *,
    deadline: float,
    log: Any,
    agent_name: str | None = None,
    why: str = "The task was killed and marked as failed",
) -> Flow[ConnixError | None]:
    """
    Undo the action of a task, and log the outcome; a failure is logged and returned, never raised.

    :param undo: the call that undoes: ``delete`` or ``stop``
    :param before: the agent before it was started, if known
    :param deadline: epoch seconds after which no request is sent
    :param agent_name: the agent's name, if known
    :param why: the reason, for the log
    :return: the error, if the undo could not be confirmed
    """
    agent = AgentRef(agent_id, agent_name)
    log.info("%s: requesting the %s of agent %s.", why, undo, agent)
    try:
        became = yield from _until_undone(client, undo, project_id, agent_id, before, deadline)
    except ConnixError as error:
        done = _DONE[undo]
        log.warning("Could not confirm that agent %s was %s; check it at Connix: %s", agent, done, error)
        return error
    log.info("Agent %s is %s.", agent, became)
    return None


def _until_undone(
    client: Client | AsyncClient,
    undo: str,
    project_id: str,
    agent_id: str,
    before: Snapshot | None,
    deadline: float,
) -> Flow[str]:
    """Request the undo, again where it had no effect; return what the agent became: gone, or its status."""
    call, ready = _UNDOINGS[undo]
    sends_request, had_no_effect, has_moved = True, False, False
    request_error: ConnixError | None = None
    repeat_delay = _POLL_INTERVAL
    began = time.time()
    client = client.with_options(deadline=deadline)
    while True:
        try:
            if sends_request:
                request_error = yield from _request(client, call(project_id, agent_id))
                had_no_effect = request_error is not None
            polled = (yield from client.flow(get_agent(project_id, agent_id))).snapshot()
        except ConnixNotFoundError as error:
            if error.is_of_an_agent:
                return "gone"
            raise
        has_moved = has_moved or before is None or has_changed(before, polled)
        is_down = undo == "stop" and polled.status in SETTLED - ready
        if is_down and has_moved:
            return str(polled.status)
        # A stop accepted before the start takes effect has no effect, because the agent is not running yet.
        had_no_effect = had_no_effect or is_down
        sends_request = had_no_effect and polled.status in ready
        delay = repeat_delay if sends_request else _POLL_INTERVAL
        if time.time() + delay >= deadline:
            break
        yield Sleep(delay)
        if sends_request:
            repeat_delay *= 2
    if is_down and request_error is None:
        return str(polled.status)
    waited = time.time() - began
    raise request_error or ConnixTimeoutError(f"{waited:.0f} s after the {undo} it was still {polled.status}")


def _request(client: Client | AsyncClient, call: Call[Any]) -> Flow[ConnixError | None]:
    """Send the undo; return an error that the next poll may disprove."""
    try:
        yield from client.flow(call)
    except (ConnixAuthenticationError, ConnixPermissionError, ConnixNotFoundError):
        raise
    except ConnixError as error:
        return error
    return None
