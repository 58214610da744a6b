"""The trigger that waits for the health of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from connix_provider.health import HealthPolicy
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings
from connix_provider.triggers.base import WaitTrigger

if TYPE_CHECKING:
    from connix_provider.polling.poll_result import PollResult

__all__ = ["ConnixAgentHealthTrigger"]


class ConnixAgentHealthTrigger(WaitTrigger):
    """
    Wait until agents are healthy at the same time.

    The agents' statuses come from the watcher that all waits of a triggerer share. Metrics and logs are read
    for each agent, only if the policy needs them.

    :param project_id: the project
    :param agents: the agents: ``agent_id``, and its polls, from :meth:`HealthPoller.trigger_arguments
        <connix_provider.polling.health_poller.HealthPoller.trigger_arguments>`
    :param health: the policy, from :meth:`HealthPolicy.to_json <connix_provider.health.HealthPolicy.to_json>`
    :param needed: how many agents must be healthy; default all
    :param healthy_for: seconds for which polls must show a healthy agent without a change
    :param on_unknown: ``wait``, or ``fail``: an agent of unknown health counts as failed
    :param poll_interval: seconds between two polls of an agent, default 60
    :param exponential_backoff: whether the interval doubles from poll to poll
    :param max_wait: the longest interval with ``exponential_backoff``, in seconds
    :param silent_fail: whether only success and the deadline end the wait, as with Airflow's sensors
    :param deadline: epoch seconds at which the wait fails; default one hour after the trigger first runs
    :param began_at: epoch seconds at which the task began; default when the trigger first runs
    :param first_poll_at: epoch seconds of the first polls
    :param connix_conn_id: the Airflow connection
    """

    goal_phrase = " to be healthy"

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
        super().__init__(
            poll_interval=poll_interval,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            silent_fail=silent_fail,
            deadline=deadline,
            began_at=began_at,
            first_poll_at=first_poll_at,
            connix_conn_id=connix_conn_id,
        )
        self.project_id = project_id
        self.agents = agents
        self.health = health
        self.needed = needed
        self.healthy_for = healthy_for
        self.on_unknown = on_unknown

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
                **self.stored_times(),
            },
        )

    async def poll_until_done(
        self, settings: WaitSettings, first_poll_at: float
    ) -> tuple[PollResult, dict[str, Any]]:
        """
        Wait until enough agents are healthy.

        :param settings: the settings of the wait
        :param first_poll_at: epoch seconds of the first polls
        :return: how the wait ended, and ``summary`` as :meth:`HealthGroup.summary
            <connix_provider.polling.health_group.HealthGroup.summary>` makes it
        :raises ValueError: for an invalid argument
        """
        from connix_provider.polling.health_group import HealthGroup
        from connix_provider.polling.health_loop import poll_group_until_done_async

        group = HealthGroup(
            HealthPolicy.of(self.health),
            settings,
            needed=self.needed,
            healthy_for=self.healthy_for,
            fails_on_unknown=self.on_unknown == "fail",
        )
        for agent in self.agents:
            group.add(agent["agent_id"], WaitProgress.from_json(agent))
        poll_result = await poll_group_until_done_async(
            self.connix_conn_id, group, first_poll_at=first_poll_at
        )
        return poll_result, {"summary": group.summary()}

    def last_seen(self) -> tuple[AgentRef, str | None]:
        """
        Return the agent that an error is about.

        :return: the first agent, without a status
        """
        first = self.agents[0]
        return AgentRef(str(first["agent_id"]), first.get("agent_name"), self.project_id), None
