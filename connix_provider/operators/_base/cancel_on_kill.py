"""``cancel_on_kill``: undo the action of a killed task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.sent_action import SentAction

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client

__all__ = ["CancelOnKillMixin"]


class CancelOnKillMixin(BaseOperator):
    """
    Undoes the action of a task that is killed and failed.

    :param cancel_on_kill: whether the action is undone
    """

    connix_conn_id: str

    def __init__(self, *, cancel_on_kill: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cancel_on_kill = cancel_on_kill
        self._action_context: tuple[str, Context] | None = None
        self._sent_action: SentAction | None = None
        self._killed = False
        self._should_undo = False
        self._undone_agent_id: str | None = None

    def before_act(self, project_id: str, context: Context) -> None:
        """
        Note that the task is about to send requests.

        :raises AirflowException: if the task was killed already
        """
        if self._killed:
            raise AirflowException("The task was killed before it acted; no request is sent.")
        self._action_context = (project_id, context)

    def on_sent(self, client: Client, sent: SentAction) -> None:
        """Note the action that was sent, and undo it if the task was killed meanwhile."""
        assert self._action_context is not None
        self._sent_action = sent
        if self._should_undo:
            self._undo(
                client, self._action_context[0], sent, time.time() + _undo_timeout(self._action_context[1])
            )

    def on_kill(self) -> None:
        """
        Undo the action, with ``cancel_on_kill`` and if the state of the task is ``failed``.

        Airflow calls this at SIGTERM and at ``execution_timeout``.
        """
        self._killed = True
        if not self.cancel_on_kill or self._action_context is None:
            return
        project_id, context = self._action_context
        deadline = time.time() + _undo_timeout(context)
        try:
            self._undo_if_failed(project_id, context, deadline)
        except Exception as error:
            self.log.warning(
                "The task was killed, and its action could not be undone; check %s at Connix: %s: %s",
                f"agent {self._sent_action.agent_id}" if self._sent_action else "the agent",
                type(error).__name__,
                error,
            )

    def _undo_if_failed(self, project_id: str, context: Context, deadline: float) -> None:
        from connix_provider.polling.task_kill import reason_not_to_cancel

        if reason := reason_not_to_cancel(context.get("ti")):
            agent = f"Agent {self._sent_action.agent_id}" if self._sent_action else "The agent of this task"
            self.log.info("%s is left as it is: %s.", agent, reason)
            return
        self._should_undo = True
        with ConnixHook(self.connix_conn_id).get_conn() as connection:
            client = connection.with_options(deadline=deadline)
            sent = self._sent_action or self.find_unfinished(client, project_id, context)
            if sent:
                self._undo(client, project_id, sent, deadline)

    def find_unfinished(self, client: Client, project_id: str, context: Context) -> SentAction | None:
        """
        Find the action of a killed task that received no response.

        :param client: a client whose deadline is near
        :return: the action, or ``None`` if it is unknown or needs no undo
        """
        return None

    def _undo(self, client: Client, project_id: str, sent: SentAction, deadline: float) -> None:
        from connix_provider.polling.cancel_action import cancel_action

        if sent.undo is None or sent.agent_id == self._undone_agent_id:
            return
        self._undone_agent_id = sent.agent_id
        steps = cancel_action(
            client,
            sent.undo,
            project_id,
            sent.agent_id,
            sent.before,
            deadline=deadline,
            log=self.log,
            agent_name=sent.agent_name,
        )
        client.run_flow(steps)


def _undo_timeout(context: Context) -> float:
    """Return the seconds that an undo may take on a worker."""
    from connix_provider.polling.cancel_action import CANCEL_TIMEOUT, KILL_GRACE

    # Only the task instance of Airflow 3 has this attribute.
    return KILL_GRACE if hasattr(context.get("ti"), "get_task_states") else CANCEL_TIMEOUT
