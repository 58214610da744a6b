"""A host has several addresses, and the first of them accepts no connection."""

import asyncio
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest

from connix_provider.client import AsyncClient, Client, ConnixTimeoutError

pytestmark = pytest.mark.heavy

HOST = "localhost"
DEAD, ALIVE = "127.0.0.2", "127.0.0.1"


@contextmanager
def dead_address(port):
    """Listen on an address whose queue is full, so that the kernel drops further connections' packets."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind((DEAD, port))
        listener.listen(0)
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((DEAD, port))
        with pytest.raises(TimeoutError):
            socket.create_connection((DEAD, port), timeout=0.2)
        yield


@pytest.fixture
def resolve(emulator, monkeypatch):
    """Let a name stand for several addresses."""
    port = int(emulator.url.split(":")[2].partition("/")[0])
    look_up = socket.getaddrinfo

    def resolve(*addresses):
        def getaddrinfo(host, *args, **kwargs):
            if host not in (HOST, HOST.encode()):
                return look_up(host, *args, **kwargs)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
                for address in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return f"http://{HOST}:{port}"

    with dead_address(port):
        yield resolve


def get(is_async, url, emulator, agent_id, **options):
    if not is_async:
        with Client(emulator.api_key, url, **options) as client:
            return client.agents.get(emulator.project_id, agent_id)

    async def main():
        async with AsyncClient(emulator.api_key, url, **options) as client:
            return await client.agents.get(emulator.project_id, agent_id)

    return asyncio.run(main())


@pytest.mark.parametrize("is_async", [False, True])
def test_dead_first_address_costs_two_seconds_at_most(is_async, resolve, emulator):
    (agent_id,) = emulator.seed()
    began = time.monotonic()
    assert get(is_async, resolve(DEAD, ALIVE), emulator, agent_id).id == agent_id
    assert time.monotonic() - began <= 2
    assert len(emulator.journal.entries()) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_dead_host_is_tried_for_the_time_out(is_async, resolve, emulator):
    began = time.monotonic()
    with pytest.raises(ConnixTimeoutError, match="no connection to"):
        get(is_async, resolve(DEAD), emulator, "agent_1", timeout=2, max_attempts=1)
    assert 2 <= time.monotonic() - began < 4
    assert not emulator.journal.entries()
