"""
Times and event, shared by the triggers that wait for agents.

Invariants of every trigger:

- The class path never moves, and parameters are only added, because Airflow stores both in its database.
- No parameter is a secret, because Airflow stores them as plain text. The trigger gets the connection's
  id and no key.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from connix_provider.client.errors import ConnixError
from connix_provider.hooks.diagnosis import add_subject
from connix_provider.params import check_seconds
from connix_provider.polling.poll_result import PollResult
from connix_provider.polling.preload import preload
from connix_provider.polling.wait_settings import WaitSettings
from connix_provider.values import check_flag

if TYPE_CHECKING:
    from connix_provider.polling.agent_ref import AgentRef

__all__ = ["WaitTrigger"]


class WaitTrigger(BaseTrigger):
    """
    Wait, and yield one event with the result.

    :param poll_interval: seconds between two polls of an agent
    :param exponential_backoff: whether the interval doubles from poll to poll
    :param max_wait: the longest interval with ``exponential_backoff``, in seconds
    :param silent_fail: whether only success and the deadline end the wait, as with Airflow's sensors
    :param deadline: epoch seconds at which the wait fails; default one hour after the trigger first runs
    :param began_at: epoch seconds at which the task began; default when the trigger first runs
    :param first_poll_at: epoch seconds of the first poll
    :param connix_conn_id: the Airflow connection
    """

    # Slots, because instances with more than 30 other attributes share no keys: 1.5 KiB more for each wait.
    __slots__ = (
        "began_at",
        "connix_conn_id",
        "deadline",
        "exponential_backoff",
        "first_poll_at",
        "max_wait",
        "poll_interval",
        "silent_fail",
    )
    #: What the trigger could not wait for, after the agent in a message.
    goal_phrase = ""
    project_id: str

    def __init__(
        self,
        *,
        poll_interval: float,
        exponential_backoff: bool,
        max_wait: float | None,
        silent_fail: bool,
        deadline: float | None,
        began_at: float | None,
        first_poll_at: float | None,
        connix_conn_id: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.poll_interval = poll_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.silent_fail = silent_fail
        self.deadline = deadline
        self.began_at = began_at
        self.first_poll_at = first_poll_at
        self.connix_conn_id = connix_conn_id

    def stored_times(self) -> dict[str, Any]:
        """
        Return these arguments as Airflow stores them.

        :return: plain JSON
        """
        return {
            "poll_interval": self.poll_interval,
            "exponential_backoff": self.exponential_backoff,
            "max_wait": self.max_wait,
            "silent_fail": self.silent_fail,
            "deadline": self.deadline,
            "began_at": self.began_at,
            "first_poll_at": self.first_poll_at,
            "connix_conn_id": self.connix_conn_id,
        }

    def wait_settings(self) -> WaitSettings:
        """
        Return the settings of the wait.

        :raises ValueError: for an invalid argument
        """
        return WaitSettings(
            poll_interval=check_seconds("poll_interval", self.poll_interval),
            exponential_backoff=check_flag("exponential_backoff", self.exponential_backoff),
            max_wait=self.max_wait,
            silent_fail=check_flag("silent_fail", self.silent_fail),
            deadline=time.time() + 3600.0 if self.deadline is None else self.deadline,
            began_at=self.began_at,
            is_resumed=self.began_at is not None,
            project_id=self.project_id,
            connix_conn_id=self.connix_conn_id,
            log=self.log,
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait, and yield one event with the result.

        :return: the event: a :class:`~connix_provider.polling.poll_result.PollResult`, ``deadline``, and what
            :meth:`poll_until_done` adds
        """
        await preload()

        more: dict[str, Any] = {}
        try:
            settings = self.wait_settings()
            # At most one interval from now, because the clocks of worker and triggerer may differ.
            first_poll_at = min(self.first_poll_at or 0.0, time.time() + settings.poll_interval)
            poll_result, more = await self.poll_until_done(settings, first_poll_at)
        except (ConnixError, ValueError) as error:
            # In the event, because otherwise Airflow only reports that the trigger failed.
            agent, status = self.last_seen()
            subject = f"Could not wait for agent {agent}{self.goal_phrase}"
            poll_result = PollResult.refused(agent, status, add_subject(error, subject))
        # With the deadline, because dag.test() drops the arguments of the method that resumes the task.
        yield TriggerEvent({**poll_result.to_event(), "deadline": self.deadline, **more})

    async def poll_until_done(
        self, settings: WaitSettings, first_poll_at: float
    ) -> tuple[PollResult, dict[str, Any]]:
        """
        Wait until the wait is over.

        :param settings: the settings of the wait
        :param first_poll_at: epoch seconds of the first poll
        :return: how the wait ended, and what the event holds besides
        :raises ValueError: for an invalid argument
        """
        raise NotImplementedError

    def last_seen(self) -> tuple[AgentRef, str | None]:
        """
        Return the agent that an error is about.

        :return: the agent, and its status if a poll showed it
        """
        raise NotImplementedError
