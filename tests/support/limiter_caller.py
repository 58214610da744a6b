"""One caller of a rate limiter, with a clock that the test moves."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

from connix_provider.client.ratelimit import Bucket, Permit, RateLimiter

#: The server's clock when a test's own clock is 0; a window of a minute begins 20 s later.
EPOCH = 1_705_334_440.0


class Caller:
    """
    Acquire permits of a limiter of its own.

    :param share: the part of each limit that the limiter keeps to
    :param start: the first reading of its clock, in seconds
    """

    def __init__(self, share: float = 1.0, start: float = 0.0) -> None:
        self.now = self._start = start
        self.limiter = RateLimiter(share, clock=lambda: self.now)

    def try_acquire(self, bucket: Bucket = Bucket.GET, *, background: bool = False) -> tuple[Permit, float]:
        """Try to acquire one permit, without queueing for it."""
        permit = self.limiter.permit(bucket, background=background)
        if wait := permit.try_acquire():
            permit.__exit__()
        return permit, wait

    def acquire(self, bucket: Bucket = Bucket.GET, *, background: bool = False) -> Permit:
        """Acquire a permit that is free."""
        permit, wait = self.try_acquire(bucket, background=background)
        assert wait == 0, wait
        return permit

    def headers(
        self,
        limit: object = 200,
        remaining: object = 100,
        *,
        reset: float | None = None,
        date: float = 0.0,
        family: str = "",
        skew: float = 0.0,
    ) -> dict[str, str]:
        """
        Return the headers of a response.

        :param reset: when the window ends, by the server's clock; by default at the end of its minute
        :param date: seconds by which the Date header is later than the server's clock
        :param family: the suffix of the headers
        :param skew: seconds by which the server's clock is ahead
        """
        passed = self.now - self._start
        server = EPOCH + skew + passed
        end = (server // 60 + 1) * 60 if reset is None else reset
        return {
            "date": formatdate(server + date, usegmt=True),
            f"x-ratelimit-limit{family}": str(limit),
            f"x-ratelimit-remaining{family}": str(remaining),
            f"x-ratelimit-reset{family}": str(int(end)),
        }

    def receive(self, *args: Any, bucket: Bucket = Bucket.GET, **kwargs: Any) -> None:
        """Send one request, and receive rate-limit headers."""
        self.acquire(bucket).on_response(self.headers(*args, **kwargs))

    def drain(self, bucket: Bucket = Bucket.GET, *, background: bool = False) -> tuple[list[Permit], float]:
        """Acquire permits until the limiter gives no more."""
        permits = []
        while True:
            permit, wait = self.try_acquire(bucket, background=background)
            if wait:
                return permits, wait
            permits.append(permit)
            assert len(permits) < 10_000
