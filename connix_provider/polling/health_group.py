"""
Wait until enough agents of a group are healthy at the same time.

Each agent is polled by a :class:`~connix_provider.polling.health_poller.HealthPoller` of its own. After each
poll the group decides whether the wait is over:

- It is done when the last polls of ``needed`` agents showed them healthy, for ``healthy_for`` seconds each.
- It fails when too few agents are left that could be: the others are gone, or of unknown health with
  ``on_unknown="fail"``.

Before either, each agent that was not polled yet is polled once, because otherwise the numbers would differ
from mode to mode.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from connix_provider.health import HealthPolicy
from connix_provider.polling.health_poller import HealthPoller
from connix_provider.polling.messages import NO_RECENT_POLL, join_first
from connix_provider.polling.poll_result import PollResult
from connix_provider.polling.poll_schedule import PollSchedule
from connix_provider.polling.priority_semaphore import PrioritySemaphore
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings

__all__ = ["HealthGroup"]

#: Agents that a message or a result names at most.
_NAMED, _LISTED = 5, 100
#: Agents that a trigger measures at the same time.
_MEASURED_AT_ONCE = 20
#: The arguments that are the same for all agents of a wait, and the first of their next polls.
_TIMES = ("poll_interval", "deadline", "began_at", "first_poll_at")
#: Seconds before the deadline at which the last polls of a group begin, for each agent; and at most.
_LAST_POLL, _MAX_LAST_POLL = 0.1, 10.0


class HealthGroup:
    """
    The agents of one wait for health.

    :param needed: how many agents must be healthy; ``None`` for all
    :param healthy_for: seconds for which polls must show a healthy agent without a change
    :param fails_on_unknown: whether an agent of unknown health counts as failed
    :param failed_statuses: statuses in which an agent has failed, whatever its health
    :param streams_log: whether the lines of the agents' logs go into the task's log
    """

    def __init__(
        self,
        policy: HealthPolicy,
        settings: WaitSettings,
        *,
        needed: int | None = None,
        healthy_for: float = 0.0,
        fails_on_unknown: bool = False,
        failed_statuses: frozenset[str] = frozenset(),
        streams_log: bool = False,
    ) -> None:
        self._policy = policy
        self._settings = settings
        self._needed = needed
        self._healthy_for = healthy_for
        self._fails_on_unknown = fails_on_unknown
        self._failed_statuses = failed_statuses
        self._streams_log = streams_log
        self.pollers: list[HealthPoller] = []
        self._is_counting = False
        #: Bounds the measurements that a trigger sends at the same time.
        self.semaphore = PrioritySemaphore(_MEASURED_AT_ONCE)

    def add(self, agent_id: str | None, progress: WaitProgress) -> HealthPoller:
        """
        Add an agent.

        :param agent_id: the agent, or ``None`` while only its name is known
        :param progress: what is known of it
        """
        if self._streams_log and progress.log_position is None:
            progress = dataclasses.replace(progress, log_position={})
        poller = HealthPoller(
            self,
            self._policy,
            agent_id,
            self._settings,
            progress,
            healthy_for=self._healthy_for,
            fails_on_unknown=self._fails_on_unknown,
            failed_statuses=self._failed_statuses,
        )
        self.pollers.append(poller)
        return poller

    def of_agents(
        self, agents: Iterable[tuple[str, WaitProgress]], project_id: str, needed: int
    ) -> HealthGroup:
        """
        Make the same wait for other agents.

        :param agents: the id of each, and what is known of it
        :param needed: how many must be healthy
        """
        other = HealthGroup(
            self._policy,
            dataclasses.replace(self._settings, project_id=project_id),
            needed=needed,
            healthy_for=self._healthy_for,
            fails_on_unknown=self._fails_on_unknown,
            failed_statuses=self._failed_statuses,
            streams_log=self._streams_log,
        )
        for agent_id, progress in agents:
            other.add(agent_id, progress)
        return other

    def trigger_arguments(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """
        Return the arguments with which a trigger continues the wait.

        :return: the times, and for each agent what polls showed; plain JSON
        """
        times: dict[str, Any] = {}
        agents = []
        for poller in self.pollers:
            known = poller.trigger_arguments()
            own = {name: known.pop(name) for name in _TIMES}
            first = min(own["first_poll_at"], times.get("first_poll_at", own["first_poll_at"]))
            times = {**own, "first_poll_at": first}
            agents.append({"agent_id": poller.agent_id, **known})
        if any(poller.last_seen_at is None for poller in self.pollers):
            times["first_poll_at"] = None
        return times, agents

    @property
    def needed(self) -> int:
        """How many agents must be healthy."""
        return len(self.pollers) if self._needed is None else self._needed

    @property
    def is_single(self) -> bool:
        """Whether the wait is for one agent."""
        return len(self.pollers) == 1

    @property
    def healthy(self) -> list[HealthPoller]:
        """The agents that count as healthy now."""
        return [poller for poller in self.pollers if poller.is_healthy]

    def decide(self) -> PollResult | None:
        """
        Decide whether the wait is over.

        :return: the result, or ``None`` while it continues
        """
        if self._is_counting:
            return None
        healthy = self.healthy
        if len(healthy) >= self.needed:
            poll_result = healthy[0].latest if healthy else None
            message = f"{self._count()} ({self.pollers[0].schedule.waited:.0f} s waited)."
        else:
            failed = [poller.latest for poller in self.pollers if poller.has_failed]
            if len(self.pollers) - len(failed) >= self.needed:
                return None
            poll_result = failed[0]
            message = f"{self._count()}; {len(failed)} cannot become healthy anymore. {self._quote(failed)}"
        if poll_result is None or self.is_single:
            return poll_result
        return dataclasses.replace(poll_result, message=message)

    def begin_count(self) -> None:
        """Let further polls end nothing, because the wait is over and only its numbers are not known yet."""
        self._is_counting = True

    def end_count(self, result: PollResult) -> PollResult:
        """
        Count again after further agents were polled.

        :param result: how the wait ended before those polls
        :return: the same end, with the numbers of now
        """
        self._is_counting = False
        again = self.decide()
        is_same = again is not None and again.outcome is result.outcome
        return dataclasses.replace(result, message=again.message) if again and is_same else result

    def timed_out(self, result: PollResult, poller: HealthPoller) -> PollResult:
        """
        Complete the result of a wait that timed out.

        :param result: the result of one agent
        :return: the result, with the last reports
        """
        if self.is_single:
            return result
        others = [other for other in self.pollers if other not in self.healthy]
        reports = [f"Agent {other.agent}: {other.last_report or NO_RECENT_POLL}." for other in others]
        message = (
            f"{self._count()} within the time allowed ({poller.schedule.allowed:.4g} s). "
            f"{join_first(reports, _NAMED)} The agents were left as they are."
        )
        first = others[0] if others else poller
        return dataclasses.replace(
            result,
            message=message,
            agent_id=first.agent.agent_id or result.agent_id,
            agent_name=first.agent.name,
            status=first.status,
        )

    def summary(self) -> dict[str, Any]:
        """
        Return the result of the wait.

        :return: plain JSON: the number of ``agents`` and of ``healthy`` ones, and the ids of the first 100
            that are ``not_healthy`` and of the first 100 that are ``not_measured``
        """
        healthy = self.healthy
        others = [poller for poller in self.pollers if poller not in healthy]
        not_healthy = [poller.agent_id for poller in others if poller.last_seen_at is not None]
        not_measured = [poller.agent_id for poller in others if poller.last_seen_at is None]
        return {
            "agents": len(self.pollers),
            "healthy": len(healthy),
            "not_healthy": not_healthy[:_LISTED],
            "not_measured": not_measured[:_LISTED],
        }

    def sleep_seconds(self) -> float:
        """
        Return the pause before the next polls on a worker.

        :return: seconds; the last polls are right before the deadline
        """
        longest = max((poller.schedule for poller in self.pollers), key=PollSchedule.sleep_seconds)
        lead = min(_LAST_POLL * (len(self.pollers) - 1), _MAX_LAST_POLL)
        return min(longest.sleep_seconds(), longest.sleep_seconds(lead))

    def by_age(self) -> list[HealthPoller]:
        """
        Return the order of the next polls.

        :return: the agents whose last poll is the longest ago first, because a rate limit may stop the rest
        """
        return sorted(self.pollers, key=lambda poller: poller.last_seen_at or 0.0)

    def _count(self) -> str:
        wanted = "" if self.needed == len(self.pollers) else f", wanted {self.needed}"
        return f"{len(self.healthy)} of {len(self.pollers)} agents are healthy{wanted}"

    @staticmethod
    def _quote(poll_results: Iterable[PollResult | None]) -> str:
        texts = [poll_result.message for poll_result in poll_results if poll_result is not None]
        return join_first(texts, _NAMED)
