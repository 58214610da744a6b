"""Act on an agent that exists: find it by id or name, and send one of the four actions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.client.errors import ConnixConflictError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.lifecycle import GOALS, TRANSIENT
from connix_provider.operators.base import DEFERRABLE_BY_DEFAULT, Acted, ConnixAgentOperator
from connix_provider.targets import resolve_agent_id

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client
    from connix_provider.operators.task_state import ActionRecord

__all__ = ["ConnixActionOperator", "ConnixExistingAgentOperator"]


class ConnixExistingAgentOperator(ConnixAgentOperator):
    """
    Act on an agent that exists.

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters are those of :class:`ConnixAgentOperator`.
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
            **kwargs,
        )
        self.agent_id = agent_id
        self.agent_name = agent_name

    def named(self) -> dict[str, Any]:
        """Say what the operator does and to which agent."""
        return {"verb": self.action, "agent_id": self.agent_id, "agent_name": self.agent_name}

    def act(self, client: Client, project_id: str, context: Context) -> Acted:
        """
        Find the agent and act on it.

        :param client: a client whose calls end with the task's time
        :param project_id: the project
        :param context: Airflow's context
        :return: what was done, and what to wait for
        """
        record = self.recall(context)
        agent_id = self._find(client, project_id, record)
        if record and record.agent_id == agent_id:
            if record.is_done:
                self.log.info("An earlier start of this task has done this to agent %s.", agent_id)
                return Acted(agent_id, agent_name=record.agent_name)
        else:
            record = None
        return self.act_on(client, project_id, agent_id, context, record)

    def act_on(
        self, client: Client, project_id: str, agent_id: str, context: Context, record: ActionRecord | None
    ) -> Acted:
        """
        Act on an agent.

        :param client: a client whose calls end with the task's time
        :param project_id: the project
        :param agent_id: the agent
        :param context: Airflow's context
        :param record: what an earlier start of this task asked of the same agent
        :return: what was done, and what to wait for
        """
        raise NotImplementedError

    def _find(self, client: Client, project_id: str, record: ActionRecord | None) -> str:
        """Resolve the agent; a name that was resolved in an earlier try may be another agent's by now."""
        is_by_name = self.agent_id is None and self.agent_name is not None
        if record and is_by_name and record.agent_name == self.agent_name:
            return record.agent_id
        return resolve_agent_id(client, project_id, self.agent_id, self.agent_name)


class ConnixActionOperator(ConnixExistingAgentOperator):
    """
    Send an action, unless the agent is already where it should end.

    The parameters are those of :class:`ConnixExistingAgentOperator`.
    """

    def act_on(
        self, client: Client, project_id: str, agent_id: str, context: Context, record: ActionRecord | None
    ) -> Acted:
        """
        Look at the agent, and send the action where there is something to do.

        :param client: a client whose calls end with the task's time
        :param project_id: the project
        :param agent_id: the agent
        :param context: Airflow's context
        :param record: unused: these actions are idempotent
        :return: what was done, and what to wait for
        """
        before = client.agents.get(project_id, agent_id)
        if before.status in GOALS[self.action].done:
            self.log.info(
                "Agent %r (%s) is %s already; nothing to %s.",
                before.name,
                agent_id,
                before.status,
                self.action,
            )
            return Acted.of(before)
        is_unconfirmed = False
        try:
            getattr(client.agents, self.action)(project_id, agent_id)
        except ConnixConflictError as error:
            # The repeat of one whose response was lost: the first is under way, unless something else is.
            if not error.may_have_executed or client.agents.get(project_id, agent_id).status in TRANSIENT:
                from connix_provider.operators.turn import OutOfTurnError

                raise OutOfTurnError(agent_id, self.action, error, before.snapshot()) from error
            self.log.info("The %s of agent %r (%s) is under way already.", self.action, before.name, agent_id)
            is_unconfirmed = True
        else:
            self.log.info("Connix accepted the %s of agent %r (%s).", self.action, before.name, agent_id)
        return Acted.of(
            before,
            self.action,
            before=before.snapshot(),
            undo="stop" if self.action == "start" else None,
            accepted_at=time.time(),
            is_unconfirmed=is_unconfirmed,
        )
