import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from connix_provider.client import AsyncClient, Client
from connix_provider.client.auth import token_cache
from connix_provider.client.ratelimit import registry
from connix_provider.client.retry import RetryPolicy
from connix_provider.emulator import Clock, Durations, Emulator, Limits

BASE_DELAY = 0.0005


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Hide the proxies and the key of the machine that runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("CONNIX_API_KEY", raising=False)


@pytest.fixture(autouse=True)
def forget_shared_state():
    """Begin each test without the tokens and limits that clients of a process share."""
    token_cache._caches.clear()
    registry._limiters.clear()


@pytest.fixture(scope="session")
def shared() -> Iterator[Emulator]:
    """One emulator for all tests, each with a project of its own."""
    with Emulator(clock=Clock(frozen=True), durations=Durations.instant(), limits=Limits.off()) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared: Emulator) -> Iterator[Emulator]:
    """The shared emulator with an empty journal and no faults."""
    shared.faults.clear()
    shared.journal.clear()
    yield shared
    shared.faults.clear()


@pytest.fixture
def project(emulator: Emulator) -> str:
    return emulator.add_project()


class Driver:
    """Run one test with either kind of client: every call is awaited."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.is_async = kind == "async"
        self._opened: list[Client | AsyncClient] = []

    def open(self, *args: Any, base_delay: float | None = BASE_DELAY, **options: Any) -> Client | AsyncClient:
        """Open a client that backs off for a moment only."""
        client = (AsyncClient if self.is_async else Client)(*args, **{"verify": False, **options})
        if base_delay is not None:
            bounds = {
                "max_attempts": client.policy.max_attempts,
                "total_timeout": client.policy.total_timeout,
            }
            client.policy = RetryPolicy(base_delay=base_delay, max_delay=5 * base_delay, **bounds)
        self._opened.append(client)
        return client

    def to(self, emulator: Emulator, **options: Any) -> Client | AsyncClient:
        if not {"auth", "access_token", "refresh_token", "api_key"} & options.keys():
            options["api_key"] = emulator.api_key
        return self.open(base_url=emulator.url, **options)

    async def run(self, client: Client | AsyncClient, name: str, *args: Any, **kwargs: Any) -> Any:
        result = getattr(client.agents, name)(*args, **kwargs)
        return await result if self.is_async else result

    async def collect(self, client: Client | AsyncClient, name: str, *args: Any, **kwargs: Any) -> list[Any]:
        collect = getattr(client.agents, name)(*args, **kwargs)
        return [item async for item in collect] if self.is_async else list(collect)

    async def close(self) -> None:
        for client in self._opened:
            closed = client.close()
            if closed is not None:
                await closed
        self._opened.clear()


@pytest.fixture(params=["sync", "async"])
async def driver(request) -> AsyncIterator[Driver]:
    driver = Driver(request.param)
    yield driver
    await driver.close()


@pytest.fixture(scope="session")
def both() -> tuple[Driver, Driver]:
    """Both kinds of client, for tests without a request."""
    return Driver("sync"), Driver("async")


@pytest.fixture
def open_client() -> Iterator[Callable[..., Client]]:
    """Open synchronous clients that are closed with the test."""
    opened: list[Client] = []

    def open_one(*args: Any, **options: Any) -> Client:
        opened.append(Client(*args, **{"verify": False, **options}))
        return opened[-1]

    yield open_one
    for client in opened:
        client.close()


class RawServer:
    """
    Respond to every request with the bytes that a function writes to the socket.

    It is only for responses that the emulator cannot give.
    """

    def __init__(self, behave: Callable[[socket.socket, bytes], Any], context: ssl.SSLContext | None) -> None:
        self.requests: list[bytes] = []
        self._behave = behave
        self._context = context
        self._ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._begin(self._accept)

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    @property
    def over(self) -> threading.Event:
        return self._ending

    def stop(self) -> None:
        self._ending.set()
        for open_socket in (self._listener, *self._connections):
            with self._forgiving():
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _begin(self, target: Callable[..., None], *args: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._begin(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with self._forgiving():
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            self.converse(connection)
            with self._forgiving():
                connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def converse(self, connection: socket.socket) -> None:
        """Respond to the requests of a connection; a test without HTTP replaces this."""
        while request := self._read(connection):
            self.requests.append(request)
            if self._behave(connection, request) is not True:
                break

    def _read(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        # The client may close the connection at any moment.
        with suppress(OSError, ValueError):
            yield


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    """Start servers that respond with bytes, or with a function that writes to the socket."""
    started: list[RawServer] = []

    def start(
        behave: bytes | Callable[[socket.socket, bytes], Any], context: ssl.SSLContext | None = None
    ) -> RawServer:
        if isinstance(behave, bytes):
            http_response = behave

            def behave(connection: socket.socket, request: bytes) -> None:
                connection.sendall(http_response)

        started.append(RawServer(behave, context))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def http(body: bytes = b"", status: str = "200 OK", *headers: str, length: bool = True) -> bytes:
    """Return an HTTP response as bytes."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.fixture
def http_response() -> Callable[..., bytes]:
    """Write an HTTP response, with a body of bytes or of JSON."""

    def write(body: Any = b"", status: str = "200 OK", *headers: str, length: bool = True) -> bytes:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return http(body, status, *headers, length=length)

    return write
