"""Create a Connix agent; :mod:`connix_provider.operators.agent` offers the operator to DAG files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._agent.description import AgentDescriptionMixin
from connix_provider.operators._base.identity import identity_key
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.params import check_name
from connix_provider.task_parameters import DEFERRABLE_BY_DEFAULT
from connix_provider.values import quoted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client

__all__ = ["ConnixCreateAgentOperator"]

IF_EXISTS = ("fail", "adopt", "update")
ON_FAILURE = ("keep", "delete")


class ConnixCreateAgentOperator(AgentDescriptionMixin):
    """
    Create an agent and wait until it runs.

    One run of a task leaves one agent, although responses are lost and tasks are killed and retried: see
    :mod:`connix_provider.operators._once.create_once`. An agent that an earlier try of this run created is
    updated: only the fields that differ are sent. Reference: "Create Agent".

    :param name: the agent's name, unique in its project
    :param config: model, temperature, tools, system prompt, environment variables, …
    :param description: the agent's description
    :param metadata: the agent's metadata
    :param if_exists: for an agent of that name that this task run did not create: ``fail`` (default);
        ``adopt`` waits until it runs and changes nothing; ``update`` sends the fields that differ and gets it
        running: it is started if it is paused or stopped, and restarted once if it is in error
    :param on_failure: for the agent that this task run created, if the task fails because the agent does not
        run: ``keep`` (default) or ``delete``

    The other parameters: :class:`~connix_provider.operators._base.single_agent.SingleAgentOperator`.
    """

    template_fields: Sequence[str] = (*AgentDescriptionMixin.template_fields, "if_exists", "on_failure")
    # A create needs no record, but the restart of an agent in error does.
    keeps_record = True

    def __init__(
        self,
        *,
        name: str,
        config: Mapping[str, Any] | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        if_exists: Literal["fail", "adopt", "update"] = "fail",
        on_failure: Literal["keep", "delete"] = "keep",
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
        self.if_exists = if_exists
        self.on_failure = on_failure

    def check(self) -> None:
        """Check the parameters, before any request."""
        super().check()
        if self.if_exists not in IF_EXISTS:
            raise ValueError(f"if_exists must be one of {', '.join(IF_EXISTS)}, not {quoted(self.if_exists)}")
        if self.on_failure not in ON_FAILURE:
            raise ValueError(
                f"on_failure must be one of {', '.join(ON_FAILURE)}, not {quoted(self.on_failure)}"
            )
        check_name("name", self.name)

    def error_fields(self) -> dict[str, Any]:
        """Return the action and the agent, for messages."""
        return {"verb": "create", "agent_name": self.name}

    def act(self, client: Client, project_id: str, context: Context) -> SentAction:
        """Create the agent, or bring the agent that exists to the parameters."""
        from connix_provider.operators._agent import update_existing
        from connix_provider.operators._base.task_state import ActionRecord, TaskRecordStore, recorded
        from connix_provider.operators._once import create_once

        body = self.body()
        key = identity_key(context)
        # Airflow may start the same try twice, and the name may be another one by then. Before Airflow 3.3 a
        # Variable for each create would cost more than it is worth.
        keeps_record = context.get("task_state_store") is not None
        may_have_sent = self.may_have_sent(context) or (
            keeps_record and self.read_record(context) is not None
        )
        record = ActionRecord("", agent_name=str(body["name"]))
        with (
            recorded(TaskRecordStore(context), record)
            if keeps_record and not may_have_sent
            else nullcontext()
        ):
            found = create_once.create_once(client, project_id, body, key, may_have_sent=may_have_sent)
        if found.is_new:
            return SentAction.of(found.agent, "create", undo="delete", accepted_at=time.time())
        if found.is_own:
            # The create whose response was lost may also have been sent before a deferral for a rate limit.
            is_just_created = found.was_lost or (self.response_was_lost and not self.busy_reason)
            return update_existing.update_and_start(
                client,
                project_id,
                found.agent,
                body,
                context,
                undo="delete",
                is_just_created=is_just_created,
            )
        return update_existing.apply_if_exists(
            client, project_id, found.agent, body, key, self.if_exists, context
        )

    def find_unfinished(self, client: Client, project_id: str, context: Context) -> SentAction | None:
        """Find the agent of a create that was sent when the task was killed."""
        from connix_provider.operators._once.create_once import find_created_agent

        agent = find_created_agent(client, project_id, str(self.name), identity_key(context))
        return SentAction.of(agent, undo="delete") if agent else None

    def clean_up_failure(self, context: Context) -> str | None:
        """
        Delete the agent that this task run created, with ``on_failure="delete"``.

        :return: what became of the agent, in a sentence; ``None`` if it was left as it is
        """
        if self.on_failure != "delete":
            return None
        from connix_provider.operators._agent.update_existing import delete_created_agent

        return delete_created_agent(self, str(self.name), context)
