"""
Share what all operators on agents do: find the agent, act, wait for what the action promised.

An operator says what to do in :meth:`ConnixAgentOperator.act`. Everything after that (looking, waiting on
the worker or in the triggerer, what the ending means) is here, once, and rests on
:mod:`connix_provider.lifecycle`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator, conf

from connix_provider.exceptions import ConnixAgentTimeoutError, exception_for
from connix_provider.hooks.connix import ConnixHook
from connix_provider.lifecycle import GOALS, Snapshot
from connix_provider.operators.memory import forget
from connix_provider.targets import check_seconds, resolve_agent_id, resolve_project_id
from connix_provider.triggers.agent import ConnixAgentStatusTrigger
from connix_provider.waiting import drive
from connix_provider.waiting.deferral import deferral_timeout, is_deferral_timeout, untended
from connix_provider.waiting.ending import Ending, Outcome
from connix_provider.waiting.wait import Wait

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Client

__all__ = ["Acted", "ConnixAgentOperator", "ConnixExistingAgentOperator"]


#: Seconds that taking an action back may take: Airflow kills a task that takes long to die.
_UNDO_TIMEOUT = 20.0

#: What ``cancel_on_kill`` can do: delete what was created, stop what was started.
Undo = Literal["delete", "stop"]
#: Endings after which nothing of the action is left to wait for: a retry begins anew.
_DEFINITE = frozenset({Outcome.DONE, Outcome.FAILED, Outcome.GONE})


@dataclasses.dataclass(frozen=True, slots=True)
class Acted:
    """
    Say what an action did.

    :param agent_id: the agent
    :param goal: what to wait for now, or ``None`` where there is nothing to wait for
    :param before: the agent before the action, where the wait must tell then from now
    :param undo: the call that takes the action back as far as it can be, for ``cancel_on_kill``
    """

    agent_id: str
    goal: str | None = None
    before: Snapshot | None = None
    undo: Undo | None = None


class ConnixAgentOperator(BaseOperator):
    """
    Act on an agent and wait until the action has taken hold.

    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param wait_for_completion: whether to wait for what the action promised, or only for its acceptance
    :param poll_interval: seconds between two looks at the agent, 1 or more
    :param timeout: seconds for the whole task, the action and the wait together
    :param deferrable: whether to wait in the triggerer, without a worker slot; default
        ``operators.default_deferrable`` of Airflow's configuration
    :param cancel_on_kill: whether to delete what the task created, or stop what it started, when it is killed
        (in the triggerer: from Airflow 3.3 on); by default nothing is touched
    """

    template_fields: Sequence[str] = ("project_id", "connix_conn_id")
    ui_color = "#d9e8f6"
    #: Whether the operator writes down what it is about to send; see :mod:`connix_provider.operators.memory`.
    remembers: ClassVar[bool] = False

    def __init__(
        self,
        *,
        project_id: str | None = None,
        connix_conn_id: str = ConnixHook.default_conn_name,
        wait_for_completion: bool = True,
        poll_interval: float = 10.0,
        timeout: float = 3600.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        cancel_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project_id = project_id
        self.connix_conn_id = connix_conn_id
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill
        self._acting: tuple[str, Context] | None = None
        self._done: Acted | None = None
        self._killed = False
        self._undone: str | None = None

    def act(self, client: Client, project_id: str, context: Context) -> Acted:
        """
        Do what the operator is for.

        :param client: a client whose calls end with the task's time
        :param project_id: the project
        :param context: Airflow's context
        :return: what was done, and what to wait for
        """
        raise NotImplementedError

    def check(self) -> None:
        """
        Check the parameters, before anything is sent.

        :raises ValueError: for one that cannot be right
        """
        check_seconds("poll_interval", self.poll_interval, minimum=1.0)
        check_seconds("timeout", self.timeout)

    def execute(self, context: Context) -> str:
        """
        Act, and wait unless told not to.

        :param context: Airflow's context
        :return: the agent's id
        """
        self.check()
        deadline = self._deadline(context)
        hook = ConnixHook(self.connix_conn_id)
        project_id = resolve_project_id(self.project_id, hook.project_id)
        with hook.get_conn() as connection:
            client = connection.with_options(deadline=deadline)
            self._acting = (project_id, context)
            acted = self._done = self.act(client, project_id, context)
            if self._killed:
                # Airflow 3 lets a killed task run on for a while: what it did meanwhile is taken back, too.
                self._undo(client, project_id, acted)
            if acted.goal is None or not self.wait_for_completion:
                if self.remembers:
                    forget(context)
                return acted.agent_id
            wait = Wait(
                GOALS[acted.goal],
                acted.agent_id,
                poll_interval=self._poll_seconds,
                deadline=deadline,
                before=acted.before,
                log=self.log,
            )
            if self.deferrable:
                # A look from here spares what has happened already the way through the triggerer.
                ending = drive.look(client, project_id, wait)
            else:
                ending = drive.wait_sync(client, project_id, wait)
        if ending is None:
            self._defer(project_id, acted, deadline)
        return self._finish(context, ending)

    def on_kill(self) -> None:
        """Take the action back where ``cancel_on_kill`` says so; Airflow calls this when a task is killed."""
        if not self.cancel_on_kill or self._acting is None:
            return
        from connix_provider.client import ConnixError

        self._killed = True
        project_id, context = self._acting
        try:
            with ConnixHook(self.connix_conn_id).get_conn() as connection:
                client = connection.with_options(total_timeout=_UNDO_TIMEOUT)
                acted = self._done or self.find_unfinished(client, project_id, context)
                if acted:
                    self._undo(client, project_id, acted)
        except ConnixError as error:
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
        from connix_provider.client import ConnixError

        if acted.undo is None or acted.agent_id == self._undone:
            return
        self._undone = acted.agent_id
        self.log.info("The task is killed: Connix is asked to %s agent %s.", acted.undo, acted.agent_id)
        try:
            (client.agents.delete if acted.undo == "delete" else client.agents.stop)(
                project_id, acted.agent_id
            )
        except ConnixError as error:
            self.log.warning("Agent %s is left as it is: %s", acted.agent_id, error)

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """
        End the task by what its trigger saw.

        :param context: Airflow's context
        :param event: the trigger's event
        :return: the agent's id
        :raises ValueError: for an event that no trigger of this provider sends
        """
        return self._finish(context, Ending.from_event(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume, and put Airflow's own time-out of a deferral into the words of this provider.

        :param next_method: the method to go on with
        :param next_kwargs: its arguments
        :param context: Airflow's context
        :return: what that method returns
        :raises ConnixAgentTimeoutError: where no triggerer answered in time
        """
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if is_deferral_timeout(error):
                raise ConnixAgentTimeoutError(untended(check_seconds("timeout", self.timeout))) from None
            raise

    def _defer(self, project_id: str, acted: Acted, deadline: float) -> NoReturn:
        before = acted.before
        self.log.info("Agent %s: waiting in the triggerer from here on.", acted.agent_id)
        self.defer(
            trigger=ConnixAgentStatusTrigger(
                project_id,
                acted.agent_id,
                str(acted.goal),
                before_status=before.status if before else None,
                before_updated_at=before.updated_at.isoformat() if before and before.updated_at else None,
                poll_interval=self._poll_seconds,
                deadline=deadline,
                first_look_at=time.time() + self._poll_seconds,
                undo_on_kill=acted.undo if self.cancel_on_kill else None,
                connix_conn_id=self.connix_conn_id,
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(deadline),
        )

    def _finish(self, context: Context, ending: Ending) -> str:
        if self.remembers and ending.outcome in _DEFINITE:
            forget(context)
        if ending.outcome is not Outcome.DONE:
            raise exception_for(ending)
        self.log.info("%s", ending.message)
        return ending.agent_id

    @property
    def _poll_seconds(self) -> float:
        return check_seconds("poll_interval", self.poll_interval, minimum=1.0)

    def _deadline(self, context: Context) -> float:
        """Say when to give up, in epoch seconds: at ``timeout``, or earlier at ``execution_timeout``."""
        limit = check_seconds("timeout", self.timeout)
        if self.execution_timeout:
            limit = min(limit, self.execution_timeout.total_seconds())
        return time.time() + limit


class ConnixExistingAgentOperator(ConnixAgentOperator):
    """
    Act on an agent that exists.

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters are those of :class:`ConnixAgentOperator`.
    """

    template_fields: Sequence[str] = (*ConnixAgentOperator.template_fields, "agent_id", "agent_name")
    action: ClassVar[str] = ""

    def __init__(self, *, agent_id: str | None = None, agent_name: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent_id = agent_id
        self.agent_name = agent_name

    def act(self, client: Client, project_id: str, context: Context) -> Acted:
        """
        Find the agent and act on it.

        :param client: a client whose calls end with the task's time
        :param project_id: the project
        :param context: Airflow's context
        :return: what was done, and what to wait for
        """
        agent_id = resolve_agent_id(client, project_id, self.agent_id, self.agent_name)
        return self.act_on(client, project_id, agent_id, context)

    def act_on(self, client: Client, project_id: str, agent_id: str, context: Context) -> Acted:
        """
        Act on an agent.

        :param client: a client whose calls end with the task's time
        :param project_id: the project
        :param agent_id: the agent
        :param context: Airflow's context
        :return: what was done, and what to wait for
        """
        raise NotImplementedError
