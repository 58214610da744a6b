"""Hold the results of one measurement of an agent's health."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from enum import StrEnum
from typing import Any

from connix_provider.values import agent_label

__all__ = ["HealthCheck", "HealthReport", "HealthState"]


class HealthState(StrEnum):
    """Whether an agent, or one property of it, keeps the limits of a policy."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


_STATES = {
    HealthState.HEALTHY: "healthy",
    HealthState.UNHEALTHY: "unhealthy",
    HealthState.UNKNOWN: "of unknown health",
}


@dataclasses.dataclass(frozen=True, slots=True)
class HealthCheck:
    """
    The result of one check.

    :param name: the policy's parameter, such as ``min_success_rate``
    :param state: the result
    :param limit: the policy's value
    :param value: the agent's value, ``None`` without data
    :param reason: one clause that compares the two
    """

    name: str
    state: HealthState
    limit: Any
    value: Any
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """
    One measurement of an agent's health.

    :param agent_name: its name, if known
    :param project_id: its project, if known
    :param measured_at: the end of the window
    :param window: seconds that metrics and log lines were taken from
    :param checks: the results, in the order of the policy's parameters
    """

    agent_id: str
    agent_name: str | None = None
    project_id: str | None = None
    status: str | None = None
    measured_at: datetime
    window: float
    checks: tuple[HealthCheck, ...]

    @property
    def state(self) -> HealthState:
        """``unhealthy`` if any check is, else ``unknown`` if any is, else ``healthy``."""
        found = {check.state for check in self.checks}
        for state in (HealthState.UNHEALTHY, HealthState.UNKNOWN):
            if state in found:
                return state
        return HealthState.HEALTHY

    @property
    def agent(self) -> str:
        """The agent's name and id, for messages."""
        return agent_label(self.agent_id, self.agent_name)

    @property
    def reason(self) -> str:
        """The clauses of the checks that are not healthy, the unhealthy ones first; else of all checks."""
        wanted = [HealthState.HEALTHY]
        if self.state is not HealthState.HEALTHY:
            wanted = [HealthState.UNHEALTHY, HealthState.UNKNOWN]
        return "; ".join(check.reason for state in wanted for check in self.checks if check.state is state)

    @property
    def message(self) -> str:
        """One sentence: the agent, the state, and each limit with its value."""
        return f"Agent {self.agent} is {_STATES[self.state]}: {self.reason}."

    def to_json(self) -> dict[str, Any]:
        """
        Serialize the report.

        :return: plain JSON: the fields, ``state`` and ``message``; each check has ``name``, ``state``,
            ``limit``, ``value`` and ``reason``
        """
        return {
            "state": str(self.state),
            "agent_id": self.agent_id,
            "agent_name": self.agent_name,
            "project_id": self.project_id,
            "status": self.status,
            "measured_at": self.measured_at.isoformat(),
            "window": self.window,
            "checks": [{**dataclasses.asdict(check), "state": str(check.state)} for check in self.checks],
            "message": self.message,
        }
