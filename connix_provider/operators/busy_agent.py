"""
Wait until an agent takes an action that it does not take now, and act then.

A 409 may say "not now": an agent that is creating or updating takes no action. An operator raises
:class:`AgentBusyError` for it. :meth:`ConnixAgentOperator._act_when_ready
<connix_provider.operators.base.ConnixAgentOperator>` waits for the agent to settle, by the rules of every
other wait, and acts anew.

Invariants:

- Only a request that is safe to send again after a 409 is sent again.
- A 409 that the agent's state does not explain ends the task at once.
- A request whose response was lost explains each later 409: it may be what keeps the agent busy.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from connix_provider.client.errors import ConnixConflictError
from connix_provider.lifecycle import TRANSIENT, Snapshot

if TYPE_CHECKING:
    from connix_provider.operators.cancel_on_kill import Undo
    from connix_provider.waiting.agent_ref import AgentRef
    from connix_provider.waiting.drive import Connected
    from connix_provider.waiting.ending import Ending
    from connix_provider.waiting.wait import Wait

__all__ = ["AgentBusyError", "await_settled", "explained", "raise_if_busy", "too_late"]

log = logging.getLogger(__name__)

#: How often an action is sent that is refused although the agent is not busy.
MAX_REPEATS = 6


class AgentBusyError(Exception):
    """
    Raised where an action is to be sent once the agent has settled.

    :param agent_id: the agent
    :param action: the action
    :param error: the 409; ``None`` where a status on the way was reason enough to send nothing
    :param before: the agent before the action, where that is known
    :param reason: why nothing was sent
    """

    def __init__(
        self,
        agent_id: str,
        action: str,
        error: ConnixConflictError | None = None,
        before: Snapshot | None = None,
        *,
        reason: str = "",
    ) -> None:
        super().__init__(
            f"The {action} of agent {agent_id} waits: {reason}."
            if error is None
            else f"Connix refused to {action} agent {agent_id}: {error}."
        )
        self.agent_id = agent_id
        self.action = action
        self.error = error
        self.before = before
        #: Whether a request of this task may have been executed that explains the agent's state.
        self.may_have_executed = error is not None and error.may_have_executed
        #: What ``cancel_on_kill`` does to the agent while it is waited for.
        self.undo: Undo | None = None
        #: Epoch seconds at which a create made or found the agent.
        self.found_at: float | None = None


@contextmanager
def raise_if_busy(agent_id: str, action: str, before: Snapshot | None = None) -> Iterator[None]:
    """
    Turn a 409 into :class:`AgentBusyError`; only for what is safe to send again after it.

    :param agent_id: the agent
    :param action: what is sent
    :param before: the agent before that, where it is known
    :raises AgentBusyError: in place of a conflict
    """
    try:
        yield
    except ConnixConflictError as error:
        raise AgentBusyError(agent_id, action, error, before) from error


def await_settled(
    connected: Connected, project_id: str, wait: Wait, busy: AgentBusyError, *, repeats: int, defers: bool
) -> bool:
    """
    Wait on a worker until an action is worth another try.

    :param connected: the connection
    :param project_id: the agent's project
    :param wait: a wait for the agent to settle
    :param busy: the action, and why it waits
    :param repeats: which wait of this task it is, from 1
    :param defers: whether to give up after one poll that leaves something to wait for
    :return: whether it is; ``False`` where the rest is for the triggerer
    :raises ConnixConflictError: the 409, where the agent's state does not explain it
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
            log.info("Agent %s is %s, so the %s waits: %s", wait.agent, wait.status, busy.action, busy)
        if wait.seen and not was_busy:
            # An unknown status explains no refusal.
            break
        if defers:
            return False
        time.sleep(wait.rest())
    if ending and ending.outcome is not Outcome.DONE:
        raise exception_for(explained(ending, str(busy))) from busy.error
    if was_busy:
        return True
    if busy.error is not None:
        has_changed = busy.before is not None and wait.seen != busy.before
        if not (has_changed or busy.may_have_executed) or repeats >= MAX_REPEATS:
            raise busy.error
    # The agent may have been busy until just now. A sign of life alone would lead to the same refusal.
    time.sleep(min(2.0 ** (repeats - 1), LONGEST_PAUSE, max(0.0, wait.left())))
    return True


def too_late(agent: AgentRef, verb: str, why: str) -> Exception:
    """
    Make the error for an agent that has settled when no time is left to act.

    :param agent: the agent
    :param verb: the action
    :param why: why it waited
    :return: the exception to raise
    """
    from connix_provider.exceptions import exception_for
    from connix_provider.waiting.ending import Ending, Outcome

    message = (
        f"Agent {agent} settled at the end of the time allowed, so the {verb} was not sent (again). {why} "
        f"Set a longer timeout, then clear the task{agent.place}."
    )
    return exception_for(Ending.of(Outcome.TIMEOUT, agent, None, message))


def explained(ending: Ending, why: str) -> Ending:
    """
    Add to a time-out what the agent was waited for.

    :param ending: how the wait for the agent to settle ended
    :param why: why the action waited
    :return: the ending, in the same words on the worker and after a deferral
    """
    from connix_provider.waiting.ending import Outcome

    if ending.outcome is not Outcome.TIMEOUT or not why:
        return ending
    return dataclasses.replace(ending, message=f"{ending.message} {why}")
