"""The waits of a fleet: one for each agent that it is acting on, on a worker or in the triggerer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from connix_provider.health import HealthPolicy
from connix_provider.lifecycle import GOALS, Goal
from connix_provider.polling.health_group import HealthGroup
from connix_provider.polling.status_poller import StatusPoller
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings
from connix_provider.statuses import DOWN, AgentStatus

__all__ = ["FleetPolicy", "FleetWait", "Stage"]


#: The statuses in which an agent has not become available.
_FAILED = DOWN | {AgentStatus.ERROR}


class Stage(StrEnum):
    """The condition that a wait polls for."""

    #: The agent is busy (409), and the action is sent when it has settled.
    SETTLE = "settle"
    #: The action's goal.
    GOAL = "goal"
    #: The agent's health, for ``min_healthy_time``.
    HEALTH = "health"


@dataclasses.dataclass(frozen=True, slots=True)
class FleetPolicy:
    """
    When an agent counts as available again.

    :param health: the limits that it must keep, ``None`` for its status alone
    :param min_healthy_time: seconds for which polls must show that without a change
    """

    health: HealthPolicy | None = None
    min_healthy_time: float = 0.0

    @property
    def checks_availability(self) -> bool:
        """Whether the goal of the action is not enough."""
        return self.health is not None or self.min_healthy_time > 0

    def to_json(self) -> dict[str, Any]:
        """Serialize the policy."""
        health = None if self.health is None else self.health.to_json()
        return {"health": health, "min_healthy_time": self.min_healthy_time}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> FleetPolicy:
        """Deserialize what :meth:`to_json` made."""
        health = stored.get("health")
        return cls(HealthPolicy.of(health) if health else None, stored.get("min_healthy_time") or 0.0)


@dataclasses.dataclass(slots=True)
class FleetWait:
    """
    One wait.

    :param stage: the condition that the wait polls for
    :param goal: the name of the action's goal, ``None`` but for :attr:`Stage.GOAL`
    :param repeats: how often the action was refused because the agent was busy
    :param due: seconds of the monotonic clock at which the next poll is due, on a worker
    """

    agent_id: str
    stage: Stage
    goal: str | None
    poller: StatusPoller
    repeats: int = 0
    due: float = 0.0

    @classmethod
    def of(
        cls,
        agent_id: str,
        stage: Stage,
        goal: str | None,
        policy: FleetPolicy,
        settings: WaitSettings,
        progress: WaitProgress,
        *,
        repeats: int = 0,
    ) -> FleetWait:
        """
        Make a wait.

        :param stage: the condition that the wait polls for
        :param goal: the name of the action's goal, ``None`` but for :attr:`Stage.GOAL`
        :param policy: when the agent counts as available
        :param settings: the settings of the wait
        :param progress: what is known of the agent
        :param repeats: how often the action was refused because the agent was busy
        """
        poller: StatusPoller
        if stage is Stage.HEALTH and policy.health is not None:
            group = HealthGroup(
                _of_running_agents(policy.health),
                settings,
                needed=1,
                healthy_for=policy.min_healthy_time,
                failed_statuses=_FAILED,
            )
            poller = group.add(agent_id, progress)
        else:
            poller = StatusPoller(_goal(stage, goal, policy), agent_id, settings, progress)
        return cls(agent_id, stage, goal, poller, repeats)

    @property
    def times(self) -> tuple[float, float]:
        """Epoch seconds at which the wait began, and of its deadline."""
        schedule = self.poller.schedule
        return schedule.clock.to_system(schedule.began_at), schedule.clock.to_system(schedule.deadline)

    @property
    def seen_at(self) -> float | None:
        """Epoch seconds of the last poll that showed the agent."""
        seen_at = self.poller.last_seen_at
        return None if seen_at is None else self.poller.schedule.clock.to_system(seen_at)

    def to_json(self) -> dict[str, Any]:
        """
        Serialize the wait, so that another process continues it.

        :return: plain JSON; moments are epoch seconds of the system's clock
        """
        return {
            "agent_id": self.agent_id,
            "stage": str(self.stage),
            "goal": self.goal,
            "repeats": self.repeats,
            "poller": self.poller.trigger_arguments(),
        }

    @classmethod
    def from_json(
        cls, stored: Mapping[str, Any], policy: FleetPolicy, settings: WaitSettings
    ) -> tuple[FleetWait, float]:
        """
        Deserialize what :meth:`to_json` made.

        :param policy: when the agent counts as available
        :param settings: what every wait of the fleet keeps to; the times are those of the stored wait
        :return: the wait, and epoch seconds of its next poll
        """
        known = stored["poller"]
        times = {name: known[name] for name in ("poll_interval", "deadline", "began_at")}
        wait = cls.of(
            stored["agent_id"],
            Stage(stored["stage"]),
            stored["goal"],
            policy,
            dataclasses.replace(settings, **times, is_resumed=True),
            WaitProgress.from_json(known),
            repeats=stored["repeats"],
        )
        return wait, known["first_poll_at"]


def _of_running_agents(policy: HealthPolicy) -> HealthPolicy:
    """Add to a policy without statuses that the agent runs, because only then it is available."""
    return policy if policy.statuses else dataclasses.replace(policy, statuses=AgentStatus.RUNNING)


def _goal(stage: Stage, goal: str | None, policy: FleetPolicy) -> Goal:
    if stage is Stage.SETTLE:
        return GOALS["settle"]
    if stage is Stage.GOAL and goal is not None:
        return GOALS[goal]
    return Goal(
        "sensor",
        done=frozenset({AgentStatus.RUNNING}),
        failed=_FAILED,
        stable_for=policy.min_healthy_time,
    )
