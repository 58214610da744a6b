"""``cancel_on_kill``: undo the action of a killed task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators.sent_action import SentAction

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client

__all__ = ["CancelOnKillMixin"]


class CancelOnKillMixin(BaseOperator):
    """
    Undoes the action of a task that is killed and failed.

    :param connix_conn_id: the Airflow connection
    :param cancel_on_kill: whether the action is undone
    """

    def __init__(self, *, connix_conn_id: str, cancel_on_kill: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connix_conn_id = connix_conn_id
        self.cancel_on_kill = cancel_on_kill
        self._acting: tuple[str, Context] | None = None
        self._done: SentAction | None = None
        self._killed = False
        self._undoes = False
        self._undone: str | None = None

    def about_to_act(self, project_id: str, context: Context) -> None:
        """
        Note that the task is about to send requests.

        :param project_id: the project
        :param context: Airflow's context
        :raises AirflowException: if the task was killed already
        """
        if self._killed:
            raise AirflowException("The task was killed before it acted; no request is sent.")
        self._acting = (project_id, context)

    def note_sent(self, client: Client, acted: SentAction) -> None:
        """
        Note the action that was sent, and undo it if the task was killed meanwhile.

        :param client: a client
        :param acted: the action
        """
        assert self._acting is not None
        self._done = acted
        if self._undoes:
            self._undo(client, self._acting[0], acted, time.time() + _undo_timeout(self._acting[1]))

    def on_kill(self) -> None:
        """
        Undo the action, with ``cancel_on_kill`` and if the state of the task is ``failed``.

        Airflow calls this at SIGTERM and at ``execution_timeout``.
        """
        self._killed = True
        if not self.cancel_on_kill or self._acting is None:
            return
        project_id, context = self._acting
        deadline = time.time() + _undo_timeout(context)
        try:
            self._undo_if_failed(project_id, context, deadline)
        except Exception as error:
            self.log.warning(
                "The task was killed, and its action could not be undone; check %s at Connix: %s: %s",
                f"agent {self._done.agent_id}" if self._done else "the agent",
                type(error).__name__,
                error,
            )

    def _undo_if_failed(self, project_id: str, context: Context, deadline: float) -> None:
        from connix_provider.polling.task_kill import reason_not_to_cancel

        if reason := reason_not_to_cancel(context.get("ti")):
            agent = f"Agent {self._done.agent_id}" if self._done else "The agent of this task"
            self.log.info("%s is left as it is: %s.", agent, reason)
            return
        self._undoes = True
        with ConnixHook(self.connix_conn_id).get_conn() as connection:
            client = connection.with_options(deadline=deadline)
            acted = self._done or self.find_unfinished(client, project_id, context)
            if acted:
                self._undo(client, project_id, acted, deadline)

    def find_unfinished(self, client: Client, project_id: str, context: Context) -> SentAction | None:
        """
        Find the action of a killed task that received no response.

        :param client: a client whose deadline is near
        :param project_id: the project
        :param context: Airflow's context
        :return: the action, or ``None`` if it is unknown or needs no undo
        """
        return None

    def _undo(self, client: Client, project_id: str, acted: SentAction, deadline: float) -> None:
        from connix_provider.polling.cancel_action import cancel_action

        if acted.undo is None or acted.agent_id == self._undone:
            return
        self._undone = acted.agent_id
        which = (acted.undo, project_id, acted.agent_id, acted.before)
        client.drive(cancel_action(client, *which, deadline=deadline, log=self.log))


def _undo_timeout(context: Context) -> float:
    """Return the seconds that an undo may take on a worker."""
    from connix_provider.polling.cancel_action import CANCEL_TIMEOUT, KILL_GRACE

    # Only the task instance of Airflow 3 has this attribute.
    return KILL_GRACE if hasattr(context.get("ti"), "get_task_states") else CANCEL_TIMEOUT
