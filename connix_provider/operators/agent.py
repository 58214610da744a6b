"""Create, update, start, pause, stop, restart and delete Connix agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from connix_provider.client.errors import ConnixNotFoundError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._agent.actions import ConnixActionOperator, ConnixExistingAgentOperator
from connix_provider.operators._agent.create import ConnixCreateAgentOperator
from connix_provider.operators._agent.description import AgentDescriptionMixin
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.task_parameters import DEFERRABLE_BY_DEFAULT

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client
    from connix_provider.operators._base.task_state import ActionRecord

__all__ = [
    "ConnixCreateAgentOperator",
    "ConnixDeleteAgentOperator",
    "ConnixPauseAgentOperator",
    "ConnixRestartAgentOperator",
    "ConnixStartAgentOperator",
    "ConnixStopAgentOperator",
    "ConnixUpdateAgentOperator",
]


class ConnixUpdateAgentOperator(AgentDescriptionMixin, ConnixExistingAgentOperator):
    """
    Update an agent and wait until it has settled.

    Only the parameters that differ from the agent are sent, and the service keeps all other fields. If none
    differs, no request is sent. Reference: "Update Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param name: the new name
    :param config: fields of the configuration to change
    :param description: the new description
    :param metadata: fields of the metadata to change

    The other parameters: :class:`~connix_provider.operators._base.single_agent.SingleAgentOperator`.
    """

    template_fields: Sequence[str] = (
        *ConnixExistingAgentOperator.template_fields,
        *AgentDescriptionMixin.description_fields,
    )
    action = "update"
    keeps_record = True
    # The record of a failed update stays, because otherwise a retry would find no difference and succeed.
    forgets_failure = False

    def __init__(
        self,
        *,
        agent_id: str | None = None,
        agent_name: str | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
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
            agent_id=agent_id,
            agent_name=agent_name,
            name=name,
            config=config,
            description=description,
            metadata=metadata,
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

    def check(self) -> None:
        """Check the parameters, before any request."""
        super().check()
        if not self.body():
            raise ValueError("there is nothing to update: give name, config, description or metadata")

    def act_on(
        self, client: Client, project_id: str, agent_id: str, context: Context, record: ActionRecord | None
    ) -> SentAction:
        """Send the fields that differ."""
        from connix_provider.operators._agent.update_existing import update

        agent = self.read_agent(client, project_id, agent_id)
        return update(client, project_id, agent, self.body(), context, record)


class ConnixStartAgentOperator(ConnixActionOperator):
    """
    Start a paused or stopped agent and wait until it runs.

    An agent that is running already is a success. Reference: "Start Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters: :class:`~connix_provider.operators._base.single_agent.SingleAgentOperator`.
    """

    action = "start"


class ConnixPauseAgentOperator(ConnixActionOperator):
    """
    Pause a running agent and wait until it is paused.

    An agent that is paused already is a success. Reference: "Pause Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters: :class:`~connix_provider.operators._base.single_agent.SingleAgentOperator`.
    """

    action = "pause"


class ConnixStopAgentOperator(ConnixActionOperator):
    """
    Stop an agent and wait until it is stopped.

    An agent that is stopped already is a success. Reference: "Stop Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters: :class:`~connix_provider.operators._base.single_agent.SingleAgentOperator`.
    """

    action = "stop"


class ConnixRestartAgentOperator(ConnixExistingAgentOperator):
    """
    Restart an agent and wait until it runs again.

    The agent may still be running from before, so the wait requires a change of its status or of
    ``updated_at``. Reference: "Restart Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters: :class:`~connix_provider.operators._base.single_agent.SingleAgentOperator`.
    """

    action = "restart"
    keeps_record = True

    def act_on(
        self, client: Client, project_id: str, agent_id: str, context: Context, record: ActionRecord | None
    ) -> SentAction:
        """Send the restart, unless an earlier start of this task did."""
        from connix_provider.operators._base.task_state import TaskRecordStore
        from connix_provider.operators._once.restart_once import restart_in_run

        return restart_in_run(
            client,
            project_id,
            agent_id,
            record=record,
            record_store=TaskRecordStore(context),
            read=lambda: self.read_agent(client, project_id, agent_id),
            agent_name=self.agent_name,
        )


class ConnixDeleteAgentOperator(ConnixExistingAgentOperator):
    """
    Delete an agent with all its data and wait until it is gone.

    Reference: "Delete Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param ignore_if_missing: whether a missing agent is a success; default no

    The task returns the agent's id. If no agent has the name, and it may be missing, there is no id, and the
    task returns ``None``.

    The other parameters: :class:`~connix_provider.operators._base.single_agent.SingleAgentOperator`.
    """

    action = "delete"
    keeps_record = True
    flag_fields = (*ConnixExistingAgentOperator.flag_fields, "ignore_if_missing")

    def __init__(
        self,
        *,
        agent_id: str | None = None,
        agent_name: str | None = None,
        ignore_if_missing: bool = False,
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
            agent_id=agent_id,
            agent_name=agent_name,
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
        self.ignore_if_missing = ignore_if_missing

    def act(self, client: Client, project_id: str, context: Context) -> SentAction:
        """Delete the agent, or succeed if it is missing and may be."""
        try:
            return super().act(client, project_id, context)
        except ConnixNotFoundError as error:
            if not error.is_of_an_agent or not self.ignore_if_missing:
                raise
            self.log.info("Nothing to delete: %s", error)
            # A name is no id, and a task that takes the result as an agent_id would look for another agent.
            return SentAction("" if self.agent_id is None else str(self.agent_id))

    def accepts_missing_agent(self, context: Context) -> bool:
        """
        Return whether an agent that is gone is a success.

        :param context: Airflow's context
        :return: true with ``ignore_if_missing``, and if this task may have deleted the agent
        """
        # A delete that was refused without effect left no record.
        return self.ignore_if_missing or self.read_record(context) is not None

    def act_on(
        self, client: Client, project_id: str, agent_id: str, context: Context, record: ActionRecord | None
    ) -> SentAction:
        """Send the delete."""
        from connix_provider.operators._base.task_state import TaskRecordStore
        from connix_provider.operators._once.delete_once import delete_in_run

        return delete_in_run(
            client,
            project_id,
            agent_id,
            record=record,
            record_store=TaskRecordStore(context),
            agent_name=self.agent_name,
        )
