"""
The statuses of an agent, as the reference's "Agent Status Values" lists them.

What a status means for a wait is decided in :mod:`connix_provider.lifecycle`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, StrEnum

from connix_provider.values import did_you_mean, quoted

__all__ = ["DOWN", "KNOWN", "SETTLED", "TRANSIENT", "AgentStatus", "parse_statuses", "status_phrase"]


class AgentStatus(StrEnum):
    """A status of the reference; the service may have more."""

    CREATING = "creating"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ERROR = "error"
    UPDATING = "updating"


KNOWN = frozenset(AgentStatus)
#: Characters of an unknown status in a message.
_LONGEST = 100
#: An agent leaves these statuses by itself.
TRANSIENT = frozenset({AgentStatus.CREATING, AgentStatus.UPDATING})
#: An agent stays in these statuses until an action.
SETTLED = KNOWN - TRANSIENT
#: An agent in these statuses does not run, and has no error.
DOWN = frozenset({AgentStatus.PAUSED, AgentStatus.STOPPED})


def status_phrase(status: str | None) -> str:
    """
    Put a status into a sentence, after "is" or "was".

    :param status: the status, ``None`` if the agent is gone
    :return: ``in error``, ``gone``, or the status
    """
    if status is None:
        return "gone"
    if status not in KNOWN:
        # A status of the service may be any text, with line breaks, and long.
        return repr(status[:_LONGEST])
    return "in error" if status == AgentStatus.ERROR else status


def parse_statuses(value: Iterable[str], parameter: str) -> frozenset[str]:
    """
    Check statuses against the vocabulary.

    :param value: a status, statuses separated by commas, or an iterable of statuses
    :param parameter: the parameter's name, for the message
    :raises ValueError: for an unknown status; the message has the known ones and the most similar of them
    """
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Iterable):
        raise ValueError(f"{parameter} must be a status or a list of them ({_known()}), not {quoted(value)}")
    found = set()
    for name in names:
        value = name.value if isinstance(name, Enum) else name
        text = value.strip().lower() if isinstance(value, str) else quoted(value)
        if text not in KNOWN:
            hint = did_you_mean(text, KNOWN)
            raise ValueError(f"{parameter}: {quoted(name)} is not a status of a Connix agent.{hint}")
        found.add(AgentStatus(text))
    return frozenset(found)


def _known() -> str:
    return ", ".join(AgentStatus)
