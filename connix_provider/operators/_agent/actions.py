"""Base classes of the operators on an agent that exists, and of start, pause and stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.agent_lookup import resolve_agent_id
from connix_provider.client.errors import ConnixConflictError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.lifecycle import GOALS
from connix_provider.operators._base.agent_operator import ConnixAgentOperator
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.statuses import TRANSIENT
from connix_provider.task_parameters import DEFERRABLE_BY_DEFAULT

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Agent, Client
    from connix_provider.operators._base.task_state import ActionRecord

__all__ = ["ConnixActionOperator", "ConnixExistingAgentOperator", "send_action"]

log = logging.getLogger(__name__)


class ConnixExistingAgentOperator(ConnixAgentOperator):
    """
    Send an action to an agent that exists.

    :param agent_name: its name, instead of its id

    The other parameters: :class:`~connix_provider.operators._base.single_agent.SingleAgentOperator`.
    """

    template_fields: Sequence[str] = (*ConnixAgentOperator.template_fields, "agent_id", "agent_name")
    action: ClassVar[str] = ""

    def __init__(
        self,
        *,
        agent_id: str | None = None,
        agent_name: str | None = None,
        project_id: str | None = None,
        connix_conn_id: str = ConnixHook.default_conn_name,
        wait_for_completion: bool = True,
        poll_interval: float | timedelta = 10.0,
        timeout: float | timedelta = 3600.0,
        deferrable: bool = DEFERRABLE_BY_DEFAULT,
        cancel_on_kill: bool = False,
        stream_agent_logs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            project_id=project_id,
            connix_conn_id=connix_conn_id,
            wait_for_completion=wait_for_completion,
            poll_interval=poll_interval,
            timeout=timeout,
            deferrable=deferrable,
            cancel_on_kill=cancel_on_kill,
            stream_agent_logs=stream_agent_logs,
            **kwargs,
        )
        self.agent_id = agent_id
        self.agent_name = agent_name
        self._name_seen: str | None = None

    def error_fields(self) -> dict[str, Any]:
        """Return the action and the agent, for messages."""
        names = {"agent_id": self.agent_id, "agent_name": self.agent_name or self._name_seen}
        return {"verb": self.action, **names}

    def act(self, client: Client, project_id: str, context: Context) -> SentAction:
        """
        Find the agent and send the action.

        :param client: a client with the task's deadline
        :return: the action, with the goal of the wait
        """
        record = self.read_record(context)
        agent_id = self._find(client, project_id, record)
        if record and record.agent_id == agent_id:
            if record.is_done:
                self.log.info("An earlier start of this task has completed its action on agent %s.", agent_id)
                return SentAction(agent_id, agent_name=record.agent_name)
        else:
            record = None
        return self.act_on(client, project_id, agent_id, context, record)

    def act_on(
        self, client: Client, project_id: str, agent_id: str, context: Context, record: ActionRecord | None
    ) -> SentAction:
        """
        Send the action to an agent.

        :param client: a client with the task's deadline
        :param record: the record of an earlier start of this task for the same agent
        :return: the action, with the goal of the wait
        """
        raise NotImplementedError

    def read_agent(self, client: Client, project_id: str, agent_id: str) -> Agent:
        """Read the agent, and keep its name for messages."""
        agent = client.agents.get(project_id, agent_id)
        self._name_seen = agent.name or None
        return agent

    def _find(self, client: Client, project_id: str, record: ActionRecord | None) -> str:
        """Return the agent's id: the recorded one, because the name may be another agent's by now."""
        is_by_name = self.agent_id is None and self.agent_name is not None
        if record and is_by_name and record.agent_name == self.agent_name:
            return record.agent_id
        return resolve_agent_id(client, project_id, self.agent_id, self.agent_name)


class ConnixActionOperator(ConnixExistingAgentOperator):
    """
    Send an action, unless the agent has reached its goal already.

    The parameters are those of :class:`ConnixExistingAgentOperator`.
    """

    def act_on(
        self, client: Client, project_id: str, agent_id: str, context: Context, record: ActionRecord | None
    ) -> SentAction:
        """
        Read the agent, and send the action if the agent has not reached the goal.

        :param client: a client with the task's deadline
        :param record: unused, because these actions are idempotent
        :return: the action, with the goal of the wait
        """
        before = self.read_agent(client, project_id, agent_id)
        if before.status in GOALS[self.action].done:
            self.log.info(
                "Agent %s is %s already; nothing to %s.",
                before.label,
                before.status,
                self.action,
            )
            return SentAction.of(before)
        return send_action(
            client, project_id, before, self.action, may_have_executed=self.may_have_executed(context)
        )


def send_action(
    client: Client, project_id: str, before: Agent, action: str, *, may_have_executed: bool = False
) -> SentAction:
    """
    Send a start, a pause or a stop.

    :param client: a client with the task's deadline
    :param before: the agent before the action
    :param action: ``start``, ``pause`` or ``stop``
    :param may_have_executed: whether the same action may have been executed before
    :return: the action, with the goal of the wait
    :raises AgentBusyError: for a 409 that an earlier request does not explain
    """
    from connix_provider.operators._base.busy_agent import AgentBusyError

    is_unconfirmed = False
    try:
        getattr(client.agents, action)(project_id, before.id)
    except ConnixConflictError as error:
        # An earlier request that was executed explains the 409, unless the agent is busy with something else.
        may_have_executed = may_have_executed or error.may_have_executed
        if not may_have_executed or client.agents.get(project_id, before.id).status in TRANSIENT:
            raise AgentBusyError(before.id, action, error, before.snapshot()) from error
        log.info("The %s of agent %s may be under way already: %s", action, before.label, error)
        is_unconfirmed = True
    else:
        log.info("Connix accepted the %s of agent %s.", action, before.label)
    return SentAction.of(
        before,
        action,
        before=before.snapshot(),
        undo="stop" if action == "start" else None,
        accepted_at=time.time(),
        is_unconfirmed=is_unconfirmed,
    )
