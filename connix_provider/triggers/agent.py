"""The trigger that waits for an agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from connix_provider.hooks.connix import ConnixHook
from connix_provider.lifecycle import GOALS, Goal, goal_for_statuses
from connix_provider.poll_state import PollState
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.preload import preload
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings
from connix_provider.triggers.base import WaitTrigger
from connix_provider.values import quoted

if TYPE_CHECKING:
    from connix_provider.polling.poll_result import PollResult
    from connix_provider.polling.status_poller import StatusPoller

__all__ = ["ConnixAgentStatusTrigger"]


class ConnixAgentStatusTrigger(WaitTrigger):
    """
    Wait until an agent reaches the goal of an action or a sensor.

    :param project_id: the project
    :param agent_id: the agent
    :param goal: an action (``create``, ``start``, ``restart``, ``pause``, ``stop``, ``update``, ``delete``),
        ``settle`` for an agent that is not busy, or ``sensor`` for the statuses below
    :param target_statuses: for ``sensor``: statuses that end the wait with success, default ``running``
    :param failure_statuses: for ``sensor``: statuses that end it with failure, default ``error``
    :param stable_for: for ``sensor``: seconds for which polls must show a target status without a change
    :param poll_state: the state of the wait on the worker, from :meth:`PollState.to_json
        <connix_provider.poll_state.PollState.to_json>`
    :param agent_name: the agent's name, for messages
    :param poll_interval: seconds between two polls, default 10
    :param exponential_backoff: whether the interval doubles from poll to poll
    :param max_wait: the longest interval with ``exponential_backoff``, in seconds
    :param silent_fail: whether only success and the deadline end the wait, as with Airflow's sensors
    :param deadline: epoch seconds at which the wait fails; default one hour after the trigger first runs
    :param began_at: epoch seconds at which the task began; default when the trigger first runs
    :param first_poll_at: epoch seconds of the first poll
    :param last_seen_at: epoch seconds of the worker's last poll that showed the agent
    :param poll_errors: the worker's failed polls, from
        :meth:`PollErrors.to_json <connix_provider.polling.poll_errors.PollErrors.to_json>`
    :param log_position: brings new lines of the agent's log into the trigger's log, from this position on, by
        :meth:`LogStream.to_json <connix_provider.polling.log_stream.LogStream.to_json>`; default none
    :param secrets_digest: a digest of the agent's secrets that the task knows; the agent's log is quoted
        only if the triggerer can hide all of them
    :param undo_on_kill: the request when a user marks the task as failed (Airflow 3.3 and later): ``delete``
        or ``stop`` the agent; default none
    :param resume_with: what the resumed task needs to know; the event passes it back, because ``dag.test()``
        drops the arguments of the method that resumes a task
    :param connix_conn_id: the Airflow connection
    """

    def __init__(
        self,
        project_id: str,
        agent_id: str,
        goal: str = "sensor",
        *,
        target_statuses: Collection[str] | str = ("running",),
        failure_statuses: Collection[str] | str | None = None,
        stable_for: float = 0.0,
        poll_state: dict[str, Any] | None = None,
        agent_name: str | None = None,
        poll_interval: float = 10.0,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        silent_fail: bool = False,
        deadline: float | None = None,
        began_at: float | None = None,
        first_poll_at: float | None = None,
        last_seen_at: float | None = None,
        poll_errors: dict[str, Any] | None = None,
        log_position: dict[str, Any] | None = None,
        secrets_digest: str | None = None,
        undo_on_kill: str | None = None,
        resume_with: dict[str, Any] | None = None,
        connix_conn_id: str = "connix_default",
    ) -> None:
        super().__init__(
            poll_interval=poll_interval,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            silent_fail=silent_fail,
            deadline=deadline,
            began_at=began_at,
            first_poll_at=first_poll_at,
            connix_conn_id=connix_conn_id,
        )
        self.project_id = project_id
        self.agent_id = agent_id
        self.goal = goal
        self.target_statuses = target_statuses
        self.failure_statuses = failure_statuses
        self.stable_for = stable_for
        self.poll_state = poll_state
        self.agent_name = agent_name
        self.last_seen_at = last_seen_at
        self.poll_errors = poll_errors
        self.log_position = log_position
        self.secrets_digest = secrets_digest
        self.undo_on_kill = undo_on_kill
        self.resume_with = resume_with or {}
        self._poller: StatusPoller | None = None
        self._is_killed = False
        self._undoing: asyncio.Task[None] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return the class path and the arguments, which Airflow stores in its database.

        :return: path and arguments
        """
        return (
            "connix_provider.triggers.agent.ConnixAgentStatusTrigger",
            {
                "project_id": self.project_id,
                "agent_id": self.agent_id,
                "goal": self.goal,
                "target_statuses": _plain(self.target_statuses),
                "failure_statuses": _plain(self.failure_statuses),
                "stable_for": self.stable_for,
                "poll_state": self.poll_state,
                "agent_name": self.agent_name,
                "last_seen_at": self.last_seen_at,
                "poll_errors": self.poll_errors,
                "log_position": self.log_position,
                "secrets_digest": self.secrets_digest,
                "undo_on_kill": self.undo_on_kill,
                "resume_with": self.resume_with,
                **self.stored_times(),
            },
        )

    async def on_kill(self) -> None:
        """
        Undo the action, with ``undo_on_kill`` and if the state of the task is ``failed``.

        Airflow 3.3 calls this when a user marks or clears the deferred task, but also in a triggerer that
        stalled while another one took the trigger over. So the state of the task decides; see
        :mod:`connix_provider.polling.task_kill`. It takes at most 20 seconds and never raises.
        """
        if self.undo_on_kill is None:
            return
        # In a task of its own, because Airflow 3.3 cancels the trigger again each second.
        self._undoing = self._undoing or asyncio.create_task(self._undo_within_bounds(self.undo_on_kill))
        while not self._undoing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({self._undoing})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait, and yield one event with the result.

        :return: the event
        """
        try:
            async for event in super().run():
                yield event
        except asyncio.CancelledError as error:
            self._is_killed = _has_reason(error)
            raise

    async def cleanup(self) -> None:
        """
        Make sure of :meth:`on_kill` after a kill.

        Airflow 3.3 leaves ``on_kill`` out if it cancels the trigger again before ``on_kill`` has begun, as it
        does each second, or if the reason of the cancellation was lost on its way.
        """
        if self._is_killed:
            await self.on_kill()

    async def _undo_within_bounds(self, undo: str) -> None:
        await preload()
        from connix_provider.polling.cancel_action import CANCEL_TIMEOUT

        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self._undo(undo, time.time() + CANCEL_TIMEOUT - 1.0)
        except Exception as error:
            self.log.warning(
                "The task was killed, but the %s of agent %s failed; check the agent at Connix: %s: %s",
                undo,
                self.agent_id,
                type(error).__name__,
                error,
            )

    async def _undo(self, undo: str, deadline: float) -> None:
        from connix_provider.polling.task_kill import reason_not_to_cancel_async

        if reason := await reason_not_to_cancel_async(self.task_instance):
            self.log.info("Agent %s is left as it is: %s.", self.agent_id, reason)
            return
        from connix_provider.polling.cancel_action import cancel_action

        async with await ConnixHook(self.connix_conn_id).get_async_conn() as client:
            before = self._state().before
            steps = cancel_action(
                client,
                undo,
                self.project_id,
                self.agent_id,
                before,
                deadline=deadline,
                log=self.log,
                agent_name=self.agent_name,
            )
            await client.run_flow(steps)

    async def poll_until_done(
        self, settings: WaitSettings, first_poll_at: float
    ) -> tuple[PollResult, dict[str, Any]]:
        """
        Wait until the agent reaches the goal.

        :param settings: the settings of the wait
        :param first_poll_at: epoch seconds of the first poll
        :return: how the wait ended
        :raises ValueError: for an invalid argument
        """
        from connix_provider.polling.status_poller import StatusPoller
        from connix_provider.polling.trigger_loop import poll_until_done_async

        self._poller = StatusPoller(
            self._goal(),
            self.agent_id,
            settings,
            WaitProgress(
                agent_name=self.agent_name,
                state=self._state(),
                last_seen_at=self.last_seen_at,
                errors=self.poll_errors,
                log_position=self.log_position,
                secrets_digest=self.secrets_digest,
            ),
        )
        poll_result = await poll_until_done_async(
            self.connix_conn_id, self._poller, first_poll_at=first_poll_at
        )
        # The task may wait for the agent once more.
        stream = self._poller.stream
        position = {"log_position": stream.to_json()} if stream else {}
        known = {"resume_with": self.resume_with, "secrets_digest": self.secrets_digest}
        return poll_result, {**known, **position}

    def last_seen(self) -> tuple[AgentRef, str | None]:
        """
        Return the agent that an error is about.

        :return: the agent, and its status if a poll showed it
        """
        if self._poller is not None:
            return self._poller.agent, self._poller.status
        return AgentRef(self.agent_id, self.agent_name, self.project_id), None

    def _goal(self) -> Goal:
        if self.goal == "sensor":
            return goal_for_statuses(self.target_statuses, self.failure_statuses, stable_for=self.stable_for)
        if self.goal not in GOALS:
            raise ValueError(f"goal must be sensor or one of {', '.join(GOALS)}, not {quoted(self.goal)}")
        return GOALS[self.goal]

    def _state(self) -> PollState:
        return PollState.from_json(self.poll_state or {})


def _has_reason(error: BaseException | None) -> bool:
    """Return whether a cancellation is a kill, because Airflow gives no reason for a shutdown."""
    while error is not None:
        if isinstance(error, asyncio.CancelledError) and error.args:
            return True
        # A call in a thread may raise an error of its own instead, without the reason.
        error = error.__context__
    return False


def _plain(statuses: Collection[str] | str | None) -> list[str] | str | None:
    """Return statuses as JSON."""
    if statuses is None or isinstance(statuses, str):
        return statuses
    return sorted(str(status) for status in statuses)
