"""
The base class of the operators: send an action, then wait for its goal.

1. ``execute`` checks the parameters and opens the connection.
2. :meth:`ConnixAgentOperator.act`, which each operator implements, sends the action.
3. If the agent is busy (409), or the rate limit is used up, the task waits on the worker or in the triggerer
   and then calls ``act`` again.
4. The task polls the agent until :mod:`connix_provider.lifecycle` gives a verdict, on the worker or in the
   triggerer.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred, conf

from connix_provider.client.errors import ConnixRateLimitError, ConnixRateLimitWaitError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.hooks.diagnosis import naming_subject
from connix_provider.lifecycle import GOALS
from connix_provider.operators.cancel_on_kill import CancelOnKillMixin, SentAction
from connix_provider.params import TaskParameters, check_seconds, resolve_project_id

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client
    from connix_provider.operators.task_state import ActionRecord
    from connix_provider.polling.poll_result import PollResult
    from connix_provider.polling.status_poller import StatusPoller

# Modules that parsing a DAG file does not need are imported in functions.

__all__ = ["DEFERRABLE_BY_DEFAULT", "ConnixAgentOperator", "SentAction"]


#: Seconds between two polls of a busy agent, at most.
SETTLE_INTERVAL = 5.0
#: Airflow's own default for ``deferrable``.
DEFERRABLE_BY_DEFAULT: bool = conf.getboolean("operators", "default_deferrable", fallback=False)


class ConnixAgentOperator(TaskParameters, CancelOnKillMixin):
    """
    Send an action to an agent, and wait for its goal.

    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param wait_for_completion: whether to wait for the action's goal; otherwise the task ends when the
        service has accepted the action
    :param poll_interval: seconds between two polls of the agent, or a timedelta; 1 s or more
    :param timeout: seconds, or a timedelta, for the action and the wait together
    :param deferrable: whether to wait in the triggerer, without a worker slot; default
        ``operators.default_deferrable`` of Airflow's configuration
    :param cancel_on_kill: whether to delete the agent that the task created, or stop the agent that it
        started, when the task is marked as failed before it is done (while it is deferred: from Airflow 3.3
        on); default no
    """

    template_fields: Sequence[str] = ("project_id", "connix_conn_id")
    ui_color = "#d9e8f6"
    #: Whether the operator records its requests; see :mod:`connix_provider.operators.task_state`.
    keeps_record: ClassVar[bool] = False
    #: Whether a failure deletes the record, so that the next try sends the action again.
    forgets_failure: ClassVar[bool] = True
    flag_fields: ClassVar[tuple[str, ...]] = ("deferrable", "wait_for_completion", "cancel_on_kill")

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
        **kwargs: Any,
    ) -> None:
        super().__init__(connix_conn_id=connix_conn_id, cancel_on_kill=cancel_on_kill, **kwargs)
        self.project_id = project_id
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.deferrable = deferrable
        #: Whether an earlier process of this try has called ``act``.
        self.is_resumed = False
        #: Why the action waits, if the agent was busy.
        self.busy_reason = ""
        #: Whether the service may have executed a request of this task whose response was lost.
        self.was_lost = False
        self._permit_event: Mapping[str, Any] = {}

    def named(self) -> dict[str, Any]:
        """
        Return the action and the agent, for messages.

        :return: ``verb``, and ``agent_id`` or ``agent_name`` as far as the task knows them
        """
        raise NotImplementedError

    def act(self, client: Client, project_id: str, context: Context) -> SentAction:
        """
        Send the operator's action.

        :param client: a client with the task's deadline
        :param project_id: the project
        :param context: Airflow's context
        :return: the action, with the goal of the wait
        """
        raise NotImplementedError

    def check(self) -> None:
        """
        Check the parameters, before any request.

        :raises ValueError: for an invalid parameter
        """
        self.check_parameters()
        check_seconds("poll_interval", self.poll_interval, minimum=1.0)
        check_seconds("timeout", self.timeout)

    def execute(self, context: Context) -> str:
        """
        Send the action, and wait for its goal.

        :param context: Airflow's context
        :return: the agent's id
        """
        self.check()
        return self._act_and_wait(context, self._deadline(context))

    def resume_after_rate_limit(
        self, context: Context, event: Any = None, refusal: str | None = None, was_lost: bool = False
    ) -> str:
        """
        Send the action after the task waited for a rate limit in the triggerer.

        :param context: Airflow's context
        :param event: the trigger's event, with the task's deadline
        :param refusal: why the task deferred
        :param was_lost: whether a request may have been executed although its response was lost
        :return: the agent's id
        :raises ValueError: for an event of another kind
        :raises ConnixRateLimitError: if the rate limit was used up until the deadline
        """
        self.check()
        deadline = event.get("deadline") if isinstance(event, Mapping) else None
        if isinstance(deadline, bool) or not isinstance(deadline, int | float):
            raise ValueError(f"the task was resumed with {event!r}, not with an event of its trigger")
        if refusal is not None and time.time() >= deadline:
            from connix_provider.operators.error_context import naming

            hook = ConnixHook(self.connix_conn_id)
            project_id = resolve_project_id(self.project_id, hook.default_project_id, self.connix_conn_id)
            with self._cleaning_up(context), naming(hook, project_id, self.named):
                raise ConnixRateLimitWaitError(refusal, 0.0)
        self.is_resumed, self.was_lost, self._permit_event = True, was_lost, event
        return self._act_and_wait(context, deadline)

    def resume_after_conflict(
        self, context: Context, event: Any = None, refusal: str = "", was_lost: bool = False
    ) -> str:
        """
        Send the action after the task waited for a busy agent in the triggerer.

        :param context: Airflow's context
        :param event: the trigger's event, with the task's deadline
        :param refusal: why the task deferred
        :param was_lost: whether a request may have been executed although its response was lost
        :return: the agent's id
        :raises ValueError: for an event of another kind
        """
        from connix_provider.operators.busy_agent import explained
        from connix_provider.polling.poll_result import Outcome, PollResult

        self.busy_reason = refusal
        poll_result = explained(PollResult.from_event(event), refusal)
        if poll_result.outcome is Outcome.DONE:
            return self.resume_after_rate_limit(context, event, was_lost=was_lost)
        if poll_result.outcome is Outcome.GONE and self.wants_gone(context):
            poll_result = dataclasses.replace(poll_result, outcome=Outcome.DONE)
        return self._finish(context, poll_result)

    def wants_gone(self, context: Context) -> bool:
        """
        Return whether an agent that is gone is a success for the task.

        :param context: Airflow's context
        :return: ``False``; the delete operator decides otherwise
        """
        return False

    def is_repeated(self, context: Context) -> bool:
        """
        Return whether this task run may have sent its action before.

        :param context: Airflow's context
        :return: true in a retry, and in a task that was resumed to send its action
        """
        from connix_provider.operators.identity import try_number_of

        return self.is_resumed or try_number_of(context) > 1

    def may_have_acted(self, context: Context) -> bool:
        """
        Return whether a request of this task run may have been executed although its response was lost.

        :param context: Airflow's context
        :return: true after a lost response, and in a retry, because the try before may have been killed
        """
        from connix_provider.operators.identity import try_number_of

        return self.was_lost or try_number_of(context) > 1

    def recall(self, context: Context) -> ActionRecord | None:
        """
        Read the record of an earlier start of this task. Airflow may start the same try twice.

        :param context: Airflow's context
        :return: the record, or ``None``
        """
        from connix_provider.operators import task_state

        return task_state.recall(context) if self.keeps_record else None

    def clean_up_failure(self, context: Context) -> None:
        """
        Clean up after a failure of the agent, or a time-out.

        :param context: Airflow's context
        """

    def _act_and_wait(self, context: Context, deadline: float) -> str:
        from connix_provider.operators.busy_agent import act_when_ready
        from connix_provider.operators.error_context import naming, subject_of
        from connix_provider.operators.rate_limit_deferral import defer_for_agent
        from connix_provider.polling import session
        from connix_provider.polling.deferral import LONGEST_PAUSE
        from connix_provider.polling.task_kill import exit_on_sigterm

        hook = ConnixHook(self.connix_conn_id)
        with naming_subject(subject_of(**self.named())):
            project_id = resolve_project_id(self.project_id, hook.default_project_id, self.connix_conn_id)
            connected = session.PollingSession(hook, deadline=deadline)
        with connected, self._cleaning_up(context), exit_on_sigterm():
            with naming(hook, project_id, self.named):
                acted = act_when_ready(self, connected, project_id, context, deadline)
            self.has_acted(connected.client, acted)
            if acted.goal is None or not (self.wait_for_completion or acted.is_unconfirmed):
                self._close_record(context, is_done=True)
                return acted.agent_id
            wait = self.wait_for(acted, acted.goal, deadline)
            if self.deferrable:
                # One poll before the deferral, because the agent may have reached the goal.
                poll_result = session.poll_once(connected, project_id, wait, longest_pause=LONGEST_PAUSE)
            else:
                poll_result = session.poll_until_done(connected, project_id, wait)
        if poll_result is None:
            defer_for_agent(self, project_id, acted, wait)
        return self._finish(context, poll_result)

    def wait_for(self, acted: SentAction, goal: str, deadline: float) -> StatusPoller:
        """
        Return the wait for the goal of an action.

        :param acted: the action
        :param goal: the goal's name
        :param deadline: epoch seconds at which the wait times out
        :return: the wait
        """
        from connix_provider.polling.deferral import response_grace
        from connix_provider.polling.status_poller import RESPONSE_GRACE, StatusPoller

        allowed = self._time_allowed()
        return StatusPoller(
            GOALS[goal],
            acted.agent_id,
            # A busy agent settles within seconds, whatever the poll interval.
            poll_interval=min(self.poll_seconds, SETTLE_INTERVAL) if goal == "settle" else self.poll_seconds,
            deadline=deadline,
            agent_name=acted.agent_name,
            state=acted.poll_state(),
            began_at=deadline - allowed,
            has_answered=True,
            response_grace=response_grace(allowed, self.execution_timeout, RESPONSE_GRACE),
            log=self.log,
        )

    def act_or_defer(self, client: Client, project_id: str, context: Context, deadline: float) -> SentAction:
        """
        Call ``act``; a deferrable task defers if a rate limit delays its request by more than 10 s.

        :param client: a client whose calls end at the task's deadline
        :param project_id: the project
        :param context: Airflow's context
        :param deadline: epoch seconds
        :return: the action that was sent, and what to wait for
        """
        from connix_provider.operators.rate_limit_deferral import defer_for_rate_limit, take_over_permit
        from connix_provider.polling.deferral import LONGEST_PAUSE

        if not self.deferrable:
            return self.act(client, project_id, context)
        event, self._permit_event = self._permit_event, {}
        take_over_permit(client, event)
        try:
            return self.act(client.with_options(longest_pause=LONGEST_PAUSE), project_id, context)
        except ConnixRateLimitError as error:
            defer_for_rate_limit(self, client, error, deadline)

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """
        End the task with the result of its trigger.

        :param context: Airflow's context
        :param event: the trigger's event
        :return: the agent's id
        :raises ValueError: for an event of another kind
        """
        from connix_provider.polling.session import explain

        return self._finish(context, explain(ConnixHook(self.connix_conn_id), event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume the task, and explain Airflow's own time-out of a deferral.

        :param next_method: the method to call
        :param next_kwargs: its arguments
        :param context: Airflow's context
        :return: the result of the method
        :raises ConnixAgentTimeoutError: if no triggerer ended the wait in time
        """
        from connix_provider.exceptions import ConnixAgentTimeoutError
        from connix_provider.polling.agent_ref import AgentRef
        from connix_provider.polling.deferral import is_deferral_timeout, no_triggerer_message

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if is_deferral_timeout(error):
                self._clean_up(context)
                # A create knows only the name here, because a resumed task is a new object.
                agent_id, name = (getattr(self, field, None) for field in ("agent_id", "agent_name"))
                name = name or (None if agent_id else getattr(self, "name", None))
                raise ConnixAgentTimeoutError(
                    no_triggerer_message(self._time_allowed(), str(AgentRef(agent_id, name))),
                    agent_id=agent_id,
                    agent_name=name,
                    project_id=self.project_id,
                ) from None
            raise

    def _finish(self, context: Context, poll_result: PollResult) -> str:
        from connix_provider.exceptions import exception_for
        from connix_provider.polling.poll_result import Outcome

        if poll_result.outcome is Outcome.DONE:
            self._close_record(context, is_done=True)
            self.log.info("%s", poll_result.message)
            return poll_result.agent_id
        # The action has failed for certain, so the next try may send it again.
        if poll_result.outcome in {Outcome.FAILED, Outcome.GONE} and self.forgets_failure:
            self._close_record(context, is_done=False)
        if poll_result.outcome in {Outcome.FAILED, Outcome.TIMEOUT}:
            self.clean_up_failure(context)
        with self._cleaning_up(context):
            raise exception_for(poll_result)

    @contextmanager
    def _cleaning_up(self, context: Context) -> Iterator[None]:
        """Clean up after a task that ends without a result, or that Airflow ends."""
        try:
            yield
        except TaskDeferred:
            raise
        except AirflowTaskTimeout:
            self._clean_up(context)
            raise
        except BaseException:
            self._clean_up_record(context)
            raise

    def _clean_up(self, context: Context) -> None:
        self._clean_up_record(context)
        self.clean_up_failure(context)

    def _clean_up_record(self, context: Context) -> None:
        from connix_provider.operators import task_state

        if self.keeps_record:
            task_state.clean_up_after_last_try(context)

    def _close_record(self, context: Context, *, is_done: bool) -> None:
        from connix_provider.operators import task_state

        if self.keeps_record:
            (task_state.finish if is_done else task_state.forget)(context)

    @property
    def poll_seconds(self) -> float:
        """Seconds between two polls."""
        return check_seconds("poll_interval", self.poll_interval, minimum=1.0)

    def _deadline(self, context: Context) -> float:
        """Return the deadline in epoch seconds: at ``timeout``, or right before ``execution_timeout``."""
        return time.time() + self._time_allowed()

    def _time_allowed(self) -> float:
        from connix_provider.polling.deferral import time_allowed

        return time_allowed(check_seconds("timeout", self.timeout), self.execution_timeout)
