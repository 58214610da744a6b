"""
Share one client among all waits of an event loop on one Airflow connection.

The first wait opens the client, and the last one closes it. A connection is read in a wait's own task,
because only there can Airflow be asked for it. It is read once for all waits: when the client is opened, and
when Connix refuses the key. With a key that was changed meanwhile all waits continue; the same key again
ends each of them.
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
from connix_provider.polling.watching.watcher import Watcher

if TYPE_CHECKING:
    from connix_provider.client import AsyncClient
    from connix_provider.polling.watching.subscription import Subscription

__all__ = ["SharedClient", "shared_client"]

#: Seconds for which a refused key is not read again, because thousands of waits may report it one after
#: another.
_FRESH = 1.0
#: The shared clients of each event loop, by connection id. A forked process has no loop yet, and so none of
#: these.
_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, SharedClient]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_client(connix_conn_id: str) -> AsyncIterator[SharedClient]:
    """
    Use the client that all waits of an event loop on one connection share.

    :return: the shared client, opened; leaving the last of these contexts closes it
    :raises ValueError: for a connection whose settings cannot be right
    :raises AirflowNotFoundException: for a connection id that is not defined
    """
    by_id = _shared.setdefault(asyncio.get_running_loop(), {})
    if connix_conn_id not in by_id:
        by_id[connix_conn_id] = SharedClient(connix_conn_id)
    shared = by_id[connix_conn_id]
    shared.users += 1
    try:
        await shared.open()
        yield shared
    finally:
        shared.users -= 1
        if not shared.users:
            # A wait that begins while this one closes opens another.
            del by_id[connix_conn_id]
            await shared.close()


class SharedClient:
    """Hold the client that the waits of one event loop share, and their watchers."""

    def __init__(self, connix_conn_id: str) -> None:
        self.users = 0
        #: Rises with each change of the key, so that a late refusal of an old key is recognized.
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
        """Return the address of an agent's page; the connection has been read."""
        return self._hook.agent_url(str(project_id), agent_id)

    async def open(self) -> None:
        """Read the connection, unless that was done and its key is good."""
        async with self._lock:
            if not self._clients or self._refused:
                await self._read()

    async def reload_key(self, version: int) -> bool:
        """
        Read the connection again, because Connix refused the key.

        :param version: the version of the key that was refused
        :return: whether there is another key to continue with
        """
        async with self._lock:
            is_fresh = self._refused and time.monotonic() - self._read_at < _FRESH
            if version == self.version and not is_fresh:
                self._refused = not await self._read()
            return version != self.version

    async def close(self) -> None:
        """Close all clients, also those of former keys, whose last responses may have been in flight."""
        async with AsyncExitStack() as every:
            for client in self._clients:
                every.push_async_callback(client.aclose)

    @asynccontextmanager
    async def subscription(
        self, project_id: str, agent_id: str, interval: float, deadline: float
    ) -> AsyncIterator[Subscription]:
        """
        Subscribe to an agent.

        :param interval: seconds between two polls
        :param deadline: when the wait ends, in seconds of the monotonic clock
        """
        if project_id not in self._watchers:
            self._watchers[project_id] = Watcher(self, project_id)
        watcher = self._watchers[project_id]
        subscription = watcher.subscribe(agent_id, interval, deadline)
        try:
            yield subscription
        finally:
            watcher.unsubscribe(subscription)
            if not watcher.is_watching:
                del self._watchers[project_id]
                await watcher.ended()

    async def _read(self) -> bool:
        """Read the connection; return whether it holds another key than before."""
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
