"""
Wait for the health of one agent: a wait like any other, whose status is the state of a report.

:func:`~connix_provider.lifecycle.judge` judges ``healthy``, ``unhealthy`` and ``unknown`` as it judges the
statuses of a sensor, so grace, stale responses and ``stable_for`` follow the same rules.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from connix_provider.health import HealthPolicy, HealthReport, HealthState
from connix_provider.lifecycle import Goal
from connix_provider.poll_state import Snapshot
from connix_provider.polling.measurement import measure
from connix_provider.polling.poll_log import PollLog
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.polling.status_poller import StatusPoller
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings

if TYPE_CHECKING:
    from connix_provider.client import Agent, AsyncClient, Client
    from connix_provider.client.calls.steps import Flow
    from connix_provider.client.errors import ConnixRateLimitError
    from connix_provider.polling.agent_ref import AgentRef
    from connix_provider.polling.poll_schedule import PollSchedule
    from connix_provider.polling.priority_semaphore import PrioritySemaphore

__all__ = ["HealthPoller"]

#: Seconds after the last poll that showed the agent for which failed polls change nothing.
_FRESH = 60.0


class Group(Protocol):
    """Decides when a wait for the health of several agents is over."""

    @property
    def semaphore(self) -> PrioritySemaphore:
        """Bounds the measurements that a trigger sends at the same time."""

    @property
    def is_single(self) -> bool:
        """Whether the wait is for one agent."""

    def decide(self) -> PollResult | None:
        """Return how the wait ends, or ``None`` while it continues."""

    def timed_out(self, result: PollResult, poller: HealthPoller) -> PollResult:
        """Complete the result of a wait that timed out."""


class HealthPoller(StatusPoller):
    """
    One agent of a wait for health.

    :param group: the wait that the agent belongs to; it decides when the wait is over
    :param agent_id: the agent, or ``None`` while only its name is known
    :param healthy_for: seconds for which polls must show a healthy agent without a change
    :param fails_on_unknown: whether an agent of unknown health counts as failed
    :param failed_statuses: statuses in which the agent has failed, whatever its health
    """

    def __init__(
        self,
        group: Group,
        policy: HealthPolicy,
        agent_id: str | None,
        settings: WaitSettings,
        progress: WaitProgress,
        *,
        healthy_for: float,
        fails_on_unknown: bool,
        failed_statuses: frozenset[str] = frozenset(),
    ) -> None:
        self.report: HealthReport | None = None
        self.last_report = progress.last_report
        #: How the wait would end if the agent were alone in it; ``None`` while it would continue.
        self.latest: PollResult | None = None
        #: Set by the first poll of this process, also if it failed or a rate limit delayed it.
        self.polled = asyncio.Event()
        self._group = group
        self._measured_at = 0.0
        self._policy = policy
        goal = Goal(
            "health",
            done=frozenset({str(HealthState.HEALTHY)}),
            failed=failed_statuses | ({str(HealthState.UNKNOWN)} if fails_on_unknown else set()),
            stable_for=healthy_for,
        )
        super().__init__(goal, agent_id, settings, progress)
        self.log = _HealthLog(self, self.log.log)

    @property
    def status(self) -> str | None:
        """The agent's status in the last report."""
        return self.report.status if self.report else None

    @property
    def is_healthy(self) -> bool:
        """Whether the agent counts as healthy: polls that fail for a minute leave nothing to count."""
        if self.latest is None or self.latest.outcome is not Outcome.DONE:
            return False
        age = self.schedule.clock.now() - (self.last_seen_at or 0.0)
        return self.log.last_error is None or age <= _FRESH

    @property
    def has_failed(self) -> bool:
        """Whether the agent cannot become healthy anymore."""
        return self.latest is not None and self.latest.outcome is not Outcome.DONE

    @property
    def is_about_one_agent(self) -> bool:
        """Whether the wait is for this agent alone."""
        return self._group.is_single

    def measurement_permit(self) -> AbstractAsyncContextManager[bool]:
        """
        Wait in a trigger for the agent's turn among the agents of its wait.

        :return: a context manager; it gives whether it waited
        """
        return self._group.semaphore.acquire(self._measured_at)

    def measure(self, client: Client | AsyncClient, agent: Agent) -> Flow[Agent]:
        """
        Measure the agent's health.

        :param agent: the agent as the poll showed it
        :return: the steps; their result is the agent
        """
        project_id = str(self.agent.project_id)
        self.report = yield from measure(client, self._policy, project_id, agent.id, agent=agent)
        self.last_report = self.report.reason
        self._measured_at = time.monotonic()
        return agent

    def observe(self, polled: Agent | Exception) -> PollResult | None:
        """
        Judge the result of a poll.

        :param polled: the agent, or the error
        :return: the result, or ``None`` if the wait continues
        """
        self.polled.set()
        return super().observe(polled)

    def on_rate_limit(self, error: ConnixRateLimitError) -> None:
        """
        Delay the next poll for a rate limit.

        :param error: the 429, or the limiter's own error
        """
        self.polled.set()
        super().on_rate_limit(error)

    def timed_out(self) -> PollResult:
        """
        Return the result of a wait that timed out.

        :return: the result, with the last report
        """
        return self._group.timed_out(super().timed_out(), self)

    def progress(self) -> dict[str, Any]:
        """
        Return what polls have shown of the agent, for another process.

        :return: plain JSON
        """
        return {**super().progress(), "last_report": self.last_report}

    def _judge(self, polled: Snapshot, why: str = "") -> PollResult | None:
        has_failed = polled.status in self.goal.failed
        if polled.status is not None and self.report is not None and not has_failed:
            polled = dataclasses.replace(polled, status=str(self.report.state))
        result = super()._judge(polled, why)
        if result is not None and result.outcome is Outcome.DONE:
            result = dataclasses.replace(result, status=self.status)
        if result is not None and result.outcome is Outcome.FAILED and self.report is not None:
            message = f"{self.report.message} on_unknown='fail' ends the wait{self.agent.context_suffix}."
            result = dataclasses.replace(
                result, outcome=Outcome.UNHEALTHY, status=self.status, message=message
            )
        self.latest = result
        return self._group.decide()

    def _last_seen(self, now: float) -> str:
        polled = super()._last_seen(now)
        return f"{polled}; its last report: {self.last_report}" if self.last_report else polled


class _HealthLog(PollLog):
    """The log lines of a wait for health; each change of the checks that are not healthy is logged once."""

    def __init__(self, poller: HealthPoller, log: Any) -> None:
        super().__init__(log, None)
        self._poller = poller
        self._logged: tuple[object, ...] | None = None

    def status(self, agent: AgentRef, status: str | None, goal: Goal, schedule: PollSchedule) -> None:
        """
        Log the report if other checks are not healthy than before.

        :param status: the state of its report, ``None`` if it is gone
        """
        report = self._poller.report
        if status is None or report is None:
            super().status(agent, status, goal, schedule)
            return
        broken = [
            (check.name, check.state) for check in report.checks if check.state is not HealthState.HEALTHY
        ]
        if (status, *broken) != self._logged:
            self._logged = (status, *broken)
            left = max(0.0, schedule.left())
            self.log.info("%s (%.0f s waited, %.0f s left)", report.message, schedule.waited, left)
