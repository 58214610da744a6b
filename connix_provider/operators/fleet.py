"""Act on many agents without an outage, and delete those that ended task runs left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.base_operator import PollingOperator
from connix_provider.operators._orphans.operator import ConnixDeleteOrphanedAgentsOperator
from connix_provider.task_parameters import DEFERRABLE_BY_DEFAULT
from connix_provider.values import quoted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.health import HealthPolicy
    from connix_provider.operators._fleet.settings import FleetSettings
    from connix_provider.selector import AgentSelector

__all__ = ["ConnixDeleteOrphanedAgentsOperator", "ConnixFleetOperator"]

#: What each event of the trigger holds.
_EVENT_FIELDS = frozenset({"results", "waits", "deadline", "progress_at", "limit_reason"})


class ConnixFleetOperator(PollingOperator):
    """
    Restart, start, stop, pause or delete many agents, a few at a time.

    The vocabulary is that of Nomad's ``update`` block and of Kubernetes. An agent that was unavailable before
    is acted on first, and counts against ``max_unavailable``. When more agents failed than ``max_failures``
    allows, no further agent is touched, and those under way are awaited. Agents that are done are not acted
    on again: not after a lost response, nor in a retry, nor after a clear of a run that failed.

    The task returns plain JSON: ``action``, ``project_id``, ``summary`` (numbers of ``done``, ``failed`` and
    ``not_touched``) and ``agents``: by id ``name``, ``result`` and ``reason``.

    :param action: ``restart``, ``start``, ``stop``, ``pause`` or ``delete``
    :param agents: an :class:`~connix_provider.selector.AgentSelector` or a mapping with its names. The agents
        are selected once, when the task starts
    :param max_unavailable: how many agents may be unavailable at the same time, a number or a percentage such
        as ``"10%"``, rounded down but at least 1; default 1. For ``stop``, ``pause`` and ``delete``: how many
        are under way
    :param canary: how many agents are acted on first, before all others, a number or a percentage; default 0
    :param min_healthy_time: seconds, or a timedelta, for which an agent must run (and meet ``health``) before
        it counts as available; default 0; shorter than ``healthy_deadline``
    :param healthy_deadline: seconds, or a timedelta, from an action until its agent must be available;
        default 600
    :param progress_deadline: seconds, or a timedelta, within which some agent must become available;
        otherwise no further agent is touched. Default: ``timeout`` alone counts
    :param max_failures: how many agents may fail, a number or a percentage; default 0. Up to there the task
        succeeds, and names them in its log and result
    :param health: a :class:`~connix_provider.health.HealthPolicy`, or a mapping with its names, that an agent
        must meet before it counts as available; default: its status alone
    :param order: ``created_at`` (default), ``name`` or ``last_activity``, with ``-`` in front for the reverse
    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param poll_interval: seconds between two polls of an agent, or a timedelta; 1 s or more; default 5
    :param timeout: seconds, or a timedelta, for the whole task, rate limits included; default one day
    :param deferrable: whether to wait in the triggerer, without a worker slot; default
        ``operators.default_deferrable`` of Airflow's configuration
    """

    template_fields: Sequence[str] = (
        *PollingOperator.template_fields,
        "action",
        "agents",
        "max_unavailable",
        "canary",
        "max_failures",
        "health",
        "order",
    )
    text_fields: ClassVar[tuple[str, ...]] = (
        *PollingOperator.text_fields,
        "action",
        "max_unavailable",
        "canary",
        "max_failures",
        "order",
    )
    selector_fields: ClassVar[tuple[str, ...]] = ("agents",)
    flag_fields: ClassVar[tuple[str, ...]] = ("deferrable",)

    def __init__(
        self,
        *,
        action: Literal["restart", "start", "stop", "pause", "delete"],
        agents: AgentSelector | Mapping[str, Any],
        max_unavailable: int | str = 1,
        canary: int | str = 0,
        min_healthy_time: float | timedelta = 0.0,
        healthy_deadline: float | timedelta = 600.0,
        progress_deadline: float | timedelta | None = None,
        max_failures: int | str = 0,
        health: HealthPolicy | Mapping[str, Any] | None = None,
        order: str = "created_at",
        project_id: str | None = None,
        connix_conn_id: str = ConnixHook.default_conn_name,
        poll_interval: float | timedelta = 5.0,
        timeout: float | timedelta = 86400.0,
        deferrable: bool = DEFERRABLE_BY_DEFAULT,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            project_id=project_id,
            connix_conn_id=connix_conn_id,
            poll_interval=poll_interval,
            timeout=timeout,
            **kwargs,
        )
        self.deferrable = deferrable
        self.action = action
        self.agents = agents
        self.max_unavailable = max_unavailable
        self.canary = canary
        self.min_healthy_time = min_healthy_time
        self.healthy_deadline = healthy_deadline
        self.progress_deadline = progress_deadline
        self.max_failures = max_failures
        self.health = health
        self.order = order

    def error_fields(self) -> dict[str, Any]:
        """Return the action, for messages."""
        return {"verb": str(self.action), "subject": f"Could not {self.action} the agents"}

    def check(self) -> None:
        """Check the parameters, before any request."""
        super().check()
        self._settings()

    def _settings(self) -> FleetSettings:
        from connix_provider.operators._fleet.settings import FleetSettings

        return FleetSettings.of(
            action=self.action,
            agents=self.agents,
            order=self.order,
            max_unavailable=self.max_unavailable,
            canary=self.canary,
            max_failures=self.max_failures,
            health=self.health,
            min_healthy_time=self.min_healthy_time,
            healthy_deadline=self.healthy_deadline,
            progress_deadline=self.progress_deadline,
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Act on the agents.

        :param context: Airflow's context
        :return: the result by agent
        :raises ValueError: for an invalid parameter, or a selection of nothing
        :raises ConnixFleetError: if more agents failed than may, or some were not touched
        :raises ConnixError: if the service refuses the key
        """
        from connix_provider.operators._fleet.task import run_fleet

        self.check()
        return run_fleet(self, self._settings(), context)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """
        Go on with the event of a trigger.

        :param context: Airflow's context
        :param event: the trigger's event
        :return: the result by agent
        :raises ValueError: for an event of another kind
        :raises ConnixFleetError: if more agents failed than may, or some were not touched
        """
        from connix_provider.operators._fleet.task import run_fleet

        self.check()
        if not isinstance(event, Mapping) or not event.keys() >= _EVENT_FIELDS:
            raise ValueError(f"the task was resumed with {quoted(event)}, not with an event of its trigger")
        return run_fleet(self, self._settings(), context, event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume the task, and explain Airflow's own timeout of a deferral.

        :param next_method: the method to call
        :param next_kwargs: its arguments
        :param context: Airflow's context
        :return: the result of the method
        :raises ConnixFleetError: if no triggerer went on with the run in time
        """
        from connix_provider.exceptions import ConnixFleetError
        from connix_provider.polling.deadlines import is_deferral_timeout, no_triggerer_message

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if not is_deferral_timeout(error):
                raise
            message = no_triggerer_message(self.seconds_allowed)
            raise ConnixFleetError(
                f"Could not {self.action} every agent. {message} A retry or a clear of this task continues "
                "with the agents that are not done."
            ) from None
