"""
Wait until an agent's state allows what Connix refused for the moment.

A 409 may say "not now": an agent that is creating or updating takes no action. Whoever acts raises
:class:`OutOfTurnError`; the one place that acts for all operators then waits, by the rules of every other
wait, and acts anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from connix_provider.client.errors import ConnixConflictError
from connix_provider.lifecycle import TRANSIENT, Snapshot

if TYPE_CHECKING:
    from connix_provider.waiting.drive import Connected
    from connix_provider.waiting.wait import Wait

__all__ = ["OutOfTurnError", "await_turn", "in_turn"]

log = logging.getLogger(__name__)


class OutOfTurnError(Exception):
    """
    Carry a refusal to where its reason is waited for.

    :param agent_id: the agent
    :param action: what was refused
    :param error: the refusal
    :param before: the agent before it was asked for, where that is known
    """

    def __init__(
        self, agent_id: str, action: str, error: ConnixConflictError, before: Snapshot | None = None
    ) -> None:
        super().__init__(str(error))
        self.agent_id = agent_id
        self.action = action
        self.error = error
        self.before = before


@contextmanager
def in_turn(agent_id: str, action: str, before: Snapshot | None = None) -> Iterator[None]:
    """
    Take a conflict for a refusal that may pass; only for what is safe to send again after it.

    :param agent_id: the agent
    :param action: what is sent
    :param before: the agent before that, where it is known
    :raises OutOfTurnError: in place of a conflict
    """
    try:
        yield
    except ConnixConflictError as error:
        raise OutOfTurnError(agent_id, action, error, before) from error


def await_turn(
    connected: Connected, project_id: str, wait: Wait, refusal: OutOfTurnError, *, defers: bool
) -> bool:
    """
    Wait on a worker until what was refused is worth another try.

    :param connected: the connection
    :param project_id: the agent's project
    :param wait: a wait for the agent to settle
    :param refusal: the refusal
    :param defers: whether to give up after one look that leaves something to wait for
    :return: whether it is; ``False`` where the rest is for the triggerer
    :raises ConnixConflictError: the refusal, where the agent is as it was
    :raises Exception: what any wait can end in: the time is up, the agent is gone, the key is refused
    """
    from connix_provider.exceptions import exception_for
    from connix_provider.waiting import drive
    from connix_provider.waiting.deferral import LONGEST_PAUSE
    from connix_provider.waiting.ending import Outcome

    was_busy = False
    pause = LONGEST_PAUSE if defers else None
    while (ending := drive.look(connected, project_id, wait, longest_pause=pause)) is None:
        if wait.status in TRANSIENT and not was_busy:
            was_busy = True
            log.info(
                "Agent %s is %s; the %s waits for that: %s",
                refusal.agent_id,
                wait.status,
                refusal.action,
                refusal.error,
            )
        if wait.seen and not was_busy:
            # A status that nobody knows explains no refusal.
            break
        if defers:
            return False
        time.sleep(wait.rest())
    if ending and ending.outcome is not Outcome.DONE:
        raise exception_for(ending) from refusal.error
    if was_busy:
        return True
    if refusal.before is None or wait.seen == refusal.before:
        raise refusal.error
    if wait.status == refusal.before.status:
        # What moved may be a sign of life and nothing more: the same refusal would follow at once.
        if defers:
            return False
        time.sleep(wait.rest())
    return True
