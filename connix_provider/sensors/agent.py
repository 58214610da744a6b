"""Wait for a Connix agent to be in a given status."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from connix_provider.exceptions import ConnixAgentGoneError, ConnixSensorTimeoutError, exception_for
from connix_provider.hooks.connix import ConnixHook
from connix_provider.lifecycle import goal_for_statuses
from connix_provider.targets import (
    AgentNameNotFoundError,
    TaskParameters,
    check_seconds,
    resolve_agent_id,
    resolve_project_id,
)
from connix_provider.triggers.agent import ConnixAgentStatusTrigger
from connix_provider.waiting.ending import Ending, Outcome

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client
    from connix_provider.lifecycle import Goal
    from connix_provider.waiting.wait import Wait

# What a DAG file needs in order to be parsed is imported above; everything else is, when a task runs.

__all__ = ["ConnixAgentStatusSensor"]


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
        self._wait: Wait | None = None
        self._look: Callable[[], Ending | None] | None = None

    def execute(self, context: Context) -> Any:
        """
        Wait.

        :param context: Airflow's context
        :return: the agent's id
        """
        from connix_provider.waiting import drive
        from connix_provider.waiting.deferral import LONGEST_PAUSE
        from connix_provider.waiting.wait import Wait

        goal = self._goal()
        began_at = self._first_poke_at(context)
        deadline = (began_at or time.time()) + check_seconds("timeout", self.timeout)
        make_wait = partial(
            Wait, goal, poll_interval=self.poke_interval, deadline=deadline, began_at=began_at, log=self.log
        )
        if began_at and (overdue := make_wait(str(self.agent_id or self.agent_name)).overdue()):
            # Before anything is looked up, which would only fail for want of time.
            return self._end(overdue)
        hook = ConnixHook(self.connix_conn_id)
        project_id = resolve_project_id(self.project_id, hook.default_project_id, self.connix_conn_id)
        # As often as it takes: what ends a sensor is its time-out, not a service that is down.
        with drive.Connected(hook, max_attempts=sys.maxsize, deadline=deadline) as connected:
            wait = make_wait(self._find(connected.client, project_id, seen_before=began_at is not None))
            look = partial(drive.look, connected, project_id, wait)
            if not self.deferrable:
                return self._let_airflow_poke(context, wait, look)
            # A look from here spares what has happened already the way through the triggerer.
            ending = look(longest_pause=LONGEST_PAUSE)
        if ending is None or (self.silent_fail and ending.outcome is not Outcome.DONE):
            self._defer(project_id, wait)
        return self._end(ending)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look once; Airflow calls this in poke and reschedule mode.

        Called by itself, as in a unit test, it is the first look of a wait: no earlier one tells how long the
        agent has been well, so with ``stable_for`` it is never a success.

        :param context: Airflow's context; a look by itself needs nothing of it
        :return: success with the agent's id, or ``False`` while the wait goes on
        """
        if self._wait is None or self._look is None:
            ending = self._look_once()
        else:
            ending = self._look()
            while ending is None and self.reschedule and self._wait.is_holding():
                # Between two processes nothing would remember for how long the agent has been well.
                time.sleep(self._wait.rest())
                ending = self._look()
        return False if ending is None else PokeReturnValue(True, self._finish(ending))

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """
        End the task by what its trigger saw.

        :param context: Airflow's context
        :param event: the trigger's event
        :return: the agent's id
        :raises ValueError: for an event that no trigger of this provider sends
        """
        return self._end(Ending.from_event(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume, skipping what ``soft_fail`` and ``never_fail`` are meant to skip, and no more.

        Airflow's own method takes any failure for one that ``soft_fail`` skips, so it is passed over.

        :param next_method: the method to go on with
        :param next_kwargs: its arguments
        :param context: Airflow's context
        :return: what that method returns
        """
        from connix_provider.waiting.deferral import is_deferral_timeout, untended

        try:
            return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if is_deferral_timeout(error):
                error = ConnixSensorTimeoutError(untended(self.timeout))
            raise self._softened(error) from None

    def _let_airflow_poke(self, context: Context, wait: Wait, look: Callable[[], Ending | None]) -> Any:
        """Run Airflow's own loop, and put its time-out into the words of this provider."""
        from connix_provider.waiting.kill import dies_when_killed

        self._wait, self._look = wait, look
        try:
            with dies_when_killed():
                return super().execute(context)
        except ConnixSensorTimeoutError as error:
            raise self._softened(error) from None
        except AirflowSensorTimeout:
            raise self._softened(ConnixSensorTimeoutError(wait.timed_out().message)) from None
        finally:
            self._wait = self._look = None

    def _goal(self) -> Goal:
        self.check_parameters()
        goal = goal_for_statuses(self.target_statuses, self.failure_statuses, stable_for=self.stable_for)
        check_seconds("poke_interval", self.poke_interval, minimum=1.0)
        return goal

    def _look_once(self) -> Ending | None:
        """Take a look that stands alone: it begins now, and leaves nothing open."""
        from connix_provider.client import ConnixError
        from connix_provider.client.retry import may_pass
        from connix_provider.waiting import drive
        from connix_provider.waiting.wait import LONGEST_LOOK, Wait

        goal = self._goal()
        deadline = time.time() + check_seconds("timeout", self.timeout)
        hook = ConnixHook(self.connix_conn_id)
        project_id = resolve_project_id(self.project_id, hook.default_project_id, self.connix_conn_id)
        with drive.Connected(hook, max_attempts=1, deadline=deadline) as connected:
            client = connected.client.with_options(total_timeout=LONGEST_LOOK)
            try:
                agent_id = resolve_agent_id(client, project_id, self.agent_id, self.agent_name)
            except ConnixError as error:
                if not may_pass(error):
                    raise
                self.log.warning("Agent %r could not be looked up: %s", self.agent_name, error)
                return None
            wait = Wait(goal, agent_id, poll_interval=self.poke_interval, deadline=deadline, log=self.log)
            return drive.look(connected, project_id, wait)

    def _find(self, client: Client, project_id: str, *, seen_before: bool) -> str:
        """Find the agent, with the endings of a wait: its name may be looked up in every poke."""
        from connix_provider.client import ConnixError
        from connix_provider.client.retry import may_pass

        try:
            return resolve_agent_id(client, project_id, self.agent_id, self.agent_name)
        except AgentNameNotFoundError as error:
            # In reschedule mode an earlier poke has seen it.
            raise self._softened(ConnixAgentGoneError(str(error)) if seen_before else error) from None
        except ConnixError as error:
            if not may_pass(error):
                raise self._softened(error) from None
            message = f"Agent {self.agent_name!r} could not be looked up within the time allowed: {error}"
            raise self._softened(ConnixSensorTimeoutError(message)) from None

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

    def _defer(self, project_id: str, wait: Wait) -> NoReturn:
        from connix_provider.waiting.deferral import deferral_timeout

        self.log.info("Agent %s: waiting in the triggerer from here on.", wait.agent_id)
        self.defer(
            trigger=ConnixAgentStatusTrigger(
                project_id,
                wait.agent_id,
                "sensor",
                target_statuses=wait.goal.done,
                failure_statuses=wait.goal.failed,
                stable_for=wait.goal.stable_for,
                poll_state=wait.state.to_json(),
                poll_interval=self.poke_interval,
                exponential_backoff=bool(self.exponential_backoff),
                max_wait=self.max_wait.total_seconds() if self.max_wait else None,
                keep_going=self.silent_fail,
                deadline=wait.deadline,
                began_at=time.time(),
                first_look_at=time.time() + self.poke_interval,
                connix_conn_id=self.connix_conn_id,
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(wait.deadline),
        )

    def _finish(self, ending: Ending) -> str:
        if ending.outcome is Outcome.DONE:
            self.log.info("%s", ending.message)
            return ending.agent_id
        if ending.outcome is Outcome.TIMEOUT:
            raise ConnixSensorTimeoutError(ending.message)
        raise exception_for(ending)

    def _end(self, ending: Ending) -> str:
        """Finish a deferred wait; in the other modes Airflow's own loop does the softening."""
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
