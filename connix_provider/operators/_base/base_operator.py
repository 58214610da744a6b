"""The parameters, the connection and the waits that the operators share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.providers.common.compat.sdk import BaseOperator

from connix_provider.hooks.connix import ConnixHook
from connix_provider.hooks.diagnosis import adding_subject
from connix_provider.lifecycle import GOALS
from connix_provider.operators._base.error_context import error_subject
from connix_provider.operators._base.identity import try_number_of
from connix_provider.params import check_seconds
from connix_provider.polling.clock import SteadyClock
from connix_provider.polling.deadlines import response_grace, time_allowed
from connix_provider.polling.task_kill import exit_on_sigterm
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings
from connix_provider.task_parameters import TaskParameters

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.operators._base.sent_action import SentAction
    from connix_provider.polling.status_poller import StatusPoller

__all__ = ["ConnixBaseOperator", "PollingOperator"]

C = TypeVar("C", bound=AbstractContextManager[Any])
#: Seconds between two polls of a busy agent, at most.
SETTLE_INTERVAL = 5.0


class ConnixBaseOperator(TaskParameters, BaseOperator):
    """
    A task at Connix: its project, its connection and its time.

    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param timeout: seconds, or a timedelta, for the whole task
    """

    template_fields: Sequence[str] = ("project_id", "connix_conn_id")
    flag_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        project_id: str | None,
        connix_conn_id: str,
        timeout: float | timedelta,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project_id = project_id
        self.connix_conn_id = connix_conn_id
        self.timeout = timeout

    def error_fields(self) -> dict[str, Any]:
        """
        Return the action and the agent, for messages.

        :return: ``verb``, and ``agent_id`` or ``agent_name`` as far as the task knows them; or ``subject``,
            for a task that is not on one agent
        """
        raise NotImplementedError

    def check(self) -> None:
        """
        Check the parameters, before any request.

        :raises ValueError: for an invalid parameter
        """
        self.check_parameters()
        check_seconds("timeout", self.timeout)

    @property
    def seconds_allowed(self) -> float:
        """Seconds for the whole task: ``timeout``, or until right before ``execution_timeout``."""
        return time_allowed(check_seconds("timeout", self.timeout), self.execution_timeout)

    @contextmanager
    def open_connection(self, connect: Callable[[ConnixHook], C]) -> Iterator[tuple[ConnixHook, str, C]]:
        """
        Open the task's connection. Meanwhile SIGTERM ends the task at once.

        :param connect: opens it, such as ``ConnixHook.get_conn``
        :return: the hook, the project and the result of ``connect``
        :raises ValueError: for a connection with an invalid setting, or without a project
        :raises AirflowNotFoundException: for a connection id that is not defined
        """
        hook = ConnixHook(self.connix_conn_id)
        with adding_subject(error_subject(**self.error_fields())):
            project_id = hook.project_id_for(self.project_id)
            connection = connect(hook)
        with connection, exit_on_sigterm():
            yield hook, project_id, connection


class PollingOperator(ConnixBaseOperator):
    """
    A task that polls agents.

    :param poll_interval: seconds between two polls of an agent, or a timedelta; 1 s or more
    """

    ui_color = "#d9e8f6"
    #: Whether to wait in the triggerer, without a worker slot.
    deferrable: bool = False
    #: Whether to wait for the goals of the actions.
    wait_for_completion: bool = True
    #: The clock by which this process computed the deadline; set when the task begins.
    clock: SteadyClock

    def __init__(self, *, poll_interval: float | timedelta, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poll_interval = poll_interval

    def check(self) -> None:
        """
        Check the parameters, before any request.

        :raises ValueError: for an invalid parameter
        """
        super().check()
        check_seconds("poll_interval", self.poll_interval, minimum=1.0)

    @property
    def poll_seconds(self) -> float:
        """Seconds between two polls."""
        return check_seconds("poll_interval", self.poll_interval, minimum=1.0)

    def may_have_sent(self, context: Context) -> bool:
        """Return whether this task run may have sent its action before: in a retry."""
        return try_number_of(context) > 1

    def make_poller(
        self, sent: SentAction, goal: str, deadline: float, log_position: Mapping[str, Any] | None = None
    ) -> StatusPoller:
        """
        Return the poller for the goal of an action.

        :param goal: the goal's name
        :param deadline: epoch seconds at which the wait times out
        :param log_position: where the lines of the agent's log begin that the task logs; ``None`` for none
        """
        from connix_provider.polling.status_poller import StatusPoller

        allowed = self.seconds_allowed
        # The system's clock may have been set since the task began.
        deadline = self.clock.to_system(deadline)
        settings = WaitSettings(
            # A busy agent settles within seconds, whatever the poll interval.
            poll_interval=min(self.poll_seconds, SETTLE_INTERVAL) if goal == "settle" else self.poll_seconds,
            deadline=deadline,
            began_at=deadline - allowed,
            had_response=True,
            response_grace=response_grace(allowed, self.execution_timeout),
            log=self.log,
        )
        progress = WaitProgress(
            agent_name=sent.agent_name, state=sent.poll_state(), log_position=log_position
        )
        return StatusPoller(GOALS[goal], sent.agent_id, settings, progress)
