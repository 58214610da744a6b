"""Delete agents that ended task runs left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.base_operator import ConnixBaseOperator
from connix_provider.selector import AgentSelector

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


__all__ = ["ConnixDeleteOrphanedAgentsOperator"]


class ConnixDeleteOrphanedAgentsOperator(ConnixBaseOperator):
    """
    Delete the agents that ended task runs of this Airflow deployment left behind.

    A create writes a key of its task run to the metadata of its agent. An agent is orphaned if the key names
    a run of this deployment that is in ``success`` or ``failed``, with no task instance under way, and if the
    agent is older than ``older_than``. Agents of other deployments, of an apply, with another key or without
    one are never touched. An agent whose run cannot be judged is kept.

    By default this is a dry run. The project is listed; each agent that may be orphaned costs a Get, and is
    judged again right before its delete. An error of one agent does not stop the others; the task then fails
    with that error, or with one that names all. Reference: "List Agents", "Get Agent", "Delete Agent".

    :param older_than: seconds, or a timedelta, since the agent was created; a younger agent is kept. Default
        one day
    :param dry_run: whether to report what would be deleted and change nothing; default yes
    :param agents: only these agents, an :class:`~connix_provider.selector.AgentSelector` or a mapping with
        its names; default all of the project
    :param on_missing_run: ``keep`` (default) keeps agents of runs that Airflow does not know. ``delete``
        counts such a run as ended, and needs ``[connix] deployment_id``
    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param timeout: seconds, or a timedelta, for the whole task, rate limits included; default 3600
    """

    template_fields: Sequence[str] = (
        *ConnixBaseOperator.template_fields,
        "older_than",
        "dry_run",
        "agents",
        "on_missing_run",
    )
    text_fields: ClassVar[tuple[str, ...]] = (*ConnixBaseOperator.text_fields, "on_missing_run")
    selector_fields: ClassVar[tuple[str, ...]] = ("agents",)
    ui_color = "#f4e6e6"

    def __init__(
        self,
        *,
        older_than: float | timedelta = 86400.0,
        dry_run: bool = True,
        agents: AgentSelector | Mapping[str, Any] | None = None,
        on_missing_run: str = "keep",
        project_id: str | None = None,
        connix_conn_id: str = ConnixHook.default_conn_name,
        timeout: float | timedelta = 3600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(project_id=project_id, connix_conn_id=connix_conn_id, timeout=timeout, **kwargs)
        self.older_than = older_than
        # Airflow has a method of this name, for the command line alone.
        self.dry_run = dry_run  # type: ignore[method-assign,assignment]
        self.agents = agents
        self.on_missing_run = on_missing_run

    def error_fields(self) -> dict[str, Any]:
        """Return the action, for messages."""
        return {"subject": "Could not look for orphaned agents"}

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Delete the orphaned agents, or report them.

        :param context: Airflow's context
        :return: plain JSON: ``project_id``, ``dry_run``, ``summary`` (the number of each outcome), ``agents``
            (by id: ``name``, ``outcome``, ``reason``, ``task_run``, ``age`` in seconds) and ``others`` (the
            number of agents that no task run of this deployment created, by reason). An outcome is
            ``deleted``, ``would_delete``, ``gone``, ``kept`` or ``failed``
        :raises ValueError: for a wrong parameter, before anything is sent
        :raises ConnixError: if the service refuses a request
        :raises ConnixAgentFailedError: if several agents could not be deleted
        """
        from connix_provider.operators._orphans.task import delete_orphans

        return delete_orphans(
            self,
            context,
            older_than=self.older_than,
            dry_run=self.dry_run,
            agents=self.agents,
            on_missing_run=self.on_missing_run,
        )
