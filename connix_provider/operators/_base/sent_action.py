"""The action that a task sent: what a wait needs to know of it, and what ``cancel_on_kill`` does about it."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from connix_provider.poll_state import PollState, Sign, Snapshot
from connix_provider.polling.agent_ref import LONGEST_NAME

if TYPE_CHECKING:
    from connix_provider.client import Agent

__all__ = ["SentAction", "Undo"]

#: Requests of ``cancel_on_kill``: delete the agent that was created, stop the agent that was started.
Undo = Literal["delete", "stop"]


@dataclasses.dataclass(frozen=True, slots=True)
class SentAction:
    """
    The action that a task sent.

    :param agent_id: the agent; empty if a delete by name found none
    :param goal: the goal of the wait that follows; ``None`` for no wait
    :param before: the agent before the action, if the wait compares with it
    :param undo: the request of ``cancel_on_kill``
    :param accepted_at: epoch seconds at which the service accepted the action
    :param agent_name: the agent's name, if known
    :param newest: the latest ``updated_at`` that the service showed
    :param found_at: epoch seconds at which a create made or found the agent
    :param sign: the sign of an update that the wait needs
    :param is_unconfirmed: whether the response was lost and only the action's effect can confirm it. The task
        then waits, even with ``wait_for_completion=False``.
    """

    agent_id: str
    goal: str | None = None
    before: Snapshot | None = None
    undo: Undo | None = None
    accepted_at: float | None = None
    agent_name: str | None = None
    newest: datetime | None = None
    found_at: float | None = None
    sign: Sign = Sign.NONE
    is_unconfirmed: bool = False

    @classmethod
    def of(cls, agent: Agent, goal: str | None = None, **known: Any) -> SentAction:
        """
        Make it for an agent.

        :param goal: the goal of the wait that follows
        :param known: the other fields
        """
        return cls(agent.id, goal, agent_name=str(agent.name or "")[:LONGEST_NAME] or None, **known)

    def poll_state(self) -> PollState:
        """Return the state before the first poll."""
        return PollState(
            before=self.before,
            accepted_at=self.accepted_at,
            found_at=self.found_at,
            newest=self.newest,
            sign=self.sign,
        )
