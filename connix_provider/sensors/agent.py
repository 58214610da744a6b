"""The sensor that waits for a status of an agent."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from connix_provider.exceptions import ConnixSensorTimeoutError, exception_for
from connix_provider.hooks.connix import ConnixHook
from connix_provider.hooks.diagnosis import naming_subject
from connix_provider.lifecycle import goal_for_statuses
from connix_provider.params import check_seconds, resolve_agent_id, resolve_project_id
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.task_parameters import TaskParameters
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client
    from connix_provider.polling.status_poller import StatusPoller

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # Airflow before 3.2
    from airflow.exceptions import AirflowRescheduleException

# Modules that parsing a DAG file does not need are imported in functions.

__all__ = ["ConnixAgentStatusSensor"]

#: Seconds before the deadline during which a rescheduled sensor keeps its worker slot.
_KEEP_SLOT = 10.0


class ConnixAgentStatusSensor(TaskParameters, BaseSensorOperator):
    """
    Wait until an agent has a status, on a worker (``poke``, ``reschedule``) or in the triggerer.

    Every mode ends the same way: with success in a target status, with
    :class:`~connix_provider.exceptions.ConnixAgentFailedError` in a failure status, with
    :class:`~connix_provider.exceptions.ConnixAgentGoneError` if the agent is deleted, and with
    :class:`~connix_provider.exceptions.ConnixAgentTimeoutError` at the deadline. ``soft_fail`` skips only the
    time-out. Transient errors do not end the wait, but a refused key does. The sensor only reads the agent,
    and returns its id.

    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param target_statuses: the status or statuses that end the wait with success; default ``running``
    :param failure_statuses: statuses that end it with failure; default ``error``, if that is not a target
    :param stable_for: seconds, or a timedelta, for which polls must show a target status without a change;
        default 0. In reschedule mode the sensor keeps its worker slot meanwhile
    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param deferrable: whether to wait in the triggerer, without a worker slot; default
        ``operators.default_deferrable`` of Airflow's configuration

    ``poke_interval`` (1 second or more), ``timeout``, ``mode``, ``soft_fail``, ``exponential_backoff`` and
    the rest are those of Airflow's ``BaseSensorOperator``, in the triggerer too.
    """

    template_fields: Sequence[str] = (
        "agent_id",
        "agent_name",
        "target_statuses",
        "failure_statuses",
        "project_id",
        "connix_conn_id",
    )
    flag_fields = ("deferrable", "soft_fail", "never_fail", "silent_fail", "exponential_backoff")
    ui_color = "#e4f2ea"

    def __init__(
        self,
        *,
        agent_id: str | None = None,
        agent_name: str | None = None,
        target_statuses: str | Collection[str] = "running",
        failure_statuses: str | Collection[str] | None = None,
        stable_for: float = 0.0,
        project_id: str | None = None,
        connix_conn_id: str = ConnixHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id = agent_id
        self.agent_name = agent_name
        self.target_statuses = target_statuses
        self.failure_statuses = failure_statuses
        self.stable_for = stable_for
        self.project_id = project_id
        self.connix_conn_id = connix_conn_id
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """
        Wait for the status.

        :param context: Airflow's context
        :return: the agent's id
        """
        from connix_provider.polling.messages import not_waited_for
        from connix_provider.polling.session import PollingSession, poll_once, poll_until_done
        from connix_provider.polling.task_kill import exit_on_sigterm

        first_poke_at = self._first_poke_at(context)
        wait, ends_at = self._make_wait(first_poke_at)
        if (overdue := wait.overdue()) is not None:
            # Nothing is sent after the deadline.
            return self._end(overdue)
        hook = ConnixHook(self.connix_conn_id)
        is_resumed = first_poke_at is not None
        with naming_subject(not_waited_for(wait.goal, wait.agent)):
            if not is_resumed:
                resolve_project_id(self.project_id, hook.default_project_id, self.connix_conn_id)
            connected = PollingSession(hook, deadline=ends_at, is_resumed=is_resumed)
        locate = partial(self._locate, hook)
        with connected, exit_on_sigterm():
            if not self.deferrable and not self.reschedule:
                return self._end(poll_until_done(connected, None, wait, locate=locate))
            while (poll_result := poll_once(connected, None, wait, locate=locate)) is None:
                if self.deferrable and wait.agent.link:
                    self._defer(wait)
                if self.reschedule and not self.deferrable:
                    self._reschedule_unless_undecided(wait, ends_at)
                time.sleep(wait.schedule.rest())
        return self._end(poll_result)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Send one poll. This is for unit tests; :meth:`execute` has a loop of its own.

        The poll is the first of a new wait, so with ``stable_for`` it is never a success.

        :param context: Airflow's context, which is not used
        :return: success with the agent's id, or ``False`` if the wait would go on
        """
        from connix_provider.polling.session import PollingSession, poll_once

        wait, ends_at = self._make_wait(None)
        hook = ConnixHook(self.connix_conn_id)
        with PollingSession(hook, deadline=ends_at) as connected:
            poll_result = poll_once(connected, None, wait, locate=partial(self._locate, hook))
        return False if poll_result is None else PokeReturnValue(True, self._finish(poll_result))

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """
        End the task with the result of its trigger.

        :param context: Airflow's context
        :param event: the trigger's event
        :return: the agent's id
        :raises ValueError: for an event of another kind
        """
        from connix_provider.polling.session import explain

        return self._end(explain(ConnixHook(self.connix_conn_id), event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume the task, and apply ``soft_fail`` and ``never_fail``.

        The method of ``BaseSensorOperator`` is not called, because with ``soft_fail`` it skips every failure.

        :param next_method: the method to call
        :param next_kwargs: its arguments
        :param context: Airflow's context
        :return: the result of the method
        """
        from connix_provider.polling.agent_ref import AgentRef
        from connix_provider.polling.deferral import is_deferral_timeout, no_triggerer_message, time_allowed

        try:
            return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if is_deferral_timeout(error):
                allowed = time_allowed(self.timeout, self.execution_timeout)
                error = ConnixSensorTimeoutError(
                    no_triggerer_message(allowed, str(AgentRef(self.agent_id, self.agent_name))),
                    agent_id=self.agent_id,
                    agent_name=self.agent_name,
                    project_id=self.project_id,
                )
            raise self._softened(error) from None

    def _make_wait(self, first_poke_at: float | None) -> tuple[StatusPoller, float]:
        """Return the wait of this process, and the deadline of the whole wait in epoch seconds."""
        from connix_provider.polling.deferral import response_grace, time_allowed
        from connix_provider.polling.status_poller import RESPONSE_GRACE, StatusPoller

        self.check_parameters()
        goal = goal_for_statuses(self.target_statuses, self.failure_statuses, stable_for=self.stable_for)
        interval = check_seconds("poke_interval", self.poke_interval, minimum=1.0)
        timeout, now = check_seconds("timeout", self.timeout), time.time()
        began_at = first_poke_at or now
        allowed = time_allowed(timeout, self.execution_timeout)
        # In reschedule mode Airflow applies execution_timeout to each process alone.
        ends_at = began_at + (timeout if self.reschedule and not self.deferrable else allowed)
        wait = StatusPoller(
            goal,
            None if self.agent_id is None else str(self.agent_id),
            poll_interval=interval,
            deadline=min(ends_at, now + time_allowed(math.inf, self.execution_timeout)),
            agent_name=None if self.agent_name is None else str(self.agent_name),
            connix_conn_id=self.connix_conn_id,
            exponential_backoff=self.exponential_backoff,
            max_wait=self.max_wait.total_seconds() if self.max_wait else None,
            silent_fail=self.silent_fail,
            began_at=began_at,
            is_resumed=first_poke_at is not None,
            has_answered=first_poke_at is not None,
            response_grace=response_grace(allowed, self.execution_timeout, RESPONSE_GRACE),
            log=self.log,
        )
        return wait, ends_at

    def _locate(self, hook: ConnixHook, client: Client) -> tuple[str, str]:
        """Find project and agent."""
        project_id = resolve_project_id(self.project_id, hook.default_project_id, self.connix_conn_id)
        return project_id, resolve_agent_id(client, project_id, self.agent_id, self.agent_name)

    def _reschedule_unless_undecided(self, wait: StatusPoller, ends_at: float) -> None:
        """
        Reschedule the task for the next poll.

        The slot is kept while the next verdict depends on earlier polls of this process, and right before the
        deadline, because a task that waits for a slot would send its last poll too late.
        """
        left = ends_at - wait.schedule.clock.now()
        if wait.is_undecided or left <= _KEEP_SLOT:
            return
        delay = min(wait.schedule.delay(), left - _KEEP_SLOT)
        raise AirflowRescheduleException(datetime.fromtimestamp(time.time() + delay, UTC))

    def _first_poke_at(self, context: Context) -> float | None:
        """Return the time of the first poke in epoch seconds, if an earlier process of this task sent it."""
        if self.deferrable or not self.reschedule:
            return None
        ti = context["ti"]
        if hasattr(ti, "get_first_reschedule_date"):
            first = ti.get_first_reschedule_date(context)
        else:
            # Airflow 2 reads its database, as in its own loop.
            from airflow.sensors.base import _orig_start_date

            tries_before = (ti.max_tries or 0) - (self.retries or 0)
            first = _orig_start_date(ti.dag_id, ti.task_id, ti.run_id, ti.map_index, tries_before + 1)
        if isinstance(first, str):  # Airflow 3.0 returns the text of its API
            first = datetime.fromisoformat(first)
        return first.timestamp() if first else None

    def _defer(self, wait: StatusPoller) -> NoReturn:
        from connix_provider.polling.deferral import deferral_timeout

        self.log.info("Agent %s: waiting in the triggerer from here on.", wait.agent)
        handover = wait.handover()
        self.defer(
            trigger=ConnixAgentStatusTrigger(
                str(wait.agent.project_id),
                str(wait.agent.agent_id),
                "sensor",
                target_statuses=wait.goal.done,
                failure_statuses=wait.goal.failed,
                stable_for=wait.goal.stable_for,
                exponential_backoff=self.exponential_backoff,
                max_wait=self.max_wait.total_seconds() if self.max_wait else None,
                silent_fail=self.silent_fail,
                connix_conn_id=self.connix_conn_id,
                **handover,
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(handover["deadline"]),
        )

    def _finish(self, poll_result: PollResult) -> str:
        if poll_result.outcome is Outcome.DONE:
            self.log.info("%s", poll_result.message)
            return poll_result.agent_id
        raise exception_for(poll_result, timeout=ConnixSensorTimeoutError)

    def _end(self, poll_result: PollResult) -> str:
        try:
            return self._finish(poll_result)
        except Exception as error:
            raise self._softened(error) from None

    def _softened(self, error: Exception) -> Exception:
        """Return a skip in place of an error: for ``never_fail`` of any, for ``soft_fail`` of a time-out."""
        if isinstance(error, AirflowSkipException):
            return error
        if self.never_fail or (self.soft_fail and isinstance(error, AirflowSensorTimeout)):
            return AirflowSkipException(str(error))
        return error
