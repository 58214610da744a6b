"""Hold pools of connections that survive a fork, and an outage."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx

__all__ = ["AsyncPool", "ForkSafePool"]


class ForkSafePool:
    """
    Hold a synchronous httpx client, and another in a forked process.

    Two processes cannot share a socket.

    :param make: makes the client
    """

    def __init__(self, make: Callable[[], httpx.Client]) -> None:
        self._make = make
        self._inherited: list[httpx.Client] = []
        self._process = os.getpid()
        self._client = make()

    def get(self) -> httpx.Client:
        """Return this process's client."""
        if self._process != os.getpid():
            # Kept, not closed, because the connections in it are the parent's.
            self._inherited.append(self._client)
            self._process, self._client = os.getpid(), self._make()
        return self._client

    def close(self) -> None:
        """Close the connections of this process."""
        if self._process == os.getpid():
            self._client.close()


class AsyncPool:
    """
    Hold an asynchronous httpx client, and replace it where its pool has lost connections.

    A request that is cancelled just after httpcore gave it a new connection leaves that connection's place
    taken forever. An outage with more requests than places can take all of them. So after some requests
    waited in vain for a place, later requests get a new client. The old one is closed when its last request
    has ended.

    :param make: makes the client
    """

    #: Pool timeouts on one client that make it suspect.
    MOST_TIMEOUTS = 3

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._timeouts = 0
        self._users: Counter[httpx.AsyncClient] = Counter()
        self.client = make()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[httpx.AsyncClient]:
        """Provide the client for one request."""
        client = self.client
        self._users[client] += 1
        try:
            yield client
        except httpx.PoolTimeout:
            # Requests that waited on an older client say nothing of this one.
            if client is self.client and not client.is_closed:
                self._timeouts += 1
                if self._timeouts >= self.MOST_TIMEOUTS:
                    self.client, self._timeouts = self._make(), 0
            raise
        finally:
            self._users[client] -= 1
            if not self._users[client]:
                del self._users[client]
                if client is not self.client:
                    await client.aclose()

    async def aclose(self) -> None:
        """Close the connections, those of clients that were replaced too."""
        for client in {*self._users, self.client}:
            await client.aclose()
