"""Take back what a task did, as far as it can be, when it is killed and was told to."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, BaseOperator

from connix_provider.hooks.connix import ConnixHook
from connix_provider.lifecycle import PollState, Snapshot

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client

__all__ = ["Acted", "UndoneWhenKilled"]

#: What ``cancel_on_kill`` can do: delete what was created, stop what was started.
Undo = Literal["delete", "stop"]


@dataclasses.dataclass(frozen=True, slots=True)
class Acted:
    """
    Say what an action did.

    :param agent_id: the agent
    :param goal: what to wait for now, or ``None`` where there is nothing to wait for
    :param before: the agent before the action, where the wait must tell then from now
    :param undo: the call that takes the action back as far as it can be, for ``cancel_on_kill``
    :param accepted_at: epoch seconds at which the service accepted the action
    """

    agent_id: str
    goal: str | None = None
    before: Snapshot | None = None
    undo: Undo | None = None
    accepted_at: float | None = None

    def poll_state(self) -> PollState:
        """
        Begin a wait for what was done.

        :return: what is known of the agent before the first poll
        """
        return PollState(before=self.before, accepted_at=self.accepted_at)


class UndoneWhenKilled(BaseOperator):
    """
    Know what the task did, and take it back when it is killed.

    :param connix_conn_id: the Airflow connection
    :param cancel_on_kill: whether anything is taken back
    """

    def __init__(self, *, connix_conn_id: str, cancel_on_kill: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connix_conn_id = connix_conn_id
        self.cancel_on_kill = cancel_on_kill
        self._acting: tuple[str, Context] | None = None
        self._done: Acted | None = None
        self._killed = False
        self._undone: str | None = None

    def about_to_act(self, project_id: str, context: Context) -> None:
        """
        Note that something may be sent from here on.

        :param project_id: the project
        :param context: Airflow's context
        :raises AirflowException: where the task was killed meanwhile; Airflow 3 lets it run on for a while
        """
        if self._killed:
            raise AirflowException("The task was killed before it acted; nothing is sent any more.")
        self._acting = (project_id, context)

    def has_acted(self, client: Client, acted: Acted) -> None:
        """
        Note what was done. Airflow 3 lets a killed task run on for a while: then it is taken back at once.

        :param client: a client
        :param acted: what was done
        """
        assert self._acting is not None
        self._done = acted
        if self._killed and self.cancel_on_kill:
            self._undo(client, self._acting[0], acted)

    def on_kill(self) -> None:
        """Take the action back where ``cancel_on_kill`` says so; Airflow calls this when a task is killed."""
        self._killed = True
        if not self.cancel_on_kill or self._acting is None:
            return
        from connix_provider.client import ConnixError
        from connix_provider.waiting.undoing import UNDO_TIMEOUT

        project_id, context = self._acting
        try:
            with ConnixHook(self.connix_conn_id).get_conn() as connection:
                client = connection.with_options(total_timeout=UNDO_TIMEOUT)
                acted = self._done or self.find_unfinished(client, project_id, context)
                if acted:
                    self._undo(client, project_id, acted)
        except (ConnixError, ValueError, AirflowNotFoundException) as error:
            # A connection that was broken meanwhile; nobody catches what leaves a signal's handler.
            self.log.warning("What the task did so far is left as it is: %s", error)

    def find_unfinished(self, client: Client, project_id: str, context: Context) -> Acted | None:
        """
        Find what a killed task had asked for without having seen the answer.

        :param client: a client with little time
        :param project_id: the project
        :param context: Airflow's context
        :return: what was done, or ``None`` where that cannot be told, or needs no undoing
        """
        return None

    def _undo(self, client: Client, project_id: str, acted: Acted) -> None:
        from connix_provider.waiting.undoing import undoing

        if acted.undo is None or acted.agent_id == self._undone:
            return
        self._undone = acted.agent_id
        steps = undoing(client, acted.undo, project_id, acted.agent_id, acted.before, log=self.log)
        client.drive(steps)
