"""
The trigger that waits for a permit of a rate limit.

The resumed task sends the request, because Airflow may run a trigger twice. The state of the rate limit
is passed from the task to the trigger and back with the event, because both processes may be new and on
different machines.

Invariants:

- The class path never moves, and parameters are only added, because Airflow stores both in its database.
- No parameter is a secret, because Airflow stores them as plain text. The trigger gets the connection's
  id and no key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from connix_provider.client.errors import ConnixError
from connix_provider.polling.preload import preload

__all__ = ["ConnixRateLimitTrigger"]


class ConnixRateLimitTrigger(BaseTrigger):
    """
    Acquire a permit for a deferred task.

    The limiter of the triggerer spreads the permits over the window. So the tasks resume at the pace of the
    rate limit, and not all at once when a window begins.

    :param bucket: the rate limit, a value of :class:`connix_provider.client.ratelimit.Bucket`
    :param not_before: epoch seconds until which the service refuses requests
    :param deadline: the task's deadline in epoch seconds
    :param connix_conn_id: the Airflow connection
    :param rate_limit: the state of the rate limit in the task's process, from ``RateLimiter.snapshot``
    :param resume_with: what the resumed task needs to know; the event passes it back, because ``dag.test()``
        drops the arguments of the method that resumes a task
    """

    def __init__(
        self,
        bucket: str,
        not_before: float,
        deadline: float,
        connix_conn_id: str = "connix_default",
        rate_limit: Sequence[Mapping[str, Any]] = (),
        resume_with: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.bucket = bucket
        self.not_before = not_before
        self.deadline = deadline
        self.connix_conn_id = connix_conn_id
        self.rate_limit = list(rate_limit)
        self.resume_with = dict(resume_with or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return the class path and the arguments, which Airflow stores in its database.

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
                "resume_with": self.resume_with,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait for a permit, and yield one event when the task may send its request.

        :return: the event: ``bucket``, ``deadline``, ``resume_with``, ``has_permit``, and the state of the
            rate limit as ``rate_limit``
        """
        await preload()

        event: dict[str, Any] = {
            "bucket": self.bucket,
            "deadline": self.deadline,
            "resume_with": self.resume_with,
        }
        try:
            event |= await self._acquire()
        except (ConnixError, ValueError, AirflowNotFoundException) as error:
            # The task meets the same error on its worker, and logs it.
            self.log.warning("The task resumes without a permit of the rate limit: %s", error)
        yield TriggerEvent(event)

    async def _acquire(self) -> dict[str, Any]:
        from connix_provider.client.ratelimit import Bucket, recheck_delay
        from connix_provider.polling.watching.shared_client import shared_client

        bucket = Bucket(self.bucket)
        await asyncio.sleep(max(0.0, min(self.not_before, self.deadline) - time.time()))
        async with shared_client(self.connix_conn_id) as shared:
            limiter = shared.client.limiter
            limiter.restore(bucket, self.rate_limit)
            # Leaving the block counts the permit as used, because the task uses it in another process.
            with limiter.permit(bucket, paced=True) as permit:
                has_permit = False
                while (left := self.deadline - time.time()) > 0:
                    wait = permit.try_acquire()
                    if has_permit := not wait:
                        break
                    await asyncio.sleep(min(recheck_delay(wait), left))
            return {"has_permit": has_permit, "rate_limit": limiter.snapshot(bucket)}
