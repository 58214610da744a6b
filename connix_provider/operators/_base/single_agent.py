"""
Parameters, action and wait, shared by all operators on an agent.

:class:`~connix_provider.operators._base.agent_operator.ConnixAgentOperator` runs it from start to end.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.client.errors import ConnixRateLimitError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.base_operator import PollingOperator
from connix_provider.operators._base.cancel_on_kill import CancelOnKillMixin
from connix_provider.operators._base.deferral import defer_for_rate_limit, take_over_permit
from connix_provider.operators._base.error_context import add_agent
from connix_provider.operators._base.identity import try_number_of
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.polling.deadlines import MAX_PERMIT_WAIT
from connix_provider.task_parameters import DEFERRABLE_BY_DEFAULT

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client
    from connix_provider.operators._base.task_state import ActionRecord
    from connix_provider.polling.status_poller import StatusPoller

__all__ = ["SingleAgentOperator"]


class SingleAgentOperator(PollingOperator, CancelOnKillMixin):
    """
    A task on one agent: its parameters, its action, and the wait for the action's goal.

    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param wait_for_completion: whether to wait for the action's goal; otherwise the task ends when the
        service has accepted the action. Default yes
    :param poll_interval: seconds between two polls of the agent, or a timedelta; 1 s or more, default 10
    :param timeout: seconds, or a timedelta, for the action and the wait together; default 3600
    :param deferrable: whether to wait in the triggerer, without a worker slot; default
        ``operators.default_deferrable`` of Airflow's configuration
    :param cancel_on_kill: whether to delete the agent that the task created, or stop the agent that it
        started, when the task is marked as failed before it is done (while it is deferred: from Airflow 3.3
        on); default no
    :param stream_agent_logs: whether new lines of the agent's log go into the task's log during the wait;
        default no. Costs a request of the rate limit on Get Agent Logs for each poll
    """

    #: Whether the operator records its requests; see :mod:`connix_provider.operators._base.task_state`.
    keeps_record: ClassVar[bool] = False
    #: Whether a failure deletes the record, so that the next try sends the action again.
    forgets_failure: ClassVar[bool] = True
    flag_fields: ClassVar[tuple[str, ...]] = (
        "deferrable",
        "wait_for_completion",
        "cancel_on_kill",
        "stream_agent_logs",
    )

    def __init__(
        self,
        *,
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
            poll_interval=poll_interval,
            timeout=timeout,
            cancel_on_kill=cancel_on_kill,
            **kwargs,
        )
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.stream_agent_logs = stream_agent_logs
        #: Whether this try has called ``act`` before, in this process or an earlier one.
        self.has_acted = False
        #: Why the action waits, if the agent was busy.
        self.busy_reason = ""
        #: Whether the service may have executed a request of this task whose response was lost.
        self.response_was_lost = False
        #: The event of the rate limit's trigger that resumed the task.
        self.permit_event: Mapping[str, Any] = {}
        #: Epoch seconds since which a rate limit delays the action, if an earlier process deferred for it.
        self.limited_since: float | None = None
        #: The last line of the agent's log that the task logged.
        self.log_position: Mapping[str, Any] = {}

    def act(self, client: Client, project_id: str, context: Context) -> SentAction:
        """
        Send the operator's action.

        :param client: a client with the task's deadline
        :return: the action, with the goal of the wait
        """
        raise NotImplementedError

    def accepts_missing_agent(self, context: Context) -> bool:
        """
        Return whether an agent that is gone is a success for the task.

        :return: ``False``; the delete operator decides otherwise
        """
        return False

    def may_have_sent(self, context: Context) -> bool:
        """Return whether this task run may have sent its action before: also if it was resumed to send it."""
        return self.has_acted or super().may_have_sent(context)

    def may_have_executed(self, context: Context) -> bool:
        """
        Return whether a request of this task run may have been executed although its response was lost.

        :return: true after a lost response, and in a retry, because the try before may have been killed
        """
        return self.response_was_lost or try_number_of(context) > 1

    def read_record(self, context: Context) -> ActionRecord | None:
        """
        Read the record of an earlier start of this task. Airflow may start the same try twice.

        :return: the record, or ``None``
        """
        from connix_provider.operators._base.task_state import TaskRecordStore

        return TaskRecordStore(context).read() if self.keeps_record else None

    def clean_up_failure(self, context: Context) -> str | None:
        """
        Clean up after a failure of the agent, or a timeout.

        :return: what became of the agent, in a sentence; ``None`` if it was left as it is
        """
        return None

    def make_poller(
        self, sent: SentAction, goal: str, deadline: float, log_position: Mapping[str, Any] | None = None
    ) -> StatusPoller:
        """Return the poller for the goal of an action; it streams the agent's log if the task does."""
        position = log_position or (self.log_position if self.stream_agent_logs else None)
        return super().make_poller(sent, goal, deadline, position)

    def act_or_defer(self, client: Client, project_id: str, context: Context, deadline: float) -> SentAction:
        """
        Call ``act``; a deferrable task defers if a rate limit delays its request by more than 10 s.

        :param client: a client whose calls end at the task's deadline
        :param deadline: epoch seconds
        :return: the action that was sent, and what to wait for
        """
        since, self.limited_since = self.limited_since or time.time(), None
        if self.deferrable:
            event, self.permit_event = self.permit_event, {}
            take_over_permit(client, event)
            client = client.with_options(max_permit_wait=MAX_PERMIT_WAIT)
        try:
            return self.act(client, project_id, context)
        except ConnixRateLimitError as error:
            add_agent(error, self.error_fields())
            if self.deferrable and error.bucket is not None and time.time() < deadline:
                defer_for_rate_limit(self, client, error, deadline, since=since)
            self.explain_rate_limit(error, since)
            raise

    def explain_rate_limit(self, error: ConnixRateLimitError, since: float) -> None:
        """
        Add to an error how long the task waited for the rate limit, and what to change.

        :param since: epoch seconds at which the wait began
        """
        from connix_provider.operators._base.rate_limit_errors import add_advice

        waited = max(0.0, time.time() - since)
        add_advice(error, waited=waited, allowed=self.seconds_allowed, connix_conn_id=self.connix_conn_id)
