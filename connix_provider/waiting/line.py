"""
Share one client among all waits of an event loop on one Airflow connection.

The first wait opens it, the last one closes it. A connection is read in a wait's own task, because only there
can Airflow be asked for it, and once for all of them: when it is opened, and when Connix refuses the key. A
key that was changed meanwhile goes on; the same key again ends every wait at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from connix_provider.hooks.connix import ConnixHook
from connix_provider.waiting.plan import Rates
from connix_provider.waiting.watcher import Watcher

if TYPE_CHECKING:
    from connix_provider.client import AsyncClient
    from connix_provider.waiting.seat import Seat

__all__ = ["Line", "line_to"]

#: Seconds for which a key that is refused is not read again: thousands may hear of it one after the other.
_FRESH = 1.0
#: The lines of each event loop. A forked process has no loop yet, and so none of these.
_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Line]] = WeakKeyDictionary()


@asynccontextmanager
async def line_to(connix_conn_id: str) -> AsyncIterator[Line]:
    """
    Join the line to a connection, and open it if nobody has yet.

    :param connix_conn_id: the Airflow connection
    :return: the line; the last one out closes it
    :raises ValueError: for a connection whose settings cannot be right
    :raises AirflowNotFoundException: for a connection id that is not defined
    """
    lines = _lines.setdefault(asyncio.get_running_loop(), {})
    line = lines.setdefault(connix_conn_id, Line(connix_conn_id))
    line.users += 1
    try:
        await line.open()
        yield line
    finally:
        line.users -= 1
        if not line.users:
            # Whoever comes while this one closes opens another.
            del lines[connix_conn_id]
            await line.close()


class Line:
    """
    Hold the client that the waits share.

    :param connix_conn_id: the Airflow connection
    """

    def __init__(self, connix_conn_id: str) -> None:
        self.users = 0
        #: Rises with each change of the key, so that an old key's refusal is told from the new one's.
        self.version = 0
        self._hook = ConnixHook(connix_conn_id)
        self._clients: list[AsyncClient] = []
        self._watchers: dict[str, Watcher] = {}
        self._refused = False
        self._read_at = -_FRESH
        self._undefined: AirflowNotFoundException | None = None
        self._lock = asyncio.Lock()

    @property
    def client(self) -> AsyncClient:
        """The client of the present key."""
        return self._clients[-1]

    def agent_url(self, project_id: str | None, agent_id: str) -> str:
        """
        Return the address of an agent's page; the connection has been read.

        :param project_id: the project
        :param agent_id: the agent
        :return: the address
        """
        return self._hook.agent_url(str(project_id), agent_id)

    async def open(self) -> None:
        """Read the connection, unless that was done and its key is good."""
        async with self._lock:
            if not self._clients or self._refused:
                await self._read()

    async def renew(self, version: int) -> bool:
        """
        Read the connection again, because Connix refused the key.

        :param version: the version of the key that was refused
        :return: whether there is another key to go on with
        """
        async with self._lock:
            is_fresh = self._refused and time.monotonic() - self._read_at < _FRESH
            if version == self.version and not is_fresh:
                self._refused = not await self._read()
            return version != self.version

    async def close(self) -> None:
        """Close every client, also those of former keys, whose last answers may have been under way."""
        async with AsyncExitStack() as every:
            for client in self._clients:
                every.push_async_callback(client.aclose)

    @asynccontextmanager
    async def seat(
        self, project_id: str, agent_id: str, interval: float, deadline: float
    ) -> AsyncIterator[Seat]:
        """
        Take a seat at the watcher of a project.

        :param project_id: the project
        :param agent_id: the agent
        :param interval: seconds between two polls that the wait would like
        :param deadline: when the wait ends, in seconds of the monotonic clock
        :return: the seat
        """
        watcher = self._watchers.setdefault(project_id, Watcher(self, project_id))
        seat = watcher.join(agent_id, interval, deadline)
        try:
            yield seat
        finally:
            watcher.leave(seat)
            if not watcher.is_watching:
                del self._watchers[project_id]
                await watcher.ended()

    def rates(self) -> Rates:
        """
        Say how fast agents may be asked for.

        :return: the rates of single Gets and of pages of the listing
        """
        from connix_provider.client.ratelimit import DOCUMENTED, Bucket

        limiter = self.client.limiter
        # A service that tells of no limit is no reason to storm it.
        return Rates(
            *(min(limiter.rate(which), DOCUMENTED[which] / 60) for which in (Bucket.GET, Bucket.LIST))
        )

    async def _read(self) -> bool:
        """Read the connection; say whether it holds another key than before."""
        if self._undefined and time.monotonic() - self._read_at < _FRESH:
            # Each of thousands of waits would read it again.
            raise self._undefined
        self._undefined = None
        try:
            client = await self._hook.get_async_conn()
        except AirflowNotFoundException as error:
            self._undefined = error
            raise
        finally:
            self._read_at = time.monotonic()
        if self._clients and client.is_like(self.client):
            await client.aclose()
            return False
        self._clients.append(client)
        self._refused = False
        self.version += 1
        return True
