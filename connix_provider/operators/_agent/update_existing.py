"""
Bring an agent that exists to the parameters of a task, and get it running.

Create does this with the agent of an earlier try and, with ``if_exists="update"``, with another agent of the
same name. Update does the first half.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

from connix_provider.agent_lookup import name_conflict
from connix_provider.client.errors import ConnixError
from connix_provider.client.redaction import SECRET_FIELDS
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._agent.actions import send_action
from connix_provider.operators._agent.diff import changed_fields, difference
from connix_provider.operators._base.busy_agent import AgentBusyError, raise_if_busy
from connix_provider.operators._base.identity import IDENTITY_FIELD, identity_key
from connix_provider.operators._base.sent_action import SentAction, Undo
from connix_provider.operators._base.task_state import ActionRecord, TaskRecordStore, recorded
from connix_provider.operators._once.create_once import find_created_agent
from connix_provider.operators._once.restart_once import restart_in_run
from connix_provider.poll_state import Sign, Snapshot
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.cancel_action import cancel_action
from connix_provider.statuses import DOWN, SETTLED, TRANSIENT, AgentStatus, status_phrase

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Agent, Client
    from connix_provider.operators._base.single_agent import SingleAgentOperator

__all__ = ["accepted_update", "apply_if_exists", "delete_created_agent", "update", "update_and_start"]

log = logging.getLogger(__name__)

#: Seconds for the delete of a failed agent, because the deadline of the task may have passed.
_DELETE_TIMEOUT = 20.0


def apply_if_exists(
    client: Client,
    project_id: str,
    agent: Agent,
    body: Mapping[str, Any],
    key: str,
    if_exists: str,
    context: Context,
) -> SentAction:
    """
    Apply ``if_exists`` to an agent of the same name that this task run did not create.

    :param agent: the agent, from Get Agent
    :param body: the parameters of the task, as the body of a request
    :param key: the identity key of this task run
    :param if_exists: ``fail``, ``adopt`` or ``update``
    :return: the action, with the goal of the wait
    :raises ConnixConflictError: for ``fail``
    """
    owner = agent.metadata.get(IDENTITY_FIELD)
    creator = f"the Airflow task run {owner}" if owner else "another client"
    found = (
        f"agent {agent.label} exists, is {status_phrase(agent.status)}, and was created by "
        f"{creator}, not by this task run ({key})"
    )
    if if_exists == "fail":
        raise name_conflict(f"{found}; give another name, or set if_exists to 'adopt' or 'update'", agent)
    if if_exists == "adopt":
        log.info("%s; if_exists='adopt' waits until it runs and changes nothing.", _sentence(found))
        return SentAction.of(agent, "create", accepted_at=time.time())
    log.info(
        "%s; if_exists='update' updates it to the task's parameters and gets it running.", _sentence(found)
    )
    return update_and_start(client, project_id, agent, body, context, undo=None)


def update_and_start(
    client: Client,
    project_id: str,
    agent: Agent,
    body: Mapping[str, Any],
    context: Context,
    *,
    undo: Undo | None,
    is_just_created: bool = False,
) -> SentAction:
    """
    Update the fields that differ, and start or restart an agent that does not run.

    :param agent: the agent, from Get Agent
    :param body: the parameters of the task, as the body of a request
    :param undo: the request of ``cancel_on_kill``
    :param is_just_created: whether this try created the agent, which then must become running by itself
    :return: the action, with the goal of the wait
    :raises AgentBusyError: if only the status in which the agent settles shows what it needs
    """
    changes, found_at = difference(body, agent), time.time()
    try:
        sent = _update_and_start(
            client, project_id, agent, changes, context, undo, is_just_created=is_just_created
        )
        return dataclasses.replace(sent, found_at=found_at)
    except AgentBusyError as busy:
        busy.undo, busy.found_at = undo, found_at
        # The update may have been executed, and then explains each later 409.
        busy.may_have_executed = busy.may_have_executed or bool(changes)
        raise


def _update_and_start(
    client: Client,
    project_id: str,
    agent: Agent,
    changes: Mapping[str, Any],
    context: Context,
    undo: Undo | None,
    *,
    is_just_created: bool,
) -> SentAction:
    existing, status = agent, agent.status
    if changes:
        with raise_if_busy(agent.id, "update"):
            agent = _send_update(client, project_id, existing, changes)
    else:
        log.info("Agent %s has the requested fields; nothing to update.", agent.label)
    if status == AgentStatus.UPDATING or (status not in SETTLED and not is_just_created):
        # Wait, because the settled status decides whether to start or restart the agent.
        raise AgentBusyError(agent.id, "start", before=agent.snapshot(), reason=f"it is {status}")
    if changes and status in DOWN | {AgentStatus.ERROR}:
        agent = _read_settled(client, project_id, agent, changes, status)
    if status == AgentStatus.ERROR:
        log.warning("Agent %s is in error; restarting it once.", agent.label)
        record_store = TaskRecordStore(context)
        record = record_store.read()
        known = record if record and record.agent_id == agent.id else None
        sent = restart_in_run(
            client,
            project_id,
            agent.id,
            record=known,
            record_store=record_store,
            read=lambda: agent,
        )
        return dataclasses.replace(sent, undo=undo)
    if status in DOWN:
        log.warning("Agent %s is %s; starting it.", agent.label, status)
        sent = send_action(client, project_id, agent, "start")
        return dataclasses.replace(sent, undo=undo or sent.undo)
    if changes:
        updated = accepted_update(existing, agent, changes, existing.snapshot())
        return dataclasses.replace(updated, goal="create", undo=undo)
    return SentAction.of(agent, "create", undo=undo, accepted_at=time.time())


def _read_settled(
    client: Client, project_id: str, updated: Agent, changes: Mapping[str, Any], status: str
) -> Agent:
    """
    Read an agent after its update, and raise if it has not settled.

    A restart of an agent that was updating before leaves no evidence if its response is lost.

    :param updated: the agent in the response to the update
    :param status: its status before the update
    :raises AgentBusyError: if the agent is updating, and will need no further update
    """
    if updated.status in SETTLED:
        return updated
    agent = client.agents.get(project_id, updated.id)
    times = (agent.updated_at, updated.updated_at)
    is_newer = None not in times and agent.updated_at >= updated.updated_at  # type: ignore[operator]
    if difference(changes, agent) and not (is_newer and agent.status in SETTLED):
        # The response is older than the update, or the service does not show the fields: then the same
        # update would be sent again after the wait.
        return updated
    if agent.status in SETTLED:
        return agent
    action = "restart" if status == AgentStatus.ERROR else "start"
    raise AgentBusyError(agent.id, action, before=agent.snapshot(), reason=f"it is {agent.status}")


def update(
    client: Client,
    project_id: str,
    agent: Agent,
    body: Mapping[str, Any],
    context: Context,
    record: ActionRecord | None,
) -> SentAction:
    """
    Update the fields that differ, or send nothing if none does.

    :param agent: the agent, from Get Agent
    :param body: the parameters of the task, as the body of a request
    :param record: the record of an earlier start of this task
    :return: the action, with the goal of the wait
    """
    changes = difference(body, agent)
    before = record.before if record and record.before else agent.snapshot()
    if not changes:
        if record is None and agent.status not in TRANSIENT:
            log.info("Agent %s has the requested fields; nothing to update.", agent.label)
            return SentAction.of(agent)
        log.info(
            "Agent %s has the requested fields and is %s; waiting for it.",
            agent.label,
            agent.status,
        )
        began = record.accepted_at if record else None
        return SentAction.of(agent, "update", before=before, accepted_at=began or time.time())
    record, record_store = ActionRecord(agent.id, agent.name, before), TaskRecordStore(context)
    with raise_if_busy(agent.id, "update"), recorded(record_store, record):
        updated = _send_update(client, project_id, agent, changes)
        record_store.write(dataclasses.replace(record, accepted_at=time.time()))
    return accepted_update(agent, updated, changes, before)


def accepted_update(agent: Agent, updated: Agent, changes: Mapping[str, Any], before: Snapshot) -> SentAction:
    """
    Return an accepted update, with the sign of it that the wait needs.

    :param agent: the agent as it was
    :param updated: the agent in the response
    :param changes: the body of the request
    :param before: the agent before the update; a retry knows an earlier one
    """
    # Secrets are left out, because a service may mask them.
    config = {name: value for name, value in changes.get("config", {}).items() if name not in SECRET_FIELDS}
    visible = {name: value for name, value in changes.items() if name != "config"}
    visible |= {"config": config} if config else {}
    missing = difference(visible, updated)
    sign = Sign.AWAITED if updated.status in TRANSIENT else Sign.NONE
    if visible and missing == visible:
        sign = Sign.REQUIRED
    if missing:
        fields = changed_fields(missing, updated)
        log.warning("The response to the update of agent %s does not show the new %s.", agent.label, fields)
    newest = updated.updated_at or agent.updated_at
    accepted_at = time.time()
    return SentAction.of(updated, "update", before=before, accepted_at=accepted_at, newest=newest, sign=sign)


def delete_created_agent(task: SingleAgentOperator, name: str, context: Context) -> str | None:
    """
    Delete the agent of a failed create. A failure of the delete is logged and has no other effect.

    :param task: the create
    :return: what became of the agent, in a sentence; ``None`` if this task run has none
    """
    deadline = time.time() + _DELETE_TIMEOUT
    try:
        hook = ConnixHook(task.connix_conn_id)
        project_id = hook.project_id_for(task.project_id)
        with hook.get_conn() as connection:
            client = connection.with_options(deadline=deadline)
            agent = find_created_agent(client, project_id, name, identity_key(context))
            if agent is None:
                log.info("on_failure is 'delete', but this task run has created no agent named %r.", name)
                return None
            why = "The task failed, and on_failure is 'delete'"
            steps = cancel_action(
                client,
                "delete",
                project_id,
                agent.id,
                None,
                deadline=deadline,
                log=log,
                agent_name=agent.name,
                why=why,
            )
            refusal = client.run_flow(steps)
    except (ConnixError, ValueError, AirflowException) as error:
        log.warning("Agent %r of this task run could not be deleted: %s", name, error)
        return (
            f"on_failure is 'delete', but the agent could not be deleted: {_clause(error)}. Check the agent."
        )
    if refusal is None:
        return f"It was deleted, because on_failure is 'delete' (project {project_id})."
    found = AgentRef(agent.id, agent.name, project_id, hook.agent_url(project_id, agent.id))
    return (
        "on_failure is 'delete', but the delete of the agent could not be confirmed: "
        f"{_clause(refusal)}. Check the agent{found.context_suffix}."
    )


def _send_update(client: Client, project_id: str, agent: Agent, changes: Mapping[str, Any]) -> Agent:
    log.info("Updating agent %s: %s.", agent.label, changed_fields(changes, agent))
    return client.agents.update(project_id, agent.id, changes)


def _clause(error: Exception) -> str:
    return str(error).rstrip(".")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
