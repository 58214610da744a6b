"""Run a task that acts on a fleet: select the agents, act, wait, and report the outcome."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from connix_provider.client.ratelimit.buckets import DOCUMENTED, Bucket
from connix_provider.exceptions import ConnixFleetError
from connix_provider.operators._base.error_context import completing_errors
from connix_provider.operators._fleet.plan import (
    FleetLimits,
    FleetMember,
    Progress,
    fleet_result,
    least_minutes,
)
from connix_provider.operators._fleet.run import FleetRun
from connix_provider.operators._fleet.store import FleetStore
from connix_provider.polling.deadlines import deferral_timeout
from connix_provider.polling.messages import join_first
from connix_provider.polling.selection import describe, select_agents
from connix_provider.polling.worker_loop import PollingSession
from connix_provider.statuses import AgentStatus
from connix_provider.triggers.fleet import ConnixFleetTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Agent
    from connix_provider.operators._base.base_operator import PollingOperator
    from connix_provider.operators._fleet.settings import FleetSettings

__all__ = ["run_fleet"]

#: Seconds before the next poll from which on the wait in the triggerer is worth a deferral.
_MIN_DEFERRAL = 0.5


def run_fleet(
    task: PollingOperator, settings: FleetSettings, context: Context, event: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """
    Act on the agents of a task.

    :param event: the event of the trigger that resumed the task
    :raises ConnixFleetError: if more agents failed than may, or some were not touched
    :raises ConnixError: if the service refuses the key
    """
    deadline = time.time() + task.seconds_allowed if event is None else event["deadline"]
    store = FleetStore(context)
    connect = partial(PollingSession, deadline=deadline, is_resumed=event is not None)
    with task.open_connection(connect) as (hook, project_id, polling_session):
        if store.read(settings.action, project_id, settings.selector_digest):
            if event is None:
                done = sum(member.progress is Progress.DONE for member in store.members)
                task.log.info(
                    "An earlier start of this task selected %d agents; %d of them are done.",
                    len(store.members),
                    done,
                )
        else:
            if store.members:
                task.log.info(
                    "The selector changed since an earlier start of this task, so the agents are selected "
                    "again. An agent that is done is not acted on again."
                )
            with completing_errors(hook, project_id, task.error_fields):
                members = _select(task, settings, polling_session, project_id, store.members)
            store.begin(members)
        if not store.members:
            store.mark_done()
            return fleet_result(settings.action, project_id, [])
        limits = settings.limits(store.total)
        if event is None:
            _log_start(task, settings, store, limits)
        run = FleetRun(settings, store, polling_session, project_id, task, deadline)
        if event is not None:
            run.resume(event)
        step = run.act()
        while not step.is_over or run.waits:
            # An action that the rate limit allows by now would otherwise wait for an agent under way.
            is_due = step.act_on and run.limited_until <= time.time()
            if task.deferrable and not is_due:
                _defer(task, settings, run, project_id, deadline)
            run.poll()
            step = run.act()
    result = fleet_result(settings.action, project_id, store.members)
    counts = result["summary"]
    if step.stop is None and not counts["not_touched"] and counts["failed"] <= limits.max_failures:
        store.mark_done()
        if counts["failed"]:
            task.log.warning("%s They are within max_failures.", _failures(store))
        task.log.info("%d of %d agents are done.", counts["done"], len(store.members))
        return result
    reason = f" No further agent was touched: {step.stop}." if step.stop else ""
    raise ConnixFleetError(
        f"Could not {settings.action} every agent: {counts['done']} of {len(store.members)} are done, "
        f"{counts['failed']} failed, {counts['not_touched']} were not touched.{reason} {_failures(store)} "
        "A retry or a clear of this task continues with those that are not done.",
        result=result,
    )


def _select(
    task: PollingOperator,
    settings: FleetSettings,
    polling_session: PollingSession,
    project_id: str,
    earlier: Iterable[FleetMember],
) -> list[FleetMember]:
    """Select the agents; ``earlier`` are those of a run with another selector."""
    selector = settings.agents
    deleted = [
        member
        for member in earlier
        if settings.action == "delete"
        and member.progress in {Progress.DONE, Progress.UNDER_WAY}
        and selector.may_select(member.agent_id, member.name)
    ]
    if deleted:
        # The service no longer shows these agents, and that is no mistake in the selector.
        selector = dataclasses.replace(selector, allow_empty=True)
    selected = polling_session.client.run_flow(select_agents(polling_session.client, selector, project_id))
    field = settings.order.removeprefix("-")
    ordered = sorted(selected, key=lambda agent: _key(agent, field), reverse=settings.order.startswith("-"))
    task.log.info("Selected %s.", describe(ordered))
    known = {member.agent_id for member in deleted}
    members = deleted + [
        FleetMember(
            agent.id,
            agent.name,
            is_available=not settings.ends_running or agent.status == AgentStatus.RUNNING,
        )
        for agent in ordered
        if agent.id not in known
    ]
    if members:
        # Refuses more canaries than agents before anything is kept.
        settings.limits(len(members))
    return members


def _key(agent: Agent, field: str) -> tuple[bool, Any]:
    value = getattr(agent, field, None)
    if field == "name":
        return True, value or ""
    # Agents without a moment come first: they were never active.
    return value is not None, value.timestamp() if value is not None else 0.0


def _log_start(
    task: PollingOperator, settings: FleetSettings, store: FleetStore, limits: FleetLimits
) -> None:
    left = sum(member.progress is not Progress.DONE for member in store.members)
    bucket = Bucket.DELETE if settings.action == "delete" else Bucket.ACTION
    task.log.info(
        "%s %d agents, at most %d unavailable at a time%s.",
        settings.progress_verb,
        left,
        limits.max_unavailable,
        f", the first {limits.canary} before all others" if limits.canary else "",
    )
    if minutes := least_minutes(left, DOCUMENTED[bucket]):
        task.log.info(
            "The rate limit of %d requests a minute makes it take at least %d min.",
            DOCUMENTED[bucket],
            minutes,
        )


def _defer(
    task: PollingOperator, settings: FleetSettings, run: FleetRun, project_id: str, deadline: float
) -> None:
    """Defer until a wait ends, or an action is allowed again; not for a moment."""
    wake_at = run.limited_until if run.limited_until > time.time() else None
    if wake_at is not None and wake_at - time.time() < _MIN_DEFERRAL:
        return
    awaited = f"{len(run.waits)} agents" if run.waits else "the rate limit"
    task.log.info("Waiting for %s in the triggerer.", awaited)
    task.defer(
        trigger=ConnixFleetTrigger(
            project_id,
            [wait.to_json() for wait in run.waits.values()],
            settings.policy.to_json(),
            wake_at=wake_at,
            deadline=deadline,
            progress_at=run.progress_at,
            limit_reason=run.limit_reason,
            connix_conn_id=task.connix_conn_id,
        ),
        method_name="execute_complete",
        timeout=deferral_timeout(deadline),
    )


def _failures(store: FleetStore) -> str:
    reasons = [member.reason for member in store.members if member.progress is Progress.FAILED]
    return f"Failed: {join_first(reasons, numbered=True)}" if reasons else ""
