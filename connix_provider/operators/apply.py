"""Keep agents as they are declared, in a DAG or in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.base_operator import PollingOperator
from connix_provider.values import check_flag

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.rendering import Renderer

__all__ = ["ConnixApplyAgentsOperator"]


class ConnixApplyAgentsOperator(PollingOperator):
    """
    Keep agents as they are declared: create, update, start, pause, stop and delete what differs.

    An agent is found by its name. An absent agent is created once, although responses are lost and tasks are
    retried. Of an agent that exists only the fields that differ are sent, and nothing if none does; its other
    fields stay. Then the agent is brought to its declared state. The task waits on its worker until every
    agent is settled; it is not deferrable. A failure of one agent does not stop the others.

    The task logs its plan as a diff, and returns it as plain JSON: ``owner``, ``project_id``, ``summary``,
    ``changes``, ``unchanged``, ``diff`` (the text) and, except for a dry run, ``agents`` with the id of each
    declared name. Neither holds a value of ``system_prompt`` or ``environment_variables``.

    :param spec: the declaration: ``{"agents": [...], "defaults": {...}}``, the list alone, or the path of a
        YAML or JSON file with either, local or a URL of Airflow's ``ObjectStoragePath``. An agent has a
        ``name`` and any of ``description``, ``config``, ``metadata`` and ``state`` (``running``, ``paused``
        or ``stopped``; without one, the state is left to others). Templates are rendered in the file, too
    :param owner: whose agents they are. It is written to the metadata of the agents that the task creates;
        default the DAG's id and the task's. An owner of the DAG's ``default_args`` does not count
    :param prune: whether to delete agents that an earlier apply of the same owner created, and that are no
        longer declared; default no
    :param dry_run: whether to return the plan and change nothing; default no
    :param plan: the result of a dry run of the same spec, to carry out. If the spec or one of its agents
        changed since, the task fails and changes nothing
    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param wait_for_completion: whether to wait until the agents have settled; otherwise the task ends when
        the service has accepted the last request of each agent
    :param poll_interval: seconds between two polls of an agent, or a timedelta; 1 s or more
    :param timeout: seconds, or a timedelta, for the whole task, rate limits included
    """

    template_fields: Sequence[str] = (*PollingOperator.template_fields, "spec", "prune", "dry_run", "plan")
    template_fields_renderers: ClassVar[dict[str, str]] = {"spec": "json", "plan": "json"}
    flag_fields: ClassVar[tuple[str, ...]] = ("wait_for_completion", "prune", "dry_run")

    def __init__(
        self,
        *,
        spec: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | PathLike[str],
        owner: str | None = None,
        prune: bool = False,
        dry_run: bool = False,
        plan: Mapping[str, Any] | None = None,
        project_id: str | None = None,
        connix_conn_id: str = ConnixHook.default_conn_name,
        wait_for_completion: bool = True,
        poll_interval: float | timedelta = 10.0,
        timeout: float | timedelta = 3600.0,
        **kwargs: Any,
    ) -> None:
        # Airflow has an owner of its own for each task; without one here it keeps its default.
        owned: dict[str, Any] = {} if owner is None else {"owner": owner}
        super().__init__(
            project_id=project_id,
            connix_conn_id=connix_conn_id,
            poll_interval=poll_interval,
            timeout=timeout,
            **owned,
            **kwargs,
        )
        self.wait_for_completion = wait_for_completion
        self.spec = spec
        self.prune = prune
        # Airflow has a method of this name, for the command line alone.
        self.dry_run = dry_run  # type: ignore[method-assign,assignment]
        self.plan = plan

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render the templates, and register the secrets before Airflow logs or stores a value."""
        from connix_provider.operators._apply import spec_templates

        # Before rendering as well, because Airflow logs the declaration as written if a template fails.
        spec_templates.hidden(getattr(parent, "spec", None))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if parent is self:
            self.spec = spec_templates.hidden(self.spec)

    def render_field(self, field: str, value: Any, renderer: Renderer) -> Any:
        """
        Render one field. In the declaration, fields that the reference documents as text stay text.

        :param field: the field's name
        :param value: its value in the DAG file
        :param renderer: the renderer
        :return: the rendered value
        """
        from connix_provider.operators._apply import spec_templates

        if field != "spec":
            return super().render_field(field, value, renderer)
        return spec_templates.rendered(value, renderer)

    def error_fields(self) -> dict[str, Any]:
        """Return the action, for messages."""
        return {"verb": "apply", "subject": "Could not apply the agents"}

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Make the plan, and carry it out.

        :param context: Airflow's context
        :return: the plan, with the ids of the agents
        :raises ValueError: for a declaration or a plan that cannot be carried out, before anything is changed
        :raises ConnixAgentError: if an agent does not get into its declared state
        :raises ConnixError: if the service refuses a request
        """
        from connix_provider.operators._apply.task import apply_agents

        self.check()
        return apply_agents(
            self,
            context,
            spec=self.spec,
            prune=self.prune,
            dry_run=check_flag("dry_run", self.dry_run),
            plan=self.plan,
        )
