"""The operator that measures the health of an agent once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from connix_provider.agent_lookup import resolve_agent_id
from connix_provider.exceptions import ConnixAgentUnhealthyError
from connix_provider.health import HealthPolicy, HealthReport, HealthState
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.base_operator import ConnixBaseOperator
from connix_provider.operators._base.error_context import completing_errors
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.values import quoted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["ConnixCheckAgentHealthOperator"]

#: The states that fail the task, by ``fail_on``.
_FAILING = {
    None: frozenset[HealthState](),
    "unhealthy": frozenset({HealthState.UNHEALTHY}),
    "unknown": frozenset({HealthState.UNHEALTHY, HealthState.UNKNOWN}),
}


class ConnixCheckAgentHealthOperator(ConnixBaseOperator):
    """
    Measure the health of an agent once, and return the report.

    The measurement costs one Get, and a metrics and a logs request if a check needs them. The report is plain
    JSON: ``state`` (``healthy``, ``unhealthy`` or ``unknown``), ``message``, ``agent_id``, ``agent_name``,
    ``project_id``, ``status``, ``measured_at``, ``window`` and ``checks``, each with ``name``, ``state``,
    ``limit``, ``value`` and ``reason``.

    :param health: the limits, a :class:`~connix_provider.health.HealthPolicy` or a mapping with its names
    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param fail_on: ``unhealthy`` (default) fails the task if the agent is unhealthy, ``unknown`` also if its
        health is unknown; with ``None`` every report is a success
    :param timeout: seconds, or a timedelta, for the requests, retries and rate limits included; default 300
    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    """

    template_fields: Sequence[str] = (
        *ConnixBaseOperator.template_fields,
        "health",
        "agent_id",
        "agent_name",
        "fail_on",
    )
    ui_color = "#e4f2ea"

    def __init__(
        self,
        *,
        health: HealthPolicy | Mapping[str, Any],
        agent_id: str | None = None,
        agent_name: str | None = None,
        fail_on: str | None = "unhealthy",
        timeout: float | timedelta = 300.0,
        project_id: str | None = None,
        connix_conn_id: str = ConnixHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(project_id=project_id, connix_conn_id=connix_conn_id, timeout=timeout, **kwargs)
        self.health = health
        self.agent_id = agent_id
        self.agent_name = agent_name
        self.fail_on = fail_on

    def error_fields(self) -> dict[str, Any]:
        """Return the action and the agent, for messages."""
        return {"verb": "check the health of", "agent_id": self.agent_id, "agent_name": self.agent_name}

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Measure the agent's health.

        :param context: Airflow's context
        :return: the report as JSON
        :raises ConnixAgentUnhealthyError: if ``fail_on`` says so
        """
        report, last_errors, link = self._measure()
        if report.state in _FAILING[self.fail_on]:
            suffix = AgentRef(report.agent_id, report.agent_name, report.project_id, link).context_suffix
            raise ConnixAgentUnhealthyError(
                f"{report.message} Correct the agent or the limits of health, then clear the task{suffix}.",
                agent_id=report.agent_id,
                agent_name=report.agent_name,
                project_id=report.project_id,
                status=report.status,
                last_errors=last_errors,
            )
        self.log.info("%s", report.message)
        return report.to_json()

    def _measure(self) -> tuple[HealthReport, tuple[str, ...], str]:
        """Return the report, the agent's last errors if the report fails the task, and the agent's link."""
        from connix_provider.polling.last_errors import read_last_errors
        from connix_provider.polling.measurement import measure

        self.check()
        policy = HealthPolicy.of(self.health)
        if self.fail_on not in list(_FAILING):
            raise ValueError(f"fail_on must be 'unhealthy', 'unknown' or None, not {quoted(self.fail_on)}")
        deadline = time.time() + self.seconds_allowed
        with (
            self.open_connection(ConnixHook.get_conn) as (hook, project_id, connection),
            completing_errors(hook, project_id, self.error_fields),
        ):
            client = connection.with_options(deadline=deadline)
            agent_id = resolve_agent_id(client, project_id, self.agent_id, self.agent_name)
            agent = client.agents.get(project_id, agent_id)
            report = client.run_flow(measure(client, policy, project_id, agent_id, agent=agent))
            link = hook.agent_url(project_id, agent_id)
            if report.state not in _FAILING[self.fail_on]:
                return report, (), link
            reading = read_last_errors(client, project_id, agent_id, agent=agent, task_log=self.log)
            return report, client.run_flow(reading), link
