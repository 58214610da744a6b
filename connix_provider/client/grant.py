"""
Hold what an OAuth2 grant has come to: its newest tokens, for all that began with the same refresh token.

A service may replace the refresh token with each renewal, and refuse the one before from then on (RFC 6749
section 6). So the newest one belongs to the process, not to a client that is closed some time.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from connix_provider.client.errors import ConnixTimeoutError

__all__ = ["AccessToken", "Grant"]

#: Tokens are renewed this many seconds before they expire, or at nine tenths of a short life.
_EARLY = 30.0
#: Seconds between two looks of a task whether its turn has come.
_NAP = 0.01


class AccessToken:
    """
    Hold an access token and the end of its life, which are replaced together.

    :param value: the token, or ``None`` where there is none yet
    :param lifetime: seconds it lives from now on
    """

    __slots__ = ("renew_at", "value")

    def __init__(self, value: str | None, lifetime: float = math.inf) -> None:
        self.value = value
        #: Seconds of the local monotonic clock.
        self.renew_at = time.monotonic() + lifetime - min(_EARLY, lifetime / 10)

    @property
    def is_due(self) -> bool:
        """Whether it is to be renewed before anything is sent."""
        return self.value is None or time.monotonic() >= self.renew_at


class Grant:
    """
    Hold the newest tokens, and let one at a time renew them.

    :param refresh_token: the refresh token to begin with
    """

    def __init__(self, refresh_token: str) -> None:
        self.refresh_token = refresh_token
        self.access = AccessToken(None)
        self._given: deque[str] = deque(maxlen=8)
        self._former: deque[str] = deque(maxlen=8)
        self._turn = threading.Lock()
        self._holder: int | None = None

    def in_use(self) -> tuple[str, ...]:
        """
        List the newest tokens.

        :return: the access token, if there is one, and the refresh token
        """
        return tuple(filter(None, (self.access.value, self.refresh_token)))

    def former(self) -> tuple[str, ...]:
        """
        List the tokens before them, which may still be on their way.

        :return: the last few
        """
        return tuple(self._former)

    def offer(self, access_token: str) -> None:
        """
        Begin with an access token, unless that was done before: what was renewed since is newer.

        :param access_token: what a connection holds beside the refresh token
        """
        if access_token not in self._given:
            self._given.append(access_token)
            self._replace(AccessToken(access_token))

    def renewed(self, access_token: str, refresh_token: str | None, lifetime: float) -> None:
        """
        Take new tokens over; whoever calls has the turn.

        :param access_token: the new access token
        :param refresh_token: the new refresh token, or ``None`` where the old one stays good
        :param lifetime: seconds the access token lives
        """
        self._former.append(self.refresh_token)
        self.refresh_token = refresh_token or self.refresh_token
        self._replace(AccessToken(access_token, lifetime))

    @contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """
        Wait for one's turn to renew.

        :param seconds: how long to wait at most
        :raises ConnixTimeoutError: where it did not come in time
        """
        me = threading.get_ident()
        if self._holder == me:
            # A signal's handler broke in on this thread's own renewal, which goes on only after it.
            yield
            return
        turn = self._turn
        if not turn.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            raise ConnixTimeoutError("no new access token came in time: another call was renewing it")
        self._holder = me
        try:
            yield
        finally:
            self._holder = None
            turn.release()

    @asynccontextmanager
    async def turn_async(self) -> AsyncIterator[None]:
        """Do the same without blocking the event loop, for as long as the task may wait."""
        turn = self._turn
        while not turn.acquire(blocking=False):  # noqa: ASYNC110 - a thread's or another event loop's
            await asyncio.sleep(_NAP)
        try:
            yield
        finally:
            turn.release()

    def after_fork(self) -> None:
        """Leave a turn behind that one of the parent's threads had."""
        self._turn = threading.Lock()
        self._holder = None

    def _replace(self, access: AccessToken) -> None:
        if self.access.value:
            self._former.append(self.access.value)
        self.access = access
