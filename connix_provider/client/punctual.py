"""
Keep to a call's deadline while bytes move.

A blocking socket is bounded in each of its waits, but not in their sum: a service that sends one byte now
and then holds a thread for as long as it likes. The asynchronous client is cancelled at its deadline; for the
synchronous one, what httpcore waits for is bounded by the time that is left.
"""

from __future__ import annotations

import contextlib
import math
import ssl
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

__all__ = ["punctual", "time_left", "until", "with_grace"]

#: Seconds beyond a call's time for which an answer is awaited that must not be missed.
_GRACE = 5.0
#: Written at once: a reader that is slow is noticed between two pieces.
_PIECE = 65_536
_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextlib.contextmanager
def until(deadline: float) -> Iterator[None]:
    """
    Bound all that this thread reads and writes meanwhile.

    :param deadline: seconds of the local monotonic clock
    """
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def time_left(deadline: float) -> float:
    """
    Say how long it is until a deadline.

    :param deadline: seconds of the local monotonic clock
    :return: seconds, 0 where it has passed
    """
    return max(0.0, deadline - time.monotonic())


def with_grace(end: float) -> float:
    """
    Lengthen a call's time for what must not be missed once it was asked for, as new tokens.

    :param end: a deadline, or seconds to wait
    :return: some seconds more
    """
    return end + _GRACE


def punctual(client: httpx.Client) -> httpx.Client:
    """
    Make a client keep to the deadline, on each of its ways to the service, through proxies too.

    :param client: the client, which has not sent anything yet
    :return: the same client
    """
    # httpx has no public way to what its pools write on; without one, a deadline would hold less strictly.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        pool = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if isinstance(backend, httpcore.NetworkBackend):
            vars(pool)["_network_backend"] = _Backend(backend)
    return client


def _left(seconds: float | None, too_late: type[httpcore.TimeoutException]) -> float | None:
    """Say how long may be waited: as long as httpx wants, but not beyond the deadline."""
    left = time_left(_deadline.get())
    if not left:
        raise too_late("the call's time is over")
    return seconds if math.isinf(left) else left if seconds is None else min(seconds, left)


class _Backend(httpcore.NetworkBackend):
    """Make connections that keep to the deadline."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._backend.connect_tcp(host, port, left, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    """Read and write until the deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[at : at + _PIECE], _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        try:
            left = _left(timeout, httpcore.ConnectTimeout)
        except httpcore.ConnectTimeout:
            self.close()
            raise
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
