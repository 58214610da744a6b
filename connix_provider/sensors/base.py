"""The base class of the sensors: the times of a wait, its modes, and how it ends."""

from __future__ import annotations

import math
import time
import types
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException, BaseSensorOperator

from connix_provider.agent_lookup import resolve_agent_id
from connix_provider.exceptions import ConnixSensorTimeoutError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.params import check_seconds
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.deadlines import (
    is_deferral_timeout,
    no_triggerer_message,
    response_grace,
    time_allowed,
)
from connix_provider.polling.outcome_errors import exception_for
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings
from connix_provider.sensors.try_store import TryStore
from connix_provider.task_parameters import TaskParameters

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client
    from connix_provider.polling.status_poller import StatusPoller

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # Airflow before 3.2
    from airflow.exceptions import AirflowRescheduleException

__all__ = ["ConnixSensor"]

#: Seconds before the deadline during which a rescheduled sensor keeps its worker slot.
_KEEP_SLOT = 10.0
#: Seconds that a reschedule must last, if the deadline makes it shorter than the poll interval.
_MIN_RESCHEDULE = 5.0
#: The key of the positions in the agents' logs, in what a try keeps.
_PROGRESS = "connix_wait_progress"


class ConnixSensor(TaskParameters, BaseSensorOperator):
    """Wait on a worker (``poke``, ``reschedule``) or in the triggerer; every mode ends the same way."""

    agent_id: str | None
    agent_name: str | None
    project_id: str | None
    connix_conn_id: str
    deferrable: bool
    stream_agent_logs: bool
    #: What another process of this try has seen of each agent, by id.
    earlier_progress: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({})
    flag_fields = (
        "deferrable",
        "soft_fail",
        "never_fail",
        "silent_fail",
        "exponential_backoff",
        "stream_agent_logs",
    )
    ui_color = "#e4f2ea"

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        End the task with the result of its trigger.

        :raises ValueError: for an event of another kind
        """
        return self.end(self.explain(event))

    def explain(self, event: Any) -> PollResult:
        """
        Read how a deferred wait ended, and add the agent's last errors to a failure.

        :return: how it ended
        :raises ValueError: for an event of another kind
        """
        from connix_provider.polling.worker_loop import result_of_event

        allowed = time_allowed(check_seconds("timeout", self.timeout), self.execution_timeout)
        return result_of_event(
            ConnixHook(self.connix_conn_id),
            event,
            agent_id=self.agent_id,
            allowed=allowed,
            execution_timeout=self.execution_timeout,
            log=self.log,
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume the task, and apply ``soft_fail`` and ``never_fail``.

        The method of ``BaseSensorOperator`` is not called, because with ``soft_fail`` it skips every failure.
        """
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

    def wait_settings(self, first_poke_at: float | None) -> tuple[WaitSettings, float]:
        """
        Compute the times of a wait.

        :param first_poke_at: the time of the first poke in epoch seconds, if another process sent it
        :return: the settings of this process's wait, and the deadline of the whole wait in epoch seconds
        :raises ValueError: for an invalid time
        """
        interval = check_seconds("poke_interval", self.poke_interval, minimum=1.0)
        timeout, now = check_seconds("timeout", self.timeout), time.time()
        began_at = first_poke_at or now
        allowed = time_allowed(timeout, self.execution_timeout)
        # In reschedule mode Airflow applies execution_timeout to each process alone.
        ends_at = began_at + (timeout if self.reschedule and not self.deferrable else allowed)
        settings = WaitSettings(
            poll_interval=interval,
            deadline=min(ends_at, now + time_allowed(math.inf, self.execution_timeout)),
            connix_conn_id=self.connix_conn_id,
            **self.backoff_options(),
            began_at=began_at,
            is_resumed=first_poke_at is not None,
            had_response=first_poke_at is not None,
            response_grace=response_grace(allowed, self.execution_timeout),
            log=self.log,
        )
        return settings, ends_at

    def backoff_options(self) -> dict[str, Any]:
        """
        Return the options of Airflow's sensors that pollers and triggers take alike.

        :return: ``exponential_backoff``, ``max_wait`` in seconds and ``silent_fail``
        """
        return {
            "exponential_backoff": self.exponential_backoff,
            "max_wait": self.max_wait.total_seconds() if self.max_wait else None,
            "silent_fail": self.silent_fail,
        }

    def locate(self, hook: ConnixHook, client: Client) -> tuple[str, str]:
        """
        Find project and agent.

        :return: their ids
        """
        project_id = hook.project_id_for(self.project_id)
        if self.agent_name is not None and len(self.earlier_progress) == 1:
            # The agent that was found first, even if another one has the name by now.
            return project_id, next(iter(self.earlier_progress))
        return project_id, resolve_agent_id(client, project_id, self.agent_id, self.agent_name)

    def load_progress(self, context: Context) -> None:
        """Read what another process of this try has seen; without a place for it, nothing is known."""
        if self.reschedule and not self.deferrable:
            self.earlier_progress = TryStore(context).read(_PROGRESS) or {}

    def progress_of(self, agent_id: str | None, agent_name: str | None) -> WaitProgress:
        """
        Return what is known of an agent.

        :param agent_id: its id; ``None`` for the only agent of the task
        :param agent_name: its name, if known
        """
        only = next(iter(self.earlier_progress.values())) if len(self.earlier_progress) == 1 else {}
        known = self.earlier_progress.get(agent_id, {}) if agent_id is not None else only
        return WaitProgress.from_json({"agent_name": agent_name, **known})

    def reschedule_unless_undecided(
        self, context: Context, pollers: Sequence[StatusPoller], ends_at: float
    ) -> None:
        """
        Reschedule the task for the next poll.

        The slot is kept while the next verdict depends on earlier polls of this process, and right before the
        deadline, because a task that waits for a slot would send its last poll too late.

        With ``stream_agent_logs`` it is also kept if there is no place for the position in the logs.

        :param pollers: the wait for each agent
        :param ends_at: the deadline of the whole wait, in epoch seconds
        """
        kept = TryStore(context)
        if self.stream_agent_logs and not kept.is_available:
            return
        delay = max(poller.schedule.delay() for poller in pollers)
        longest = ends_at - pollers[0].schedule.clock.now() - _KEEP_SLOT
        if any(poller.is_undecided for poller in pollers) or longest < min(delay, _MIN_RESCHEDULE):
            return
        delay = min(delay, longest)
        # An agent that was not found yet is looked up by its name again.
        found = {poller.agent.agent_id: poller.progress() for poller in pollers if poller.agent.agent_id}
        kept.write(_PROGRESS, _without_defaults(found))
        raise AirflowRescheduleException(datetime.fromtimestamp(time.time() + delay, UTC))

    def first_poke_at(self, context: Context) -> float | None:
        """
        Return the time of the first poke, if an earlier process of this task sent it.

        :return: epoch seconds, or ``None``
        """
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

    def finish(self, poll_result: PollResult) -> Any:
        """Return the task's result, or raise what ended the wait."""
        if poll_result.outcome is Outcome.DONE:
            self.log.info("%s", poll_result.message)
            return poll_result.agent_id
        raise exception_for(poll_result, timeout=ConnixSensorTimeoutError)

    def end(self, poll_result: PollResult) -> Any:
        """End the task, and apply ``soft_fail`` and ``never_fail``."""
        try:
            return self.finish(poll_result)
        except Exception as error:
            raise self._softened(error) from None

    def _softened(self, error: Exception) -> Exception:
        """Return a skip in place of an error: for ``never_fail`` of any, for ``soft_fail`` of a timeout."""
        if isinstance(error, AirflowSkipException):
            return error
        if self.never_fail or (self.soft_fail and isinstance(error, AirflowSensorTimeout)):
            return AirflowSkipException(str(error))
        return error


def _without_defaults(value: Any) -> Any:
    """Leave out what says nothing, because Airflow logs a warning for a value of more than 64 KiB."""
    if not isinstance(value, dict):
        return value
    short = {name: _without_defaults(item) for name, item in value.items()}
    return {name: item for name, item in short.items() if item not in (None, False, "", {})}
