"""The sensor that waits for a status of an agent."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import PokeReturnValue

from connix_provider.hooks.connix import ConnixHook
from connix_provider.hooks.diagnosis import adding_subject
from connix_provider.lifecycle import goal_for_statuses
from connix_provider.polling.deadlines import deferral_timeout
from connix_provider.sensors.base import ConnixSensor
from connix_provider.task_parameters import DEFERRABLE_BY_DEFAULT
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.polling.status_poller import StatusPoller

__all__ = ["ConnixAgentStatusSensor"]


class ConnixAgentStatusSensor(ConnixSensor):
    """
    Wait until an agent has a status, on a worker (``poke``, ``reschedule``) or in the triggerer.

    Every mode ends the same way: with success in a target status, with
    :class:`~connix_provider.exceptions.ConnixAgentFailedError` in a failure status, with
    :class:`~connix_provider.exceptions.ConnixAgentGoneError` if the agent is deleted, and with
    :class:`~connix_provider.exceptions.ConnixAgentTimeoutError` at the deadline. ``soft_fail`` skips only the
    timeout. Transient errors do not end the wait, but a refused key does. The sensor only reads the agent,
    and returns its id.

    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param target_statuses: the status or statuses that end the wait with success; default ``running``
    :param failure_statuses: statuses that end it with failure; default ``error``, if that is not a target
    :param stable_for: seconds, or a timedelta, for which polls must show a target status without a change;
        default 0. In reschedule mode the sensor keeps its worker slot meanwhile
    :param project_id: the project; default the connection's ``project_id``
    :param stream_agent_logs: whether new lines of the agent's log go into the task's log during the wait;
        default no. Costs a request of the rate limit on Get Agent Logs for each poll. In reschedule mode, an
        Airflow before 3.3 keeps the worker slot
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

    def __init__(
        self,
        *,
        agent_id: str | None = None,
        agent_name: str | None = None,
        target_statuses: str | Collection[str] = "running",
        failure_statuses: str | Collection[str] | None = None,
        stable_for: float | timedelta = 0.0,
        project_id: str | None = None,
        stream_agent_logs: bool = False,
        connix_conn_id: str = ConnixHook.default_conn_name,
        deferrable: bool = DEFERRABLE_BY_DEFAULT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id = agent_id
        self.agent_name = agent_name
        self.target_statuses = target_statuses
        self.failure_statuses = failure_statuses
        self.stable_for = stable_for
        self.project_id = project_id
        self.stream_agent_logs = stream_agent_logs
        self.connix_conn_id = connix_conn_id
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """
        Wait for the status.

        :param context: Airflow's context
        :return: the agent's id
        :raises ValueError: for an invalid parameter, before any request
        :raises ConnixAgentFailedError: for a failure status
        :raises ConnixAgentGoneError: if the agent was deleted
        :raises ConnixSensorTimeoutError: if the deadline passes
        :raises ConnixError: if the service refuses a request
        """
        from connix_provider.polling.messages import not_waited_for
        from connix_provider.polling.task_kill import exit_on_sigterm
        from connix_provider.polling.worker_loop import PollingSession, poll_once

        first_poke_at = self.first_poke_at(context)
        self.load_progress(context)
        poller, ends_at = self._make_poller(first_poke_at)
        if (overdue := poller.check_deadline()) is not None:
            # Nothing is sent after the deadline.
            return self.end(overdue)
        hook = ConnixHook(self.connix_conn_id)
        is_resumed = first_poke_at is not None
        with adding_subject(not_waited_for(poller.goal, poller.agent)):
            if not is_resumed:
                hook.project_id_for(self.project_id)
            polling_session = PollingSession(hook, deadline=ends_at, is_resumed=is_resumed)
        locate = partial(self.locate, hook)
        with polling_session, exit_on_sigterm():
            while (poll_result := poll_once(polling_session, None, poller, locate=locate)) is None:
                if self.deferrable and poller.agent.link:
                    self._defer(poller)
                if self.reschedule and not self.deferrable:
                    self.reschedule_unless_undecided(context, [poller], ends_at)
                time.sleep(poller.schedule.sleep_seconds())
        return self.end(poll_result)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Send one poll. This is for unit tests; :meth:`execute` has a loop of its own.

        The poll is the first of a new wait, so with ``stable_for`` it is never a success.

        :param context: Airflow's context, which is not used
        :return: success with the agent's id, or ``False`` if the wait would continue
        """
        from connix_provider.polling.worker_loop import PollingSession, poll_once

        poller, ends_at = self._make_poller(None)
        hook = ConnixHook(self.connix_conn_id)
        with PollingSession(hook, deadline=ends_at) as polling_session:
            poll_result = poll_once(polling_session, None, poller, locate=partial(self.locate, hook))
        return False if poll_result is None else PokeReturnValue(True, self.finish(poll_result))

    def _make_poller(self, first_poke_at: float | None) -> tuple[StatusPoller, float]:
        """Return the wait of this process, and the deadline of the whole wait in epoch seconds."""
        from connix_provider.polling.status_poller import StatusPoller

        self.check_parameters()
        goal = goal_for_statuses(self.target_statuses, self.failure_statuses, stable_for=self.stable_for)
        settings, ends_at = self.wait_settings(first_poke_at)
        progress = self.progress_of(None, None if self.agent_name is None else str(self.agent_name))
        if self.stream_agent_logs and progress.log_position is None:
            progress = dataclasses.replace(progress, log_position={})
        agent_id = None if self.agent_id is None else str(self.agent_id)
        return StatusPoller(goal, agent_id, settings, progress), ends_at

    def _defer(self, poller: StatusPoller) -> NoReturn:
        self.log.info("Agent %s: deferring; the triggerer continues the polls.", poller.agent)
        trigger_arguments = poller.trigger_arguments()
        self.defer(
            trigger=ConnixAgentStatusTrigger(
                str(poller.agent.project_id),
                str(poller.agent.agent_id),
                "sensor",
                target_statuses=poller.goal.done,
                failure_statuses=poller.goal.failed,
                stable_for=poller.goal.stable_for,
                connix_conn_id=self.connix_conn_id,
                **self.backoff_options(),
                **trigger_arguments,
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(trigger_arguments["deadline"]),
        )
