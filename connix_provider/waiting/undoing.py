"""
Take an action back, without doing any I/O.

An agent that was started shows its old status until the start takes hold, and until then Connix refuses to
stop it: the moment at which tasks are killed most. So a refusal is no reason to give up while the agent is
still as it was. Worker and trigger are two thin drivers of the same steps.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from connix_provider.lifecycle import TRANSIENT, AgentStatus, Snapshot
from connix_provider.waiting.wait import Look, Rest

if TYPE_CHECKING:
    from connix_provider.client import Agent, ConnixError

__all__ = ["UNDO_TIMEOUT", "Undo", "undoing"]

#: Seconds that taking an action back may take: Airflow kills a task that takes long to die.
UNDO_TIMEOUT = 20.0
#: Seconds between two looks at an agent that cannot be stopped yet.
_PAUSE = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Undo:
    """Ask the driver to send the call that takes the action back."""


def undoing(
    call: str, before: Snapshot | None
) -> Generator[Undo | Look | Rest, Agent | ConnixError | None, None]:
    """
    Take an action back as soon as Connix lets it be taken back.

    :param call: ``delete`` or ``stop``
    :param before: the agent before it was started, where that is known
    :return: the steps; each is to be answered with what it showed, agent or error
    :raises ConnixError: where it is not taken back
    """
    from connix_provider.client import ConnixConflictError, ConnixError

    ends = time.time() + UNDO_TIMEOUT
    while isinstance(refusal := (yield Undo()), ConnixError):
        if call != "stop" or not isinstance(refusal, ConnixConflictError):
            raise refusal
        while True:
            seen = yield Look()
            if seen is None or isinstance(seen, ConnixError):
                raise refusal
            is_as_before = before is not None and seen.snapshot() == before
            if not is_as_before and seen.status not in TRANSIENT:
                break
            if time.time() + _PAUSE > ends:
                raise refusal
            yield Rest(_PAUSE)
        if seen.status != AgentStatus.RUNNING:
            # Stopped already, or ended in error: nothing runs that could be stopped.
            raise refusal
