"""Delete an agent once in a task run."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from connix_provider.client.errors import ConnixNotFoundError
from connix_provider.operators._base.busy_agent import AgentBusyError, raise_if_busy
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.operators._base.task_state import ActionRecord, RecordStore, recorded

if TYPE_CHECKING:
    from connix_provider.client import Client

__all__ = ["delete_in_run"]

log = logging.getLogger(__name__)


def delete_in_run(
    client: Client,
    project_id: str,
    agent_id: str,
    *,
    record: ActionRecord | None,
    record_store: RecordStore,
    agent_name: str | None = None,
) -> SentAction:
    """
    Delete an agent. A missing agent is a success only if an earlier start of the task sent the delete.

    :param record: the record of an earlier start of this task for this agent
    :param agent_name: the name by which the task found the agent, if it did
    :return: the delete, or no wait if an earlier start deleted the agent
    :raises AgentBusyError: for a 409
    :raises ConnixError: if the service refuses the request
    """
    if record is None:
        with raise_if_busy(agent_id, "delete"), recorded(record_store, ActionRecord(agent_id, agent_name)):
            client.agents.delete(project_id, agent_id)
    else:
        try:
            # Without a new record, because a refusal of this request proves nothing about the first one.
            with raise_if_busy(agent_id, "delete"):
                client.agents.delete(project_id, agent_id)
        except AgentBusyError as busy:
            # The service may still be executing the first delete.
            busy.may_have_executed = True
            raise
        except ConnixNotFoundError as error:
            if not error.is_of_an_agent:
                raise
            log.info("An earlier try of this task deleted agent %s: %s", agent_id, error)
            return SentAction(agent_id, agent_name=agent_name)
    log.info("Connix accepted the delete of agent %s.", agent_id)
    return SentAction(agent_id, "delete", agent_name=agent_name, accepted_at=time.time())
