"""Send an action to one agent of a fleet, unless an earlier start of the task has."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from connix_provider.lifecycle import GOALS
from connix_provider.operators._agent.actions import send_action
from connix_provider.operators._base.busy_agent import AgentBusyError
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.operators._base.task_state import ActionRecord, RecordStore, recorded
from connix_provider.operators._once.delete_once import delete_in_run
from connix_provider.operators._once.restart_once import restart_in_run
from connix_provider.statuses import status_phrase

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client
    from connix_provider.operators._fleet.plan import FleetMember
    from connix_provider.operators._fleet.store import FleetStore

__all__ = ["send_to_member"]

log = logging.getLogger(__name__)


def send_to_member(
    client: Client,
    project_id: str,
    action: str,
    member: FleetMember,
    store: FleetStore,
) -> SentAction:
    """
    Send the action, or find that an earlier start of the task has sent it.

    :param action: ``restart``, ``start``, ``stop``, ``pause`` or ``delete``
    :param store: keeps the record of the action
    :return: the action; without a goal if the agent has reached it already
    :raises AgentBusyError: for a 409
    :raises ConnixError: if the service refuses a request, or a restart could not be confirmed
    """
    record = store.records.get(member.agent_id)
    record_store = store.records.record_store(member.agent_id)
    if action == "restart":
        return restart_in_run(
            client,
            project_id,
            member.agent_id,
            record=record,
            record_store=record_store,
            read=lambda: client.agents.get(project_id, member.agent_id),
            agent_name=member.name,
            repeat_after_error=False,
        )
    if record is not None and record.accepted_at is not None:
        log.info("An earlier start of this task sent the %s of agent %s.", action, member)
        return SentAction(
            member.agent_id, action, record.before, accepted_at=record.accepted_at, agent_name=member.name
        )
    if action == "delete":
        sent = delete_in_run(
            client,
            project_id,
            member.agent_id,
            record=record,
            record_store=record_store,
            agent_name=member.name,
        )
    else:
        before = client.agents.get(project_id, member.agent_id)
        if before.status in GOALS[action].done:
            if record is None:
                member.was_acted_on, member.reason = False, f"it was {status_phrase(before.status)} already"
            return SentAction.of(before)
        sent = _send_recorded(client, project_id, action, before, record, record_store)
    record_store.write(ActionRecord(member.agent_id, member.name, sent.before, accepted_at=sent.accepted_at))
    return sent


def _send_recorded(
    client: Client,
    project_id: str,
    action: str,
    before: Agent,
    record: ActionRecord | None,
    record_store: RecordStore,
) -> SentAction:
    may_have_executed = record is not None
    try:
        with recorded(record_store, record or ActionRecord(before.id, before.name)):
            return send_action(client, project_id, before, action, may_have_executed=may_have_executed)
    except AgentBusyError as busy:
        if not (may_have_executed or busy.may_have_executed):
            record_store.delete()
        raise
