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
    from connix_provider.operators.killed import Undo
    from connix_provider.waiting.drive import Connected
    from connix_provider.waiting.wait import Wait

__all__ = ["OutOfTurnError", "await_turn", "in_turn"]

log = logging.getLogger(__name__)

#: How often an action is sent that is refused although the agent is not busy.
MAX_REPEATS = 6


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
        #: What ``cancel_on_kill`` does to the agent while it is waited for.
        self.undo: Undo | None = None


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
    connected: Connected, project_id: str, wait: Wait, refusal: OutOfTurnError, *, repeats: int, defers: bool
) -> bool:
    """
    Wait on a worker until what was refused is worth another try.

    :param connected: the connection
    :param project_id: the agent's project
    :param wait: a wait for the agent to settle
    :param refusal: the refusal
    :param repeats: which refusal of this task it is, from 1
    :param defers: whether to give up after one poll that leaves something to wait for
    :return: whether it is; ``False`` where the rest is for the triggerer
    :raises ConnixConflictError: the refusal, where the agent's state does not explain it
    :raises ConnixAgentGoneError: where the agent is gone
    :raises Exception: what any wait can end in: the time is up, the key is refused
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
            # An unknown status explains no refusal.
            break
        if defers:
            return False
        time.sleep(wait.rest())
    if ending and ending.outcome is not Outcome.DONE:
        raise exception_for(ending) from refusal.error
    if was_busy:
        return True
    is_known = refusal.before is not None
    is_explained = wait.seen != refusal.before if is_known else refusal.error.may_have_executed
    if not is_explained or repeats >= MAX_REPEATS:
        raise refusal.error
    # The agent may have been busy until just now. A sign of life alone would lead to the same refusal.
    time.sleep(min(2.0 ** (repeats - 1), LONGEST_PAUSE, max(0.0, wait.left())))
    return True
