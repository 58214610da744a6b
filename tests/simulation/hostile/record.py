"""The service's record of every request and change, with its sender."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["Arrival", "Change", "Version"]


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """
    A request that was sent.

    :param at: seconds since the history began
    :param actor: its sender
    :param call: ``create``, ``get``, ``list``, …
    :param agent_id: the agent that it names, if any
    :param status: the status of the response; 0: no response
    :param did: whether the service executed it
    :param note: the fault in between, if any
    """

    at: float
    actor: str
    call: str
    agent_id: str | None
    status: int
    did: bool
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """
    A change that the service executed.

    :param at: seconds since the history began
    :param actor: the sender of its request
    :param verb: ``create``, ``update``, ``start``, ``pause``, ``stop``, ``restart`` or ``delete``
    :param agent_id: the agent
    :param name: the agent's name at that moment
    :param ends_at: the moment of its effect
    :param fails: whether the agent ends in error instead
    """

    at: float
    actor: str
    verb: str
    agent_id: str
    name: str
    ends_at: float
    fails: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Version:
    """
    An agent from one moment on.

    :param at: the moment
    :param status: its status; ``None``: it is gone
    :param moved_at: the moment that ``updated_at`` shows
    """

    at: float
    status: str | None
    name: str
    description: str
    config: dict[str, Any]
    metadata: dict[str, Any]
    moved_at: float
