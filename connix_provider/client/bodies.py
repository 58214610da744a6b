"""Bound what is read of an answer, of a renewed token's too: its size, its time, and what it unpacks to."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TypeVar

import httpx

from connix_provider.client.errors import ConnixError, ConnixResponseError
from connix_provider.client.failures import too_large, too_slow
from connix_provider.client.punctual import time_left
from connix_provider.client.steps import Send

__all__ = ["MAX_BODY", "bound", "bound_async"]

#: A page of 1,000 log lines or 100 agents is a few MiB; what is far larger is no answer of this API.
MAX_BODY = 32 * 2**20
#: Bytes that are unpacked at once: a few bytes of gzip can stand for gigabytes.
_PIECE = 2**20

ErrorT = TypeVar("ErrorT", bound=ConnixError)


def bound(response: httpx.Response) -> Iterable[bytes]:
    """
    Let no answer be larger or slower than it may be; httpx itself bounds neither.

    :param response: the answer, whose body is not read yet
    :return: its body, which the answer itself has from now on
    """
    body = response.stream = _SyncBody(response)
    return body


def bound_async(response: httpx.Response) -> AsyncIterable[bytes]:
    """
    Do the same for the asynchronous client.

    :param response: the answer, whose body is not read yet
    :return: its body, which the answer itself has from now on
    """
    body = response.stream = _AsyncBody(response)
    return body


class _Body:
    """
    Hand an answer's body on piece by piece, unpacked, as long as it keeps within size and time.

    :param response: the answer; its body is taken over
    """

    def __init__(self, response: httpx.Response) -> None:
        extensions = response.request.extensions
        self._send: Send = extensions["send"]
        self._deadline: float = extensions["deadline"]
        self._of_the_call = "renewal" not in extensions
        self._left = MAX_BODY
        self._begun = False
        self._raw = response.stream
        encoding = ""
        if "Content-Encoding" in response.headers:
            # Taken off, or httpx would unpack again.
            encoding = response.headers.pop("Content-Encoding").strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise self._unreadable("is packed in a way that was not asked for")
        self._gzip = zlib.decompressobj(wbits=31) if encoding.endswith("gzip") else None

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Unpack a chunk, and stop where it is too much or too late."""
        self._begun = True
        while chunk:
            if self._gzip is None:
                piece, chunk = chunk, b""
            else:
                piece, chunk = self._unpack(chunk, self._gzip)
            self._left -= len(piece)
            if self._left < 0:
                raise self._told(too_large(self._send.call, MAX_BODY))
            if not time_left(self._deadline):
                raise self._told(too_slow(self._send.call, self._send.timeout))
            yield piece

    def _unpack(self, chunk: bytes, gzip: zlib._Decompress) -> tuple[bytes, bytes]:
        if gzip.eof:
            raise self._unreadable("goes on after its end")
        try:
            return gzip.decompress(chunk, _PIECE), gzip.unconsumed_tail
        except zlib.error:
            raise self._unreadable("is packed in a broken way") from None

    def _end(self) -> None:
        # No body at all is no broken one.
        if self._gzip is not None and not self._gzip.eof and self._begun:
            raise self._unreadable("is packed in a broken way")

    def _unreadable(self, why: str) -> ConnixResponseError:
        call = self._send.call
        return self._told(ConnixResponseError(f"the answer to {call.method} {call.path} {why}"))

    def _told(self, error: ErrorT) -> ErrorT:
        # While the token was being renewed, the call itself had not been sent, or had been refused.
        error.may_have_executed = self._of_the_call
        return error


class _SyncBody(_Body, httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._raw, Iterable)
        for chunk in self._raw:
            yield from self._pieces(chunk)
        self._end()

    def close(self) -> None:
        assert isinstance(self._raw, httpx.SyncByteStream)
        self._raw.close()


class _AsyncBody(_Body, httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._raw, AsyncIterable)
        async for chunk in self._raw:
            for piece in self._pieces(chunk):
                yield piece
        self._end()

    async def aclose(self) -> None:
        assert isinstance(self._raw, httpx.AsyncByteStream)
        await self._raw.aclose()
