"""One agent as the store keeps it. Times are whole microseconds since the epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: A value for each metric; ``None``: the service leaves the metric out.
MetricValues = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class LogLine:
    """
    Hold one line of an agent's log.

    :param is_activity: whether the line moves ``last_activity``; a status change does not.
    """

    at: int
    level: str
    message: str
    context: Mapping[str, Any] = field(default_factory=dict)
    is_activity: bool = True


@dataclass(slots=True)
class Agent:
    """
    Hold one agent.

    ``config`` and ``metadata`` are replaced on change, never altered, because agents may share them.

    :param number: the order of creation; decides between equal times.
    :param history: each status so far, with the time at which it began.
    :param goal: the status in which the current plan ends; without a plan, the present status.
    :param plan: the number of plans so far; a step of an older plan is ignored.
    :param deleting: whether the current plan ends with the agent removed.
    :param added_lines: the log lines that a test added, sorted by time.
    :param set_metrics: the metrics that a test set, each with the time from which they hold, sorted by time.
    """

    id: str
    number: int
    name: str
    description: str | None
    project_id: str
    status: str
    config: dict[str, Any]
    metadata: dict[str, Any]
    created_at: int
    updated_at: int
    history: list[tuple[int, str]]
    goal: str
    plan: int = 0
    deleting: bool = False
    added_lines: list[LogLine] = field(default_factory=list)
    set_metrics: list[tuple[int, MetricValues]] = field(default_factory=list)

    @property
    def age(self) -> tuple[int, int]:
        """Return the sort key of the order of creation."""
        return self.created_at, self.number

    def running_times(self, until: int) -> list[tuple[int, int]]:
        """Return begin and end of each time in ``running``, up to a time."""
        ends = [since for since, _ in self.history[1:]] + [until]
        return [
            (since, min(end, until))
            for (since, status), end in zip(self.history, ends, strict=True)
            if status == "running" and since <= until
        ]
