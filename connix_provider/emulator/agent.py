"""One agent."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Agent:
    """
    Hold one agent. ``config`` and ``metadata`` are replaced on change, never altered: agents may share them.

    :param number: counts agents in the order they were made; decides between equal times.
    :param history: each status so far with the microsecond at which it began.
    :param plan: counts the plans made for the agent, so that an outdated step is recognised.
    :param goal: the status its plan ends in; its own status when nothing is planned.
    :param deleting: the plan ends with the agent gone.
    :param extra_logs: lines added in bulk: when, how many, at which level.
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
    extra_logs: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def age(self) -> tuple[int, int]:
        """Return what orders agents by creation."""
        return self.created_at, self.number
