"""Which action each status allows, and which statuses follow it. Pure."""

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
"""Seconds after the step before, and the status then; ``None``: the agent is gone."""


@dataclass(frozen=True)
class Durations:
    """
    Set how long the service takes, in seconds; 0 makes a change appear at once.

    :param creating: from create to running.
    :param updating: from update to the status before it.
    :param starting: from start to running.
    :param pausing: from pause to paused.
    :param stopping: from stop to stopped.
    :param restarting_down: from restart until the agent goes down.
    :param restarting_up: from there until it runs again.
    :param deleting: from delete until the agent is gone.
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
        """Make every change appear at once."""
        return cls(**{field.name: 0.0 for field in fields(cls)})


@dataclass(frozen=True)
class Action:
    """
    Describe one of the four actions.

    :param verb: as in the path.
    :param done: the participle in the service's messages.
    :param promise: the status in the reply, which the agent itself has yet to reach.
    :param allowed_from: the statuses that allow it.
    """

    verb: str
    done: str
    promise: str
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
    """
    Say what follows an action; until the first step the old status stays.

    :param verb: start, pause, stop or restart.
    :param durations: how long each takes.
    """
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
    """
    Let the same steps miss their goal.

    :param steps: what would have followed.
    """
    return [*steps[:-1], (steps[-1][0], ERROR)]
