"""
The trigger that waits for the health of agents.

Invariants:

- The class path never moves, and parameters are only added, because Airflow stores both in its database.
- No parameter is a secret, because Airflow stores them in clear. The trigger gets the connection's id and no
  key.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from connix_provider.health import HealthPolicy

if TYPE_CHECKING:
    from connix_provider.polling.health_group import HealthGroup
    from connix_provider.polling.poll_result import PollResult

__all__ = ["ConnixAgentHealthTrigger"]


class ConnixAgentHealthTrigger(BaseTrigger):
    """
    Wait until agents are healthy at the same time.

    The agents' statuses come from the watcher that all waits of a triggerer share. Metrics and logs are read
    for each agent, only if the policy needs them.

    :param project_id: the project
    :param agents: the agents: ``agent_id``, and what the worker found, from :meth:`HealthPoller.handover
        <connix_provider.polling.health_poller.HealthPoller.handover>`
    :param health: the policy, from :meth:`HealthPolicy.to_json <connix_provider.health.HealthPolicy.to_json>`
    :param needed: how many agents must be healthy; default all
    :param healthy_for: seconds for which polls must show a healthy agent without a change
    :param on_unknown: ``wait``, or ``fail``: an agent of unknown health counts as lost
    :param poll_interval: seconds between two polls of an agent, default 60
    :param exponential_backoff: whether the interval doubles from poll to poll
    :param max_wait: the longest interval with ``exponential_backoff``, in seconds
    :param silent_fail: whether only success and the deadline end the wait, as with Airflow's sensors
    :param deadline: epoch seconds at which the wait fails; default one hour after the trigger first runs
    :param began_at: epoch seconds at which the task began; default when the trigger first runs
    :param first_poll_at: epoch seconds of the first polls
    :param connix_conn_id: the Airflow connection
    """

    def __init__(
        self,
        project_id: str,
        agents: Sequence[Mapping[str, Any]],
        health: Mapping[str, Any],
        *,
        needed: int | None = None,
        healthy_for: float = 0.0,
        on_unknown: str = "wait",
        poll_interval: float = 60.0,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        silent_fail: bool = False,
        deadline: float | None = None,
        began_at: float | None = None,
        first_poll_at: float | None = None,
        connix_conn_id: str = "connix_default",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.project_id = project_id
        self.agents = agents
        self.health = health
        self.needed = needed
        self.healthy_for = healthy_for
        self.on_unknown = on_unknown
        self.poll_interval = poll_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.silent_fail = silent_fail
        self.deadline = deadline
        self.began_at = began_at
        self.first_poll_at = first_poll_at
        self.connix_conn_id = connix_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return the class path and the arguments, which Airflow stores in its database.

        :return: path and arguments
        """
        return (
            "connix_provider.triggers.health.ConnixAgentHealthTrigger",
            {
                "project_id": self.project_id,
                "agents": [dict(agent) for agent in self.agents],
                "health": dict(self.health),
                "needed": self.needed,
                "healthy_for": self.healthy_for,
                "on_unknown": self.on_unknown,
                "poll_interval": self.poll_interval,
                "exponential_backoff": self.exponential_backoff,
                "max_wait": self.max_wait,
                "silent_fail": self.silent_fail,
                "deadline": self.deadline,
                "began_at": self.began_at,
                "first_poll_at": self.first_poll_at,
                "connix_conn_id": self.connix_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait, and yield one event with the result.

        :return: the event: a :class:`~connix_provider.polling.poll_result.PollResult`, ``deadline``, and
            ``summary`` as :meth:`HealthGroup.summary
            <connix_provider.polling.health_group.HealthGroup.summary>` makes it
        """
        poll_result, summary = await self._wait()
        # With the deadline, because dag.test() drops the arguments of the method that resumes the task.
        yield TriggerEvent({**poll_result.to_event(), "deadline": self.deadline, "summary": summary})

    async def _wait(self) -> tuple[PollResult, dict[str, Any] | None]:
        from connix_provider.polling.preload import preload

        await preload()
        from connix_provider.client import ConnixError
        from connix_provider.hooks.diagnosis import with_subject
        from connix_provider.polling.agent_ref import AgentRef
        from connix_provider.polling.health_group import poll_group_until_done_async
        from connix_provider.polling.poll_result import PollResult

        first = self.agents[0]
        agent = AgentRef(str(first["agent_id"]), first.get("agent_name"), self.project_id)
        try:
            group = self._group()
            # At most one interval from now, because the clocks of worker and triggerer may differ.
            first_poll_at = min(self.first_poll_at or 0.0, time.time() + self.poll_interval)
            poll_result = await poll_group_until_done_async(
                self.connix_conn_id, group, first_poll_at=first_poll_at
            )
            return poll_result, group.summary()
        except (ConnixError, ValueError) as error:
            # In the event, because otherwise Airflow only reports that the trigger failed.
            named = with_subject(error, f"Could not wait for agent {agent} to be healthy")
            return PollResult.refused(agent, None, named), None

    def _group(self) -> HealthGroup:
        from connix_provider.params import check_flag, check_seconds
        from connix_provider.polling.health_group import HealthGroup

        group = HealthGroup(
            HealthPolicy.of(self.health),
            needed=self.needed,
            healthy_for=self.healthy_for,
            fails_on_unknown=self.on_unknown == "fail",
            poll_interval=check_seconds("poll_interval", self.poll_interval),
            deadline=time.time() + 3600.0 if self.deadline is None else self.deadline,
            project_id=self.project_id,
            connix_conn_id=self.connix_conn_id,
            exponential_backoff=check_flag("exponential_backoff", self.exponential_backoff),
            max_wait=self.max_wait,
            silent_fail=check_flag("silent_fail", self.silent_fail),
            began_at=self.began_at,
            is_resumed=self.began_at is not None,
            log=self.log,
        )
        for agent in self.agents:
            group.add(**agent)
        return group
