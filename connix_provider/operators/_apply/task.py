"""Run a task that applies a declaration of agents: read it, plan, check a saved plan, carry the plan out."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from connix_provider.operators._apply.plan import ApplyPlan, check_saved_plan, make_plan
from connix_provider.operators._apply.run import ApplyRun, agent_key
from connix_provider.operators._apply.spec_templates import read_declaration
from connix_provider.operators._base.combined_error import combined_error
from connix_provider.operators._base.error_context import completing_errors
from connix_provider.operators._base.identity import IDENTITY_FIELD
from connix_provider.params import check_name
from connix_provider.polling.clock import SteadyClock
from connix_provider.polling.worker_loop import PollingSession
from connix_provider.rendering import Renderer

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.operators._base.base_operator import PollingOperator

__all__ = ["apply_agents"]


def apply_agents(
    task: PollingOperator, context: Context, *, spec: Any, prune: bool, dry_run: bool, plan: Any
) -> dict[str, Any]:
    """
    Apply the declaration of a task.

    :param task: the task, whose parameters are checked
    :param spec: the rendered declaration, or the path of a file
    :param prune: whether to delete agents of the owner that are no longer declared
    :param dry_run: whether to return the plan and change nothing
    :param plan: a saved plan, or ``None``
    :return: the plan as JSON, with the ids of the agents unless it was a dry run
    :raises ValueError: for a declaration or a plan that cannot be carried out
    :raises ConnixAgentError: if an agent does not get into its declared state
    :raises ConnixError: if the service refuses a request
    """
    specs = read_declaration(task, context, spec)
    if plan is not None:
        check_saved_plan(plan)
    owner = _owner_of_agents(task, context, prune=prune)
    task.clock = SteadyClock()
    deadline = time.time() + task.seconds_allowed
    connect = partial(PollingSession, deadline=deadline)
    with task.open_connection(connect) as (hook, project_id, polling_session):
        with completing_errors(hook, project_id, task.error_fields):
            made = make_plan(polling_session.client, project_id, specs, owner, prune=prune)
        if plan is not None:
            _check_saved(task, made, plan, context)
        result = made.to_json()
        task.log.info("%s", result["diff"])
        if dry_run:
            task.log.info("Nothing is changed, because this is a dry run.")
            return result
        run = ApplyRun(task, hook, polling_session, made, context, deadline)
        try:
            errors = run.carry_out()
            if not errors:
                run.records.store.delete()
        finally:
            run.records.store.clean_up_after_last_try()
    if errors:
        raise combined_error(errors, f"{len(errors)} of {len(made.agents)} agents are not as declared.")
    task.log.info("The agents of owner %r are as declared.", owner)
    return {**result, "agents": run.agent_ids}


def _check_saved(task: PollingOperator, made: ApplyPlan, saved: Any, context: Context) -> None:
    is_own = {
        change.name: change.agent.metadata.get(IDENTITY_FIELD) == agent_key(context, change.name)
        for change in made.agents
        if change.agent
    }
    made.check_saved(saved, is_own=is_own, may_have_sent=task.may_have_sent(context))


def _owner_of_agents(task: PollingOperator, context: Context, *, prune: bool) -> str:
    """Return the task's owner, unless it is one that Airflow or the DAG gives to every task."""
    general = [conf.get("operators", "default_owner", fallback="airflow")]
    if task.has_dag():  # type: ignore[no-untyped-call]
        general.append((task.dag.default_args or {}).get("owner"))
    if task.owner not in general:
        # Here, because Airflow lets no operator make a template field of its owner.
        renderer = Renderer(task, context, task.get_template_env(), set())
        return check_name("owner", renderer.as_text(task.owner))
    if prune and getattr(context.get("ti"), "map_index", -1) != -1:
        raise ValueError(
            "prune needs an owner in a mapped task, because otherwise each of its task instances would "
            "delete the agents of the others: give owner, and not the one of the DAG's default_args"
        )
    return f"{task.dag_id}.{task.task_id}"
