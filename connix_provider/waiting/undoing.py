"""
Take an action back, without doing any I/O.

An agent that was started shows its old status until the start takes hold, and until then Connix refuses to
stop it: the moment at which tasks are killed most. So a refusal is no reason to give up while the agent is
still as it was. The steps are those of a client's flow, so both kinds of client can take them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from connix_provider.client.calls import delete_agent, get_agent, stop_agent
from connix_provider.client.errors import ConnixConflictError, ConnixError
from connix_provider.client.steps import Flow, Pause
from connix_provider.lifecycle import TRANSIENT, AgentStatus, Snapshot

if TYPE_CHECKING:
    from connix_provider.client import AsyncClient, Client

__all__ = ["UNDO_TIMEOUT", "undoing"]

#: Seconds that taking an action back may take: Airflow kills a task that takes long to die.
UNDO_TIMEOUT = 20.0
#: Seconds between two looks at an agent that cannot be stopped yet.
_PAUSE = 1.0


def undoing(
    client: Client | AsyncClient, undo: str, project_id: str, agent_id: str, before: Snapshot | None
) -> Flow[None]:
    """
    Take an action back as soon as Connix lets it be taken back.

    :param client: whose flow it is
    :param undo: the call that does it: ``delete`` or ``stop``
    :param project_id: the agent's project
    :param agent_id: the agent
    :param before: the agent before it was started, where that is known
    :return: the steps
    :raises ConnixError: where it is not taken back
    """
    ends = time.time() + UNDO_TIMEOUT
    if undo == "delete":
        yield from client.flow(delete_agent(project_id, agent_id))
        return
    while True:
        try:
            yield from client.flow(stop_agent(project_id, agent_id))
        except ConnixConflictError as error:
            refusal = error
        else:
            return
        while True:
            try:
                seen = yield from client.flow(get_agent(project_id, agent_id))
            except ConnixError:
                raise refusal from None
            is_as_before = before is not None and seen.snapshot() == before
            if not is_as_before and seen.status not in TRANSIENT:
                break
            if time.time() + _PAUSE > ends:
                raise refusal
            yield Pause(_PAUSE)
        if seen.status != AgentStatus.RUNNING:
            # Stopped already, or ended in error: nothing runs that could be stopped.
            raise refusal
