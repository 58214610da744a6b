"""
Wait in the triggerer until a key's rate limit has room for a task again.

The task sends the request itself, because Airflow may run a trigger twice. What the task's process knew of
the limit travels to the trigger, and what the triggerer knows travels back with the event: both may be new
processes on machines of their own.

The class path below is stored in users' databases: it never moves, and its parameters only grow. They lie
there in clear text, so only the connection's id travels, never a key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

__all__ = ["ConnixRateLimitTrigger"]


class ConnixRateLimitTrigger(BaseTrigger):
    """
    Acquire a permit for a task that has given its worker slot back.

    All tasks that wait here share one limiter, and their permits are spread over the window. So they go back
    to the workers at the pace of the limit, and not all at once when a window begins.

    :param bucket: the limit, as :class:`connix_provider.client.ratelimit.Bucket` names it
    :param not_before: epoch seconds before which the service wants no request
    :param deadline: epoch seconds at which the task's time is up
    :param connix_conn_id: the Airflow connection
    :param rate_limit: what the task's process knew of the limit, as ``RateLimiter.snapshot`` returned it
    """

    def __init__(
        self,
        bucket: str,
        not_before: float,
        deadline: float,
        connix_conn_id: str = "connix_default",
        rate_limit: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.bucket = bucket
        self.not_before = not_before
        self.deadline = deadline
        self.connix_conn_id = connix_conn_id
        self.rate_limit = list(rate_limit)

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
                "rate_limit": self.rate_limit,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait for a permit, and yield one event when the task may send its request.

        :return: the event: ``deadline``, ``has_permit``, and what the triggerer knows as ``rate_limit``
        """
        from connix_provider.waiting.loading import load

        await load()
        from connix_provider.client import ConnixError

        event: dict[str, Any] = {"bucket": self.bucket, "deadline": self.deadline}
        try:
            event |= await self._acquire()
        except (ConnixError, ValueError, AirflowNotFoundException) as error:
            # The task meets the same error on its worker, and says so in its own log.
            self.log.warning("The task resumes without a permit of the rate limit: %s", error)
        yield TriggerEvent(event)

    async def _acquire(self) -> dict[str, Any]:
        from connix_provider.client.ratelimit import Bucket, recheck_delay
        from connix_provider.waiting.line import line_to

        bucket = Bucket(self.bucket)
        await asyncio.sleep(max(0.0, min(self.not_before, self.deadline) - time.time()))
        async with line_to(self.connix_conn_id) as line:
            limiter = line.client.limiter
            limiter.restore(bucket, self.rate_limit)
            # Leaving the block counts the permit as used: the task uses it, in another process.
            with limiter.permit(bucket, paced=True) as permit:
                has_permit = False
                while (left := self.deadline - time.time()) > 0:
                    wait = permit.try_acquire()
                    if has_permit := not wait:
                        break
                    await asyncio.sleep(min(recheck_delay(wait), left))
            return {"has_permit": has_permit, "rate_limit": limiter.snapshot(bucket)}
