"""Wait for a Connix agent to be in a given status."""

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
from connix_provider.targets import TaskParameters, check_seconds, resolve_agent_id, resolve_project_id
from connix_provider.triggers.agent import ConnixAgentStatusTrigger
from connix_provider.waiting.ending import Ending, Outcome

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client
    from connix_provider.waiting.wait import Wait

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # Airflow before 3.2
    from airflow.exceptions import AirflowRescheduleException

# What a DAG file needs in order to be parsed is imported above; everything else is, when a task runs.

__all__ = ["ConnixAgentStatusSensor"]

#: Seconds before its deadline from when on a rescheduled sensor keeps its worker slot.
_KEEP_SLOT = 10.0


class ConnixAgentStatusSensor(TaskParameters, BaseSensorOperator):
    """
    Wait until an agent has a status, on a worker (``poke``, ``reschedule``) or in the triggerer.

    The same agent gives the same outcome in every mode: success in a target status, a
    :class:`~connix_provider.exceptions.ConnixAgentFailedError` in a failure status, a
    :class:`~connix_provider.exceptions.ConnixAgentGoneError` when it is deleted, and a
    :class:`~connix_provider.exceptions.ConnixAgentTimeoutError` when the time is up. Of these only the
    time-out is skipped by ``soft_fail``. Trouble on the way to Connix is survived; a refused key is not. The
    sensor never touches the agent, and returns its id.

    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param target_statuses: the status to wait for, or several; default ``running``
    :param failure_statuses: statuses at which to fail; default ``error``, where that is not a target
    :param stable_for: seconds that a target status must be seen without a change, default 0; in reschedule
        mode the worker slot is kept meanwhile
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
    flag_fields = ("deferrable", "soft_fail", "never_fail", "silent_fail")
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
        Wait.

        :param context: Airflow's context
        :return: the agent's id
        """
        from connix_provider.waiting.drive import Connected, look, wait_sync
        from connix_provider.waiting.kill import dies_when_killed
        from connix_provider.waiting.wording import not_waited_for

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
            connected = Connected(hook, deadline=ends_at, is_resumed=is_resumed)
        locate = partial(self._locate, hook)
        with connected, dies_when_killed():
            if not self.deferrable and not self.reschedule:
                return self._end(wait_sync(connected, None, wait, locate=locate))
            while (ending := look(connected, None, wait, locate=locate)) is None:
                if self.deferrable and wait.agent.link:
                    self._defer(wait)
                if self.reschedule and not self.deferrable:
                    self._reschedule_unless_undecided(wait, ends_at)
                time.sleep(wait.rest())
        return self._end(ending)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Send one poll, as in a unit test; :meth:`execute` has a loop of its own.

        It is the first poll of a wait: no earlier one tells how long the agent has been well, so with
        ``stable_for`` it is never a success.

        :param context: Airflow's context, of which nothing is needed
        :return: success with the agent's id, or ``False`` while the wait goes on
        """
        from connix_provider.waiting.drive import Connected, look

        wait, ends_at = self._make_wait(None)
        hook = ConnixHook(self.connix_conn_id)
        with Connected(hook, deadline=ends_at) as connected:
            ending = look(connected, None, wait, locate=partial(self._locate, hook))
        return False if ending is None else PokeReturnValue(True, self._finish(ending))

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """
        End the task by what its trigger saw.

        :param context: Airflow's context
        :param event: the trigger's event
        :return: the agent's id
        :raises ValueError: for an event that no trigger of this provider sends
        """
        from connix_provider.waiting.drive import explain

        return self._end(explain(ConnixHook(self.connix_conn_id), event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume, skipping what ``soft_fail`` and ``never_fail`` are meant to skip, and no more.

        Airflow's own method takes any failure for one that ``soft_fail`` skips, so it is passed over.

        :param next_method: the method to go on with
        :param next_kwargs: its arguments
        :param context: Airflow's context
        :return: what that method returns
        """
        from connix_provider.waiting.agent_ref import AgentRef
        from connix_provider.waiting.deferral import is_deferral_timeout, time_allowed, untended

        try:
            return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if is_deferral_timeout(error):
                allowed = time_allowed(self.timeout, self.execution_timeout)
                error = ConnixSensorTimeoutError(
                    untended(allowed, str(AgentRef(self.agent_id, self.agent_name))),
                    agent_id=self.agent_id,
                    agent_name=self.agent_name,
                    project_id=self.project_id,
                )
            raise self._softened(error) from None

    def _make_wait(self, first_poke_at: float | None) -> tuple[Wait, float]:
        """Make the wait of this process, and say when the whole wait ends, in epoch seconds."""
        from connix_provider.waiting.deferral import response_grace, time_allowed
        from connix_provider.waiting.wait import RESPONSE_GRACE, Wait

        self.check_parameters()
        goal = goal_for_statuses(self.target_statuses, self.failure_statuses, stable_for=self.stable_for)
        interval = check_seconds("poke_interval", self.poke_interval, minimum=1.0)
        timeout, now = check_seconds("timeout", self.timeout), time.time()
        began_at = first_poke_at or now
        allowed = time_allowed(timeout, self.execution_timeout)
        # Airflow counts execution_timeout in each process alone when it reschedules a sensor.
        ends_at = began_at + (timeout if self.reschedule and not self.deferrable else allowed)
        wait = Wait(
            goal,
            None if self.agent_id is None else str(self.agent_id),
            poll_interval=interval,
            deadline=min(ends_at, now + time_allowed(math.inf, self.execution_timeout)),
            agent_name=None if self.agent_name is None else str(self.agent_name),
            connix_conn_id=self.connix_conn_id,
            exponential_backoff=bool(self.exponential_backoff),
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
        """Find project and agent; a name is looked up within the time of a poll."""
        project_id = resolve_project_id(self.project_id, hook.default_project_id, self.connix_conn_id)
        return project_id, resolve_agent_id(client, project_id, self.agent_id, self.agent_name)

    def _reschedule_unless_undecided(self, wait: Wait, ends_at: float) -> None:
        """
        Give the worker slot back until the next poll.

        It is kept while the next verdict rests on what this process saw, and right before the deadline, so
        that the last poll is sent on time however long the task waits for a slot.
        """
        left = ends_at - wait.clock.now()
        if wait.is_undecided or left <= _KEEP_SLOT:
            return
        delay = min(wait.delay(), left - _KEEP_SLOT)
        raise AirflowRescheduleException(datetime.fromtimestamp(time.time() + delay, UTC))

    def _first_poke_at(self, context: Context) -> float | None:
        """Say when the first poke was, in epoch seconds, where an earlier process took it: to reschedule."""
        if self.deferrable or not self.reschedule:
            return None
        ti = context["ti"]
        if hasattr(ti, "get_first_reschedule_date"):
            first = ti.get_first_reschedule_date(context)
        else:
            # Airflow 2 asks its database, as its own loop does.
            from airflow.sensors.base import _orig_start_date

            tries_before = (ti.max_tries or 0) - (self.retries or 0)
            first = _orig_start_date(ti.dag_id, ti.task_id, ti.run_id, ti.map_index, tries_before + 1)
        if isinstance(first, str):  # Airflow 3.0 hands on what its API answered
            first = datetime.fromisoformat(first)
        return first.timestamp() if first else None

    def _defer(self, wait: Wait) -> NoReturn:
        from connix_provider.waiting.deferral import deferral_timeout

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
                exponential_backoff=bool(self.exponential_backoff),
                max_wait=self.max_wait.total_seconds() if self.max_wait else None,
                silent_fail=self.silent_fail,
                connix_conn_id=self.connix_conn_id,
                **handover,
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(handover["deadline"]),
        )

    def _finish(self, ending: Ending) -> str:
        if ending.outcome is Outcome.DONE:
            self.log.info("%s", ending.message)
            return ending.agent_id
        raise exception_for(ending, timeout=ConnixSensorTimeoutError)

    def _end(self, ending: Ending) -> str:
        try:
            return self._finish(ending)
        except Exception as error:
            raise self._softened(error) from None

    def _softened(self, error: Exception) -> Exception:
        """Turn an error into a skip where the sensor was told to: for ``soft_fail`` only a time-out."""
        if isinstance(error, AirflowSkipException):
            return error
        if self.never_fail or (self.soft_fail and isinstance(error, AirflowSensorTimeout)):
            return AirflowSkipException(str(error))
        return error
