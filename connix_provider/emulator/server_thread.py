"""An HTTP server in a thread of its own, whose connections a fault can reset."""

import asyncio
import socket
from concurrent.futures import Future
from threading import Thread
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_BACKLOG: Final = 2048
_KEEP_ALIVE: Final = 75
#: Seconds that requests under way have to end after their connections are closed.
_GRACE: Final = 1.0
# A connection that is being accepted becomes known only some turns of the event loop later.
_TURNS: Final = 10


class _Protocol(H11Protocol):
    """Give the app the transport, which a fault resets or closes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The emulator logs requests itself, without the query, which may hold secrets.
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class ServerThread:
    """
    Serve an app until stopped.

    :param app: the ASGI app.
    :param state: what each request finds in its scope's state.
    :param host: a loopback address.
    :param port: the port; 0 picks a free one.
    """

    def __init__(self, app: Any, state: dict[str, Any], host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Named TCP, because otherwise asyncio leaves Nagle's algorithm on, which delays responses by 40 ms.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((host, port))
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self._config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            # None leaves logging as the user has it; access_log=False would turn it off for all of uvicorn.
            log_config=None,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        self._state = state
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = Thread(target=self._run, name=f"connix-emulator-{self.port}", daemon=True)
        self._thread.start()
        try:
            self._loop, self._stopping = self._started.result()
        except BaseException:
            self._thread.join()
            raise

    def stop(self) -> None:
        """Close every connection, also those with a request under way, and end the thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            # A selector loop whatever the user's policy is, because a reset needs the real socket.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._socket.close()
            if self._started.done():
                raise
            # Raised again in the thread that waits for the start.
            self._started.set_exception(error)

    async def _serve(self) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        self._config.load()
        connections = ServerState()
        server = await loop.create_server(
            lambda: _Protocol(self._config, connections, self._state), sock=self._socket, backlog=_BACKLOG
        )
        self._started.set_result((loop, stopping))
        await stopping.wait()
        # Stop accepting, abort the connections that are being accepted, then close: asyncio fails in any
        # other order.
        loop.remove_reader(self._socket)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            for connection in list(connections.connections):
                connection.transport.abort()
        server.close()
        # A request that waits for its client sees the disconnect and ends.
        if connections.tasks:
            await asyncio.wait(connections.tasks, timeout=_GRACE)
        await asyncio.sleep(0)
