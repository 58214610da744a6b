"""The sensor that waits for the health of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import PokeReturnValue

from connix_provider.hooks.connix import ConnixHook
from connix_provider.sensors.base import ConnixSensor
from connix_provider.task_parameters import DEFERRABLE_BY_DEFAULT
from connix_provider.values import quoted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.health import HealthPolicy
    from connix_provider.polling.poll_result import PollResult
    from connix_provider.rendering import Renderer
    from connix_provider.selector import AgentSelector
    from connix_provider.sensors.health_wait import HealthSettings

__all__ = ["ConnixAgentHealthSensor"]


class ConnixAgentHealthSensor(ConnixSensor):
    """
    Wait until agents are healthy, on a worker (``poke``, ``reschedule``) or in the triggerer.

    Every mode ends the same way: with success when enough agents are healthy at the same time, with
    :class:`~connix_provider.exceptions.ConnixAgentGoneError` or (``on_unknown="fail"``)
    :class:`~connix_provider.exceptions.ConnixAgentUnhealthyError` when too few are left that could be, and
    with :class:`~connix_provider.exceptions.ConnixAgentTimeoutError` at the deadline, whose message holds the
    last report. ``soft_fail`` skips only the timeout. An unhealthy agent and transient errors do not end the
    wait, but a refused key does.

    :param health: the limits, a :class:`~connix_provider.health.HealthPolicy` or a mapping with its names
    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param agents: instead of both: an :class:`~connix_provider.selector.AgentSelector` or a mapping with its
        names. The agents are selected once, when the task starts
    :param at_least: for ``agents``: how many must be healthy, a number or a percentage such as ``"80%"``, of
        which a fraction counts as one more; default all
    :param healthy_for: seconds, or a timedelta, for which polls must show a healthy agent without a change;
        default 0. In reschedule mode the sensor keeps its worker slot meanwhile
    :param on_unknown: ``wait`` (default), or ``fail``: an agent of unknown health counts as failed
    :param project_id: the project; default the connection's ``project_id``
    :param stream_agent_logs: whether new lines of the agents' log go into the task's log during the wait;
        default no. Costs a request of the rate limit on Get Agent Logs for each poll. In reschedule mode, an
        Airflow before 3.3 keeps the worker slot
    :param connix_conn_id: the Airflow connection
    :param deferrable: whether to wait in the triggerer, without a worker slot; default
        ``operators.default_deferrable`` of Airflow's configuration

    The sensor returns the agent's id. With ``agents`` it returns the number of ``agents`` and of ``healthy``
    ones, and the ids of the first 100 that are ``not_healthy`` and of the first 100 that are
    ``not_measured``, because no poll of them succeeded. ``poke_interval`` (1 second or more), ``timeout``,
    ``mode``, ``soft_fail``, ``exponential_backoff`` and the rest are those of Airflow's
    ``BaseSensorOperator``, in the triggerer too.
    """

    template_fields: Sequence[str] = (
        "health",
        "agent_id",
        "agent_name",
        "agents",
        "at_least",
        "on_unknown",
        "project_id",
        "connix_conn_id",
    )

    def __init__(
        self,
        *,
        health: HealthPolicy | Mapping[str, Any],
        agent_id: str | None = None,
        agent_name: str | None = None,
        agents: AgentSelector | Mapping[str, Any] | None = None,
        at_least: int | str | None = None,
        healthy_for: float | timedelta = 0.0,
        on_unknown: str = "wait",
        project_id: str | None = None,
        stream_agent_logs: bool = False,
        connix_conn_id: str = ConnixHook.default_conn_name,
        deferrable: bool = DEFERRABLE_BY_DEFAULT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.health = health
        self.agent_id = agent_id
        self.agent_name = agent_name
        self.agents = agents
        self.at_least = at_least
        self.healthy_for = healthy_for
        self.on_unknown = on_unknown
        self.project_id = project_id
        self.stream_agent_logs = stream_agent_logs
        self.connix_conn_id = connix_conn_id
        self.deferrable = deferrable

    def render_field(self, field: str, value: Any, renderer: Renderer) -> Any:
        """
        Render one field; texts of a selector stay text.

        :param field: the field's name
        :param value: its value in the DAG file
        :param renderer: the renderer
        :return: the rendered value
        """
        if field in {"at_least", "on_unknown"}:
            return renderer.as_text(value)
        if field == "agents":
            return renderer.as_selector(value)
        return super().render_field(field, value, renderer)

    def execute(self, context: Context) -> Any:
        """
        Wait for the agents' health.

        :param context: Airflow's context
        :return: the agent's id, or the numbers of agents
        :raises ValueError: for an invalid parameter or a selection of nothing
        :raises ConnixAgentUnhealthyError: if too few agents are left that could be healthy
        :raises ConnixAgentGoneError: if agents were deleted, so that too few are left
        :raises ConnixSensorTimeoutError: if the deadline passes
        :raises ConnixError: if the service refuses a request
        """
        from connix_provider.sensors.health_wait import wait_for_health

        poll_result, summary = wait_for_health(self, self._settings(), context)
        return summary if poll_result is None else self._end_group(poll_result, summary)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Send one poll for each agent. This is for unit tests; :meth:`execute` has a loop of its own.

        The poll is the first of a new wait, so with ``healthy_for`` it is never a success.

        :param context: Airflow's context, which is not used
        :return: success with the task's result, or ``False`` if the wait would continue
        """
        from connix_provider.sensors.health_wait import poll_health

        ended = poll_health(self, self._settings())
        if ended is None:
            return False
        poll_result, summary = ended
        agent_id = None if poll_result is None else self.finish(poll_result)
        return PokeReturnValue(True, agent_id if self.agents is None else summary)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        End the task with the result of its trigger.

        :param context: Airflow's context
        :param event: the trigger's event
        :return: the agent's id, or the numbers of agents
        :raises ValueError: for an event of another kind
        """
        poll_result = self.explain(event)
        summary = event.get("summary")
        if self.agents is not None and not isinstance(summary, Mapping):
            raise ValueError(f"the task was resumed with {quoted(event)}, not with an event of its trigger")
        return self._end_group(poll_result, summary)

    def _end_group(self, poll_result: PollResult, summary: Any) -> Any:
        agent_id = self.end(poll_result)
        return agent_id if self.agents is None else summary

    def _settings(self) -> HealthSettings:
        from connix_provider.sensors.health_wait import HealthSettings

        self.check_parameters()
        return HealthSettings.of(
            health=self.health,
            agent_id=self.agent_id,
            agent_name=self.agent_name,
            agents=self.agents,
            at_least=self.at_least,
            healthy_for=self.healthy_for,
            on_unknown=self.on_unknown,
        )
