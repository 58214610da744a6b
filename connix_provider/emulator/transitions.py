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
    :param changes: the statuses that follow, each with the name of its duration.
    """

    done: str
    promised: str
    allowed_from: frozenset[str]
    changes: tuple[tuple[str, str], ...]

    def steps(self, durations: Durations) -> list[Step]:
        """Return what follows the action; the old status stays until the first step."""
        return [(getattr(durations, name), status) for name, status in self.changes]


ACTIONS: Final = {
    "start": Action("started", RUNNING, frozenset({PAUSED, STOPPED}), (("starting", RUNNING),)),
    "pause": Action("paused", PAUSED, frozenset({RUNNING}), (("pausing", PAUSED),)),
    "stop": Action("stopped", STOPPED, frozenset({RUNNING, PAUSED, ERROR}), (("stopping", STOPPED),)),
    "restart": Action(
        "restarted",
        RUNNING,
        frozenset({RUNNING, PAUSED, STOPPED, ERROR}),
        (("restarting_down", STOPPED), ("restarting_up", RUNNING)),
    ),
}


def ending_in_error(steps: Sequence[Step]) -> list[Step]:
    """Return the same steps, but with ``error`` in place of the last status."""
    return [*steps[:-1], (steps[-1][0], ERROR)]
