"""
Wait in the triggerer until a key's budget has room for a task again.

The class path below is stored in users' databases: it never moves, and its parameters only grow. They lie
there in clear text, so only the connection's id travels, never a key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

__all__ = ["ConnixRateLimitTrigger"]


class ConnixRateLimitTrigger(BaseTrigger):
    """
    Stand in the line of a budget for a task that has given its worker slot back.

    All tasks that wait here share one limiter, so they go back to the workers as fast as the service takes
    them, not all at once when its window opens.

    :param bucket: the limiter, as :class:`connix_provider.client.ratelimit.Bucket` names it
    :param not_before: epoch seconds before which the service wants to be left alone
    :param deadline: epoch seconds at which the task's time is up
    :param connix_conn_id: the Airflow connection
    """

    def __init__(
        self, bucket: str, not_before: float, deadline: float, connix_conn_id: str = "connix_default"
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.bucket = bucket
        self.not_before = not_before
        self.deadline = deadline
        self.connix_conn_id = connix_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return what is stored in the database: the class's path and its arguments.

        :return: path and arguments
        """
        return (
            "connix_provider.triggers.rate_limit.ConnixRateLimitTrigger",
            {
                "bucket": self.bucket,
                "not_before": self.not_before,
                "deadline": self.deadline,
                "connix_conn_id": self.connix_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait for a slot, and yield one event when the task may send.

        :return: the event, with the deadline for the task to go on with
        """
        from connix_provider.waiting.loading import load

        await load()
        from connix_provider.client import ConnixError

        try:
            await self._stand_in_line()
        except (ConnixError, ValueError, AirflowNotFoundException) as error:
            # The task meets the same on its worker, and says so in its own log.
            self.log.warning("The task goes on without waiting for its limiter: %s", error)
        yield TriggerEvent({"bucket": self.bucket, "deadline": self.deadline})

    async def _stand_in_line(self) -> None:
        from connix_provider.client.ratelimit import Bucket, recheck_delay
        from connix_provider.waiting.line import line_to

        await asyncio.sleep(max(0.0, min(self.not_before, self.deadline) - time.time()))
        async with line_to(self.connix_conn_id) as line:
            # Leaving the permit counts the slot as used: the task uses it, in another process.
            with line.client.limiter.permit(Bucket(self.bucket)) as permit:
                while True:
                    wait, left = permit.try_acquire(), self.deadline - time.time()
                    if not wait or left <= 0:
                        break
                    await asyncio.sleep(min(recheck_delay(wait), left))
