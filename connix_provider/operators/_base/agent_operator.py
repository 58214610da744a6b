"""
The base class of the operators: send an action, then wait for its goal.

1. ``execute`` checks the parameters and opens the connection.
2. ``act``, which each operator implements, sends the action.
3. If the agent is busy (409), or the rate limit is used up, the task waits on the worker or in the triggerer
   and then calls ``act`` again.
4. The task polls the agent until :mod:`connix_provider.lifecycle` gives a verdict, on the worker or in the
   triggerer.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred

from connix_provider.exceptions import ConnixAgentTimeoutError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.deferral import defer_for_agent
from connix_provider.operators._base.error_context import completing_errors
from connix_provider.operators._base.single_agent import SingleAgentOperator
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.clock import SteadyClock
from connix_provider.polling.deadlines import is_deferral_timeout, no_triggerer_message
from connix_provider.polling.outcome_errors import exception_for
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.values import quoted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["ConnixAgentOperator"]


class ConnixAgentOperator(SingleAgentOperator):
    """
    Send an action to an agent, and wait for its goal.

    The parameters are those of :class:`~connix_provider.operators._base.single_agent.SingleAgentOperator`.
    """

    def execute(self, context: Context) -> str | None:
        """
        Send the action, and wait for its goal.

        :return: the agent's id; ``None`` if a delete by name found no agent, and the agent may be missing
        :raises ValueError: for an invalid parameter, before any request
        :raises ConnixAgentFailedError: if the agent does not reach the goal
        :raises ConnixAgentGoneError: if the agent was deleted meanwhile
        :raises ConnixAgentTimeoutError: if the deadline passes
        :raises ConnixError: if the service refuses a request
        """
        self.check()
        return self._act_and_wait(context, time.time() + self.seconds_allowed)

    def resume_after_rate_limit(self, context: Context, event: Any = None) -> str | None:
        """
        Send the action after the task waited for a rate limit in the triggerer.

        :param event: the trigger's event, with the task's deadline and ``resume_with``: the error of the rate
            limit, since when the task waited, and whether a request with a lost response may have been
            executed
        :raises ValueError: for an event of another kind
        :raises ConnixRateLimitError: if the rate limit was used up until the deadline
        """
        from connix_provider.operators._base.rate_limit_errors import restore_error

        self.check()
        deadline, known = _deadline_of(event), _resume_with(event)
        self.limited_since = known.get("since")
        if time.time() >= deadline and isinstance(error := known.get("error"), Mapping):
            hook = ConnixHook(self.connix_conn_id)
            project_id = hook.project_id_for(self.project_id)
            limit_error = restore_error(error)
            began_at = deadline - self.seconds_allowed
            self.explain_rate_limit(limit_error, self.limited_since or began_at)
            with self._cleaning_up(context), completing_errors(hook, project_id, self.error_fields):
                raise limit_error
        return self._act_again(context, event)

    def resume_after_conflict(self, context: Context, event: Any = None) -> str | None:
        """
        Send the action after the task waited for a busy agent in the triggerer.

        :param event: the trigger's event, with the task's deadline and ``resume_with``: why the task
            deferred, and whether a request with a lost response may have been executed
        :raises ValueError: for an event of another kind
        """
        from connix_provider.operators._base.busy_agent import with_busy_reason

        poll_result = self._explain(event)
        self.busy_reason = str(_resume_with(event).get("reason", ""))
        poll_result = with_busy_reason(poll_result, self.busy_reason)
        self.log_position = event.get("log_position") or {}
        if poll_result.outcome is Outcome.DONE:
            self.check()
            return self._act_again(context, event)
        if poll_result.outcome is Outcome.GONE and self.accepts_missing_agent(context):
            poll_result = dataclasses.replace(poll_result, outcome=Outcome.DONE)
        return self._finish(context, poll_result)

    def _act_again(self, context: Context, event: Mapping[str, Any]) -> str | None:
        self.has_acted, self.permit_event = True, event
        self.response_was_lost = bool(_resume_with(event).get("response_was_lost"))
        return self._act_and_wait(context, _deadline_of(event))

    def _act_and_wait(self, context: Context, deadline: float) -> str | None:
        from connix_provider.operators._base.busy_agent import act_when_ready
        from connix_provider.polling import worker_loop

        self.clock = SteadyClock()
        connect = partial(worker_loop.PollingSession, deadline=deadline)
        with self.open_connection(connect) as (hook, project_id, polling_session), self._cleaning_up(context):
            with completing_errors(hook, project_id, self.error_fields):
                sent = act_when_ready(self, polling_session, project_id, context, deadline)
            self.on_sent(polling_session.client, sent)
            if sent.goal is None or not (self.wait_for_completion or sent.is_unconfirmed):
                self._close_record(context, is_done=True)
                return sent.agent_id or None
            poller = self.make_poller(sent, sent.goal, deadline)
            if self.deferrable:
                # One poll before the deferral, because the agent may have reached the goal.
                poll_result = worker_loop.poll_once(polling_session, project_id, poller)
            else:
                poll_result = worker_loop.poll_until_done(polling_session, project_id, poller)
        if poll_result is None:
            defer_for_agent(self, project_id, sent, poller)
        return self._finish(context, poll_result)

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """
        End the task with the result of its trigger.

        :raises ValueError: for an event of another kind
        """
        return self._finish(context, self._explain(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume the task, and explain Airflow's own timeout of a deferral.

        :raises ConnixAgentTimeoutError: if no triggerer ended the wait in time
        """
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if is_deferral_timeout(error):
                became = self._clean_up(context)
                # A create knows only the name here, because a resumed task is a new object.
                agent_id, name = (getattr(self, field, None) for field in ("agent_id", "agent_name"))
                name = name or (None if agent_id else getattr(self, "name", None))
                raise ConnixAgentTimeoutError(
                    no_triggerer_message(
                        self.seconds_allowed,
                        str(AgentRef(agent_id, name)),
                        became or "The agent was left as it is.",
                    ),
                    agent_id=agent_id,
                    agent_name=name,
                    project_id=self.project_id,
                ) from None
            raise

    def _explain(self, event: Any) -> PollResult:
        from connix_provider.polling.worker_loop import result_of_event

        return result_of_event(
            ConnixHook(self.connix_conn_id),
            event,
            agent_id=getattr(self, "agent_id", None),
            allowed=self.seconds_allowed,
            execution_timeout=self.execution_timeout,
            log=self.log,
        )

    def _finish(self, context: Context, poll_result: PollResult) -> str:
        if poll_result.outcome is Outcome.DONE:
            self._close_record(context, is_done=True)
            self.log.info("%s", poll_result.message)
            return poll_result.agent_id
        # The action has failed for certain, so the next try may send it again.
        if poll_result.outcome in {Outcome.FAILED, Outcome.GONE} and self.forgets_failure:
            self._close_record(context, is_done=False)
        if poll_result.outcome in {Outcome.FAILED, Outcome.TIMEOUT} and (
            became := self.clean_up_failure(context)
        ):
            poll_result = dataclasses.replace(poll_result, message=f"{poll_result.finding} {became}")
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

    def _clean_up(self, context: Context) -> str | None:
        self._clean_up_record(context)
        return self.clean_up_failure(context)

    def _clean_up_record(self, context: Context) -> None:
        from connix_provider.operators._base.task_state import TaskRecordStore

        if self.keeps_record:
            TaskRecordStore(context).clean_up_after_last_try()

    def _close_record(self, context: Context, *, is_done: bool) -> None:
        from connix_provider.operators._base.task_state import TaskRecordStore

        if not self.keeps_record:
            return
        record_store = TaskRecordStore(context)
        if is_done:
            record_store.mark_done()
        else:
            record_store.delete()


def _deadline_of(event: Any) -> float:
    deadline = event.get("deadline") if isinstance(event, Mapping) else None
    if isinstance(deadline, bool) or not isinstance(deadline, int | float):
        raise ValueError(f"the task was resumed with {quoted(event)}, not with an event of its trigger")
    return deadline


def _resume_with(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the event's ``resume_with``."""
    known = event.get("resume_with")
    return known if isinstance(known, Mapping) else {}
