"""
The trigger that waits for the agents of a fleet that are under way.

The task sends the actions, because Airflow may run a trigger twice. The trigger polls, and its event holds
the waits that ended, and the others as they are by then.

Invariants:

- The class path never moves, and parameters are only added, because Airflow stores both in its database.
- No parameter is a secret, because Airflow stores them as plain text. The trigger gets the connection's
  id and no key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from connix_provider.client.errors import ConnixError
from connix_provider.polling.poll_result import PollResult
from connix_provider.polling.preload import preload
from connix_provider.polling.wait_settings import WaitSettings

if TYPE_CHECKING:
    from connix_provider.polling.fleet_wait import FleetWait

__all__ = ["ConnixFleetTrigger"]

#: Seconds after the first wait that ended, during which others may end and share its event.
_GATHER = 1.0


class ConnixFleetTrigger(BaseTrigger):
    """
    Wait until an agent of a fleet is done, has failed, or may be acted on.

    :param project_id: the project
    :param waits: the waits, from :meth:`FleetWait.to_json
        <connix_provider.polling.fleet_wait.FleetWait.to_json>`
    :param policy: when an agent is available, from :meth:`FleetPolicy.to_json
        <connix_provider.polling.fleet_wait.FleetPolicy.to_json>`
    :param wake_at: epoch seconds at which the task acts on further agents; default only after a wait ended
    :param deadline: epoch seconds of the task's deadline
    :param progress_at: epoch seconds at which an agent last became available
    :param limit_reason: why an action waits for the rate limit, for the task's message; default it does not
    :param connix_conn_id: the Airflow connection
    """

    def __init__(
        self,
        project_id: str,
        waits: Sequence[Mapping[str, Any]],
        policy: Mapping[str, Any],
        *,
        wake_at: float | None = None,
        deadline: float,
        progress_at: float,
        limit_reason: str = "",
        connix_conn_id: str = "connix_default",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.project_id = project_id
        self.waits = waits
        self.policy = policy
        self.wake_at = wake_at
        self.deadline = deadline
        self.progress_at = progress_at
        self.limit_reason = limit_reason
        self.connix_conn_id = connix_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return the class path and the arguments, which Airflow stores in its database.

        :return: path and arguments
        """
        return (
            "connix_provider.triggers.fleet.ConnixFleetTrigger",
            {
                "project_id": self.project_id,
                "waits": [dict(wait) for wait in self.waits],
                "policy": dict(self.policy),
                "wake_at": self.wake_at,
                "deadline": self.deadline,
                "progress_at": self.progress_at,
                "limit_reason": self.limit_reason,
                "connix_conn_id": self.connix_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Poll the agents until a wait ends, or until ``wake_at``.

        :return: one event: ``results`` by agent id, ``waits`` that continue, ``deadline`` and ``progress_at``
        """
        await preload()
        from connix_provider.polling.fleet_wait import FleetPolicy, FleetWait

        policy = FleetPolicy.from_json(self.policy)
        settings = WaitSettings(
            poll_interval=0.0,
            deadline=self.deadline,
            project_id=self.project_id,
            connix_conn_id=self.connix_conn_id,
            log=self.log,
        )
        restored = [FleetWait.from_json(stored, policy, settings) for stored in self.waits]
        tasks = {
            asyncio.create_task(self._poll(wait, first_poll_at)): wait for wait, first_poll_at in restored
        }
        try:
            await self._first_of(tasks)
        finally:
            ended = {task for task in tasks if task.done()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        yield TriggerEvent(
            {
                "results": {tasks[task].agent_id: task.result().to_event() for task in ended},
                # With those that ended, because the task needs to know what the agent was waited for.
                "waits": [wait.to_json() for wait in tasks.values()],
                "deadline": self.deadline,
                "progress_at": self.progress_at,
                "limit_reason": self.limit_reason,
            }
        )

    async def _first_of(self, tasks: Mapping[asyncio.Task[PollResult], FleetWait]) -> None:
        left = None if self.wake_at is None else max(0.0, self.wake_at - time.time())
        if not tasks:
            await asyncio.sleep(left or 0.0)
            return
        done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if done and len(done) < len(tasks):
            await asyncio.sleep(_GATHER)

    async def _poll(self, wait: FleetWait, first_poll_at: float) -> PollResult:
        from connix_provider.polling.trigger_loop import poll_until_done_async

        try:
            return await poll_until_done_async(self.connix_conn_id, wait.poller, first_poll_at=first_poll_at)
        except (ConnixError, ValueError) as error:
            # In the event, because otherwise Airflow only reports that the trigger failed.
            return PollResult.refused(wait.poller.agent, wait.poller.status, error)
