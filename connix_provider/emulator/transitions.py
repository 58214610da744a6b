"""The statuses, which action each of them allows, and which statuses follow an action. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

CREATING: Final = "creating"
RUNNING: Final = "running"
PAUSED: Final = "paused"
STOPPED: Final = "stopped"
ERROR: Final = "error"
UPDATING: Final = "updating"

STATUSES: Final = (CREATING, RUNNING, PAUSED, STOPPED, ERROR, UPDATING)

Step = tuple[float, str | None]
"""Seconds after the step before, and the status from then on; ``None``: the agent is removed."""


@dataclass(frozen=True)
class Durations:
    """
    Set how long the service takes, in seconds; 0 makes a change take effect at once.

    :param creating: from create to running.
    :param updating: from update to the status before it.
    :param starting: from start to running.
    :param pausing: from pause to paused.
    :param stopping: from stop to stopped.
    :param restarting_down: from restart until the agent is stopped.
    :param restarting_up: from there until it runs again.
    :param deleting: from delete until the agent is removed.
    """

    creating: float = 2.0
    updating: float = 1.0
    starting: float = 1.0
    pausing: float = 0.5
    stopping: float = 1.0
    restarting_down: float = 0.5
    restarting_up: float = 1.5
    deleting: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} must not be negative")

    @classmethod
    def instant(cls) -> "Durations":
        """Return durations of 0."""
        return cls(**{field.name: 0.0 for field in fields(cls)})


@dataclass(frozen=True)
class Action:
    """
    Describe one of the four actions.

    :param done: the participle in the service's messages.
    :param promised: the status in the response, which the agent has yet to reach.
    """

    verb: str
    done: str
    promised: str
    allowed_from: frozenset[str]


ACTIONS: Final = {
    action.verb: action
    for action in (
        Action("start", "started", RUNNING, frozenset({PAUSED, STOPPED})),
        Action("pause", "paused", PAUSED, frozenset({RUNNING})),
        Action("stop", "stopped", STOPPED, frozenset({RUNNING, PAUSED, ERROR})),
        Action("restart", "restarted", RUNNING, frozenset({RUNNING, PAUSED, STOPPED, ERROR})),
    )
}


def steps_of_action(verb: str, durations: Durations) -> list[Step]:
    """Return what follows an action; the old status stays until the first step."""
    match verb:
        case "start":
            return [(durations.starting, RUNNING)]
        case "pause":
            return [(durations.pausing, PAUSED)]
        case "stop":
            return [(durations.stopping, STOPPED)]
        case _:
            return [(durations.restarting_down, STOPPED), (durations.restarting_up, RUNNING)]


def ending_in_error(steps: Sequence[Step]) -> list[Step]:
    """Return the same steps, but with ``error`` in place of the last status."""
    return [*steps[:-1], (steps[-1][0], ERROR)]
