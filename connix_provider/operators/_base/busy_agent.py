"""
A 409 of an agent that is creating or updating: wait until it has settled, and send the action again.

An operator raises :class:`AgentBusyError` for the 409. :func:`act_when_ready` waits for the agent to settle,
by the rules of every other wait, and calls the operator's ``act`` again. Tasks on several agents have loops
of their own. :func:`explains_conflict` decides for all whether a 409 is final.

Invariants:

- Only a request that is safe to send again after a 409 is sent again.
- A 409 that the agent's state does not explain ends the task at once.
- A request whose response was lost explains each later 409, because the agent may be busy with it.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from connix_provider.client.errors import ConnixConflictError
from connix_provider.exceptions import ConnixAgentGoneError
from connix_provider.operators._base.deferral import defer_for_agent
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.poll_state import Snapshot
from connix_provider.polling import worker_loop
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.outcome_errors import exception_for
from connix_provider.polling.poll_result import Outcome, PollResult

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.operators._base.sent_action import Undo
    from connix_provider.operators._base.single_agent import SingleAgentOperator
    from connix_provider.poll_state import PollState
    from connix_provider.polling.status_poller import StatusPoller
    from connix_provider.polling.worker_loop import PollingSession

__all__ = [
    "AgentBusyError",
    "act_when_ready",
    "await_settled",
    "conflict_delay",
    "explains_conflict",
    "raise_if_busy",
    "with_busy_reason",
]

log = logging.getLogger(__name__)

#: Attempts of an action that meets 409 although the agent is not busy.
MAX_REPEATS = 6
#: Seconds between two of them, at most.
_MAX_CONFLICT_DELAY = 10.0


class AgentBusyError(Exception):
    """
    Raised when an action must wait until the agent has settled.

    :param error: the 409; ``None`` if the action was not sent, because the agent had not settled
    :param before: the agent before the action, if known
    :param reason: why the action was not sent
    """

    def __init__(
        self,
        agent_id: str,
        action: str,
        error: ConnixConflictError | None = None,
        before: Snapshot | None = None,
        *,
        reason: str = "",
    ) -> None:
        super().__init__(
            f"Agent {agent_id} was not ready for the {action}: {reason}."
            if error is None
            else f"Connix refused to {action} agent {agent_id}: {error}."
        )
        self.agent_id = agent_id
        self.action = action
        self.error = error
        self.before = before
        #: Whether a request of this task may have been executed that explains the agent's state.
        self.may_have_executed = error is not None and error.may_have_executed
        #: The request of ``cancel_on_kill`` during the wait.
        self.undo: Undo | None = None
        #: Epoch seconds at which a create made or found the agent.
        self.found_at: float | None = None

    def settling(self) -> SentAction:
        """Return what to wait for before the action is sent again."""
        return SentAction(self.agent_id, "settle", self.before, undo=self.undo, found_at=self.found_at)

    def delay_before_repeat(self, state: PollState, repeats: int) -> float:
        """
        Return the pause before the action is sent again.

        :param state: the state of the wait for the agent to settle
        :param repeats: how often the action waited, this time included
        :return: seconds
        :raises ConnixConflictError: the 409, if it is final
        """
        if self.error is not None and not explains_conflict(
            state, repeats, may_have_executed=self.may_have_executed
        ):
            raise self.error
        return 0.0 if state.was_busy else conflict_delay(repeats)


def explains_conflict(state: PollState, repeats: int, *, may_have_executed: bool) -> bool:
    """
    Return whether an action that met 409 is sent again.

    An agent that is not busy may have been busy until just now, or may only have sent a heartbeat. So it
    explains the 409 only if it changed, and at most :data:`MAX_REPEATS` times.

    :param state: the state of the wait for the agent to settle
    :param repeats: how often the action waited, this time included
    :param may_have_executed: whether an earlier request of the task may explain the 409
    :return: whether the agent was busy, or changed, or an earlier request explains the 409
    """
    has_changed = state.before is not None and state.last != state.before
    return state.was_busy or ((has_changed or may_have_executed) and repeats < MAX_REPEATS)


def conflict_delay(repeats: int) -> float:
    """
    Return the delay after a 409.

    :param repeats: how often the action waited, this time included
    :return: seconds: 1, 2, 4, … up to 10
    """
    return min(2.0 ** (repeats - 1), _MAX_CONFLICT_DELAY)


@contextmanager
def raise_if_busy(agent_id: str, action: str, before: Snapshot | None = None) -> Iterator[None]:
    """
    Turn a 409 into :class:`AgentBusyError`. Use it only for requests that are safe to send again after a 409.

    :param action: the action that is sent
    :param before: the agent before the action, if known
    :raises AgentBusyError: in place of a conflict
    """
    try:
        yield
    except ConnixConflictError as error:
        raise AgentBusyError(agent_id, action, error, before) from error


def act_when_ready(
    task: SingleAgentOperator,
    polling_session: PollingSession,
    project_id: str,
    context: Context,
    deadline: float,
) -> SentAction:
    """
    Call a task's ``act``, and again whenever a busy agent has settled.

    :param deadline: the task's deadline, in epoch seconds
    :return: the action that was sent, and what to wait for
    :raises TaskDeferred: if the triggerer is to wait for the agent to settle
    :raises ConnixAgentTimeoutError: if the agent settles at the deadline
    :raises Exception: any other error of ``act`` or of :func:`await_settled`
    """
    repeats, agent_id = 0, None
    while True:
        task.before_act(project_id, context)
        if task.busy_reason and time.time() >= deadline:
            raise _too_late(task, polling_session, project_id, agent_id)
        try:
            return task.act_or_defer(polling_session.client, project_id, context, deadline)
        except AgentBusyError as error:
            busy = error
        task.response_was_lost = busy.may_have_executed = task.response_was_lost or busy.may_have_executed
        task.busy_reason, agent_id = str(busy), busy.agent_id
        settling = busy.settling()
        poller = task.make_poller(settling, "settle", deadline)
        repeats += 1
        try:
            is_ready = await_settled(
                polling_session, project_id, poller, busy, repeats=repeats, defers=task.deferrable
            )
        except ConnixAgentGoneError as gone:
            if not task.accepts_missing_agent(context):
                raise
            log.info("%s", gone)
            return SentAction(busy.agent_id)
        if poller.stream:
            task.log_position = poller.stream.to_json()
        if not is_ready:
            defer_for_agent(
                task,
                project_id,
                settling,
                poller,
                method_name="resume_after_conflict",
                resume_with={"reason": task.busy_reason, "response_was_lost": task.response_was_lost},
            )
        task.has_acted = True


def await_settled(
    polling_session: PollingSession,
    project_id: str,
    poller: StatusPoller,
    busy: AgentBusyError,
    *,
    repeats: int,
    defers: bool,
) -> bool:
    """
    Wait on a worker until an action can be sent again.

    :param poller: a wait for the agent to settle
    :param busy: the action, and why it waits
    :param repeats: the number of this wait in the task, from 1
    :param defers: whether to return after one poll if the agent is still busy
    :return: whether the action can be sent; ``False`` if the triggerer is to wait
    :raises ConnixConflictError: the 409, if the agent's state does not explain it
    :raises ConnixAgentGoneError: if the agent is gone
    :raises Exception: any other error that ends a wait
    """
    is_logged = False
    while (poll_result := worker_loop.poll_once(polling_session, project_id, poller)) is None:
        # An action that was not sent waits for a settled status, so an unknown one is awaited too.
        is_awaited = poller.state.was_busy or (busy.error is None and poller.status is not None)
        if is_awaited and not is_logged:
            is_logged = True
            log.info(
                "Agent %s is %s: waiting until it has settled to send the %s. %s",
                poller.agent,
                poller.status,
                busy.action,
                busy,
            )
        if poller.state.last and not is_awaited:
            # An unknown status does not explain the 409.
            break
        if defers:
            return False
        time.sleep(poller.schedule.sleep_seconds())
    if poll_result and poll_result.outcome is not Outcome.DONE:
        raise exception_for(with_busy_reason(poll_result, str(busy))) from busy.error
    pause = busy.delay_before_repeat(poller.state, repeats)
    time.sleep(min(pause, max(0.0, poller.schedule.left())))
    return True


def _too_late(
    task: SingleAgentOperator, polling_session: PollingSession, project_id: str, agent_id: str | None
) -> Exception:
    """Return the error for an agent that settled at the deadline."""
    fields = task.error_fields()
    agent_id = agent_id or fields.get("agent_id")
    link = polling_session.agent_url(project_id, agent_id)
    agent = AgentRef(agent_id, fields.get("agent_name"), project_id, link)
    message = (
        f"Agent {agent} was busy until the deadline, so the {fields['verb']} was not sent or not repeated. "
        f"{task.busy_reason} Set a longer timeout, then clear the task{agent.context_suffix}."
    )
    return exception_for(PollResult.of(Outcome.TIMEOUT, agent, None, message))


def with_busy_reason(poll_result: PollResult, why: str) -> PollResult:
    """
    Append the reason of the wait to the message of a timeout.

    :param poll_result: how the wait for the agent to settle ended
    :param why: why the action waited
    """
    if poll_result.outcome is not Outcome.TIMEOUT or not why:
        return poll_result
    return dataclasses.replace(poll_result, message=f"{poll_result.message} {why}")
