"""The checked parameters of a fleet operator."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from connix_provider.digest import digest
from connix_provider.health import HealthPolicy
from connix_provider.operators._fleet.plan import FleetLimits
from connix_provider.params import check_seconds
from connix_provider.polling.fleet_wait import FleetPolicy
from connix_provider.selector import AgentSelector
from connix_provider.values import check_number, quoted

__all__ = ["FleetSettings"]

#: The actions, and how a log line begins that tells of them.
_ACTIONS = {
    "restart": "Restarting",
    "start": "Starting",
    "stop": "Stopping",
    "pause": "Pausing",
    "delete": "Deleting",
}
#: The orders of the agents: a field, or with ``-`` the same from the highest value down.
_ORDERS = ("created_at", "-created_at", "name", "-name", "last_activity", "-last_activity")


@dataclasses.dataclass(frozen=True, slots=True)
class FleetSettings:
    """
    The parameters of a task, which the constructor checks.

    :param action: ``restart``, ``start``, ``stop``, ``pause`` or ``delete``
    :param order: the order in which the agents are acted on
    :param max_unavailable: a number, or a percentage as text
    :param canary: a number, or a percentage as text
    :param max_failures: a number, or a percentage as text
    :param policy: when an agent counts as available again
    :param healthy_deadline: seconds from the action until the agent must be available
    :param progress_deadline: seconds within which some agent must become available, ``None`` for no bound
    """

    action: str
    agents: AgentSelector
    order: str
    max_unavailable: Any
    canary: Any
    max_failures: Any
    policy: FleetPolicy
    healthy_deadline: float
    progress_deadline: float | None

    @classmethod
    def of(
        cls,
        *,
        action: Any,
        agents: Any,
        order: Any,
        max_unavailable: Any,
        canary: Any,
        max_failures: Any,
        health: Any,
        min_healthy_time: float | timedelta,
        healthy_deadline: float | timedelta,
        progress_deadline: float | timedelta | None,
    ) -> FleetSettings:
        """
        Check the parameters of a task.

        :raises ValueError: for an invalid parameter
        """
        # In a list, because a mapping refuses a value that has no hash.
        if action not in list(_ACTIONS):
            raise ValueError(f"action must be one of {', '.join(_ACTIONS)}, not {quoted(action)}")
        if order not in _ORDERS:
            raise ValueError(f"order must be one of {', '.join(_ORDERS)}, not {quoted(order)}")
        FleetLimits.check(max_unavailable, canary, max_failures)
        policy = FleetPolicy(
            None if health is None else HealthPolicy.of(health),
            float(check_number("min_healthy_time", min_healthy_time, "seconds")),
        )
        settings = cls(
            action,
            AgentSelector.of(agents),
            order,
            max_unavailable,
            canary,
            max_failures,
            policy,
            check_seconds("healthy_deadline", healthy_deadline),
            None if progress_deadline is None else check_seconds("progress_deadline", progress_deadline),
        )
        if policy.checks_availability and not settings.ends_running:
            raise ValueError(f"health and min_healthy_time are for restart and start, not for {action}")
        if policy.min_healthy_time >= settings.healthy_deadline:
            # Otherwise agents are acted on that cannot become available.
            raise ValueError(
                f"min_healthy_time ({policy.min_healthy_time:g} s) must be shorter than healthy_deadline "
                f"({settings.healthy_deadline:g} s), which counts from the action"
            )
        return settings

    @property
    def ends_running(self) -> bool:
        """Whether an agent is to be available after the action."""
        return self.action in {"restart", "start"}

    @property
    def progress_verb(self) -> str:
        """The action at the beginning of a log line."""
        return _ACTIONS[self.action]

    @property
    def selector_digest(self) -> str:
        """A digest of the selector's criteria, in which the order of ids and names does not count."""
        criteria = self.agents.criteria
        listed = {name: sorted(value) for name, value in criteria.items() if isinstance(value, tuple)}
        # Criteria hold no secrets, so the digest needs no key.
        return digest(b"", {**criteria, **listed})

    def limits(self, total: int) -> FleetLimits:
        """
        Return the limits as numbers of agents.

        :param total: the number of agents
        :raises ValueError: for more canaries than agents
        """
        return FleetLimits.of(self.max_unavailable, self.canary, self.max_failures, total=total)
