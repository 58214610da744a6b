"""Connections outlive forks and outages, and no redirect is followed."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import threading

import httpx
import pytest

from connix_provider.client import AsyncClient, Client, ConnixAPIError
from connix_provider.client.calls.steps import Response, Send
from connix_provider.client.endpoints import get_agent
from connix_provider.client.transport.pool import AsyncPool
from connix_provider.emulator import Emulator, Limits


def _get_all(client, project_id, agent_ids):
    return [client.agents.get(project_id, agent_id).id for agent_id in agent_ids]


def _in_child(pipe, client, project_id, agent_ids):
    pipe.send(_get_all(client, project_id, agent_ids))
    client.close()
    pipe.send("closed")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_process_opens_its_own_sockets():
    with Emulator(limits=Limits.off()) as emulator, Client(emulator.api_key, emulator.url) as client:
        project_id = emulator.project_id
        agent_ids = emulator.seed(40)
        before = _get_all(client, project_id, agent_ids[:1])
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(
            target=_in_child, args=(there, client, project_id, agent_ids[20:])
        )
        child.start()
        try:
            during = _get_all(client, project_id, agent_ids[:20])
            assert here.poll(30), "the child got no response"
            assert here.recv() == agent_ids[20:]
            assert here.recv() == "closed"
        finally:
            child.kill()
            child.join()
        assert before + during == agent_ids[:1] + agent_ids[:20]
        # What the child closed was its own.
        assert _get_all(client, project_id, agent_ids) == agent_ids


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_opens_connections_of_its_own(raw_server):
    sent_on = []

    def keep_alive(connection, request):
        sent_on.append(connection.getpeername())
        body = b'{"id": "agent_1", "status": "running"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return True

    with Client("cx_" + 32 * "0", raw_server(keep_alive).url, verify=False) as client:
        _get_all(client, "p", ["agent_1"])
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(
            target=_in_child, args=(there, client, "p", ["agent_1"])
        )
        child.start()
        try:
            assert here.poll(30), "the child got no response"
            assert here.recv() == ["agent_1"]
            assert here.recv() == "closed"
        finally:
            child.kill()
            child.join()
        _get_all(client, "p", ["agent_1"])
    parent_before, child_only, parent_after = sent_on
    assert parent_before == parent_after != child_only


class Outage:
    """A service to which no connection can be made, until it is well."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections = []
        # The kernel accepts no further connection while these wait to be accepted.
        for _ in range(3):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(self._listener.getsockname())
            self._connections.append(waiting)
        self.served_on = set()

    def end(self):
        for waiting in self._connections:
            waiting.close()
        self._listener.listen(1000)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for connection in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection, peer), daemon=True).start()

    def _serve(self, connection, peer):
        body = b'{"id": "agent_1", "status": "running"}'
        with contextlib.suppress(OSError):
            while connection.recv(65_536):
                self.served_on.add(peer)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.fixture
def outage():
    outage = Outage()
    yield outage
    outage.close()


def taken(client):
    """Count the places of the pool that are taken forever: no request is under way."""
    return len(client._http._transport._pool.connections)


@pytest.mark.heavy
async def test_a_client_recovers_after_an_outage(outage):
    async with AsyncClient("cx_" + 32 * "0", outage.url, verify=False, timeout=4) as client:

        async def ask():
            # Below the limiter, which would hold most of so many calls back.
            outcome = await client._send(Send(get_agent("p", "agent_1"), "id", 5.0))
            return outcome.status_code if isinstance(outcome, Response) else None

        first = client._http
        # A call that is cancelled a few steps after it got the place of another keeps that place forever.
        for steps in (2, 3, 1, 2, 3):
            calls = [asyncio.create_task(ask()) for _ in range(200)]
            await asyncio.sleep(0.05)
            for one, its_follower in zip(calls[:100], calls[100:], strict=True):
                one.cancel()
                for _ in range(steps):
                    await asyncio.sleep(0)
                its_follower.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            if taken(client) == 100:
                break
        if client._http is not first or taken(client) < 100:
            pytest.skip("too few places were lost: that takes an order of steps that a busy machine changes")
        outage.end()
        found = []
        for _ in range(20):
            found = await asyncio.gather(*(ask() for _ in range(150)))
            if found == [200] * 150:
                break
        assert found == [200] * 150
        assert first.is_closed
        # Only clients in use are open.
        assert list(client._pool._users) == []
    assert client._http.is_closed


@pytest.fixture
def clients():
    opened = []

    def make():
        opened.append(httpx.AsyncClient(verify=False))
        return opened[-1]

    make.opened = opened
    return make


async def time_out(pool):
    with pytest.raises(httpx.PoolTimeout):
        async with pool.use():
            raise httpx.PoolTimeout("")


async def test_repeated_pool_timeouts_replace_the_client(clients):
    pool = AsyncPool(clients)
    async with pool.use() as busy:
        for _ in range(AsyncPool.MOST_TIMEOUTS):
            assert pool.client is clients.opened[0]
            await time_out(pool)
        assert pool.client is clients.opened[1]
        # A request that is under way ends on the old client.
        assert busy is clients.opened[0]
        assert not busy.is_closed
    assert busy.is_closed
    await pool.aclose()
    assert all(client.is_closed for client in clients.opened)


async def test_requests_of_an_old_client_replace_no_other(clients):
    pool = AsyncPool(clients)
    late = [pool.use() for _ in range(5)]
    for one in late:
        await one.__aenter__()
    for _ in range(AsyncPool.MOST_TIMEOUTS):
        await time_out(pool)
    for one in late:
        error = httpx.PoolTimeout("")
        assert not await one.__aexit__(type(error), error, None)
    assert len(clients.opened) == 2
    assert clients.opened[0].is_closed
    await pool.aclose()


async def test_closing_closes_replaced_clients_too(clients):
    pool = AsyncPool(clients)
    async with pool.use():
        for _ in range(AsyncPool.MOST_TIMEOUTS):
            await time_out(pool)
        await pool.aclose()
        assert all(client.is_closed for client in clients.opened)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["{elsewhere}", "//{host}", "http://[::1", "http://\\x01/", ""])
async def test_no_redirect_is_followed(driver, raw_server, http_response, status, location):
    elsewhere = raw_server(http_response({"id": "a", "status": "running"}))
    place = location.format(elsewhere=elsewhere.url, host=elsewhere.url.removeprefix("http://"))
    server = raw_server(http_response(b"", f"{status} Moved", f"Location: {place}"))
    client = driver.open("cx_" + 32 * "0", server.url, max_attempts=3)
    with pytest.raises(ConnixAPIError, match="redirects are refused") as caught:
        await driver.run(client, "get", "p", "a")
    assert caught.value.status_code == status
    assert elsewhere.requests == []
    assert len(server.requests) == 1
