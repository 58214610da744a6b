"""Slow requests and responses end at the client's deadline."""

import re

import pytest
from fast_timeouts import bounds_until

from connix_provider.client import AsyncClient, ConnixTimeoutError

KEY = "cx_" + 32 * "0"
AGENT = {"id": "a", "status": "running"}


def drip(connection, over, before, piece):
    """Answer bit by bit until the test is over: a call that had no bound would never return."""
    connection.sendall(before)
    while not over.wait(0.02):
        connection.sendall(piece)


async def test_a_dripping_body_times_out(driver, raw_server):
    servers = []

    def behave(connection, request):
        drip(connection, servers[0].over, b"HTTP/1.1 200 OK\r\n\r\n", b" ")

    servers.append(raw_server(behave))
    for bound in bounds_until(lambda: servers[0].requests):
        client = driver.open(KEY, servers[0].url, total_timeout=bound)
        with pytest.raises(ConnixTimeoutError) as caught:
            await driver.run(client, "get", "p", "a")
    assert re.search(r"within \d\.\d+ s", str(caught.value))


DRIPS = {
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX-A: ", b"b"),
    "1xx responses": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a chunk's size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
}


@pytest.mark.parametrize("what", DRIPS)
async def test_a_dripping_response_ends_at_the_deadline(driver, raw_server, what):
    if not driver.is_async and what != "chunks":
        pytest.skip("the synchronous client bounds each read")
    servers = []
    servers.append(raw_server(lambda connection, request: drip(connection, servers[0].over, *DRIPS[what])))
    for bound in bounds_until(lambda: servers[0].requests):
        client = driver.open(KEY, servers[0].url, total_timeout=bound, timeout=20)
        with pytest.raises(ConnixTimeoutError):
            await driver.run(client, "get", "p", "a")
    assert servers[0].requests


@pytest.mark.heavy
def test_a_synchronous_call_waits_for_headers_that_drip(open_client, raw_server, http_response):
    ended = []

    def behave(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(50):
            connection.sendall(b"X-A: b\r\n")
            servers[0].over.wait(0.02)
        ended.append(True)
        connection.sendall(b"Content-Length: 2\r\n\r\n{}")

    servers = []
    servers.append(raw_server(behave))
    client = open_client(KEY, servers[0].url, total_timeout=0.5, timeout=20)
    with pytest.raises(ConnixTimeoutError, match=r"within 0\.5 s"):
        client.agents.get("p", "a")
    assert ended


def test_an_endless_handshake_times_out(open_client, raw_server):
    server = raw_server(b"")
    server.converse = lambda peer: drip(peer, server.over, b"\x16\x03\x03\x40\x00", b"\x00")
    client = open_client(KEY, server.url.replace("http:", "https:"), total_timeout=0.2, timeout=5)
    with pytest.raises(ConnixTimeoutError) as caught:
        client.agents.get("p", "a")
    assert not caught.value.may_have_executed


async def test_a_slowly_read_request_ends_at_the_deadline(raw_server):
    server = raw_server(b"")

    def serve(connection):
        while not server.over.wait(0.02):
            server.requests.append(connection.recv(20_000))

    server.converse = serve
    for bound in bounds_until(lambda: server.requests):
        async with AsyncClient(KEY, server.url, total_timeout=bound, timeout=20, verify=False) as client:
            with pytest.raises(ConnixTimeoutError) as caught:
                await client.agents.update("p", "a", {"description": 2**25 * "x"})
    assert re.search(r"within \d\.\d+ s", str(caught.value))
    assert caught.value.may_have_executed


async def test_a_silent_service_times_out(driver, raw_server):
    servers = []
    servers.append(raw_server(lambda connection, request: servers[0].over.wait(60)))
    for bound in bounds_until(lambda: servers[0].requests):
        client = driver.open(KEY, servers[0].url, timeout=bound, max_attempts=1)
        with pytest.raises(ConnixTimeoutError, match=f"within {bound} s") as caught:
            await driver.run(client, "create", "p", {"name": "x"})
    assert caught.value.may_have_executed
