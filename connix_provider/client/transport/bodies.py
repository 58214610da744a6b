"""
Collect the body of a response within bounds, and decode it.

- The body of a success has at most 32 MiB, decoded. A larger one is an error.
- Of any other response, the first 64 KiB are kept, because a status counts whatever becomes of its body.
- Codings are read as leniently as HTTP clients do: unknown ones are ignored, gzip may have several members,
  and bytes after the last member are ignored.

httpx's own decoder decodes a chunk of any size at once and stops after the first gzip member, so gzip and
deflate are decoded here. Requests accept no other coding.
"""

from __future__ import annotations

import codecs
import contextlib
import time
import zlib
from collections.abc import Iterator

import httpx

from connix_provider.client.responses.failures import MAX_ERROR_BODY

__all__ = ["MAX_BODY", "Body"]

#: A page of 1,000 log lines or 100 agents is a few MiB; no response of this API is far larger.
MAX_BODY = 32 * 2**20
#: Bytes that are decoded at once, because a few bytes of gzip can stand for gigabytes.
_PIECE = 2**16
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class Body:
    """
    Collect a response's body, chunk by chunk.

    :param response: the response, whose body is not read yet
    :param ends: seconds of the monotonic clock after which no further chunk is awaited
    """

    def __init__(self, response: httpx.Response, ends: float) -> None:
        self._response = response
        self._ends = ends
        self._is_success = response.is_success
        self._left = MAX_BODY if self._is_success else MAX_ERROR_BODY
        self._pieces: list[bytes] = []
        codings = response.headers.get_list("content-encoding", split_commas=True)
        known = [coding.strip().lower() for coding in reversed(codings)]
        self._decompressors = [_Decompressor(coding) for coding in known if coding in _Decompressor.CODINGS]

    def add(self, chunk: bytes) -> bool:
        """
        Take a chunk as it came.

        :param chunk: bytes of the body
        :return: whether more is wanted
        :raises httpx.DecodingError: for a success that is too large or cannot be decoded
        :raises TimeoutError: for a body that is not whole in time
        """
        try:
            for piece in self._decompressed(chunk, self._decompressors):
                self._left -= len(piece)
                if self._left < 0:
                    self._pieces.append(piece[: self._left])
                    raise self._failure(f"has more than {MAX_BODY // 2**20} MiB; reading stopped")
                self._pieces.append(piece)
        except zlib.error:
            raise self._failure("has an invalid gzip or deflate coding") from None
        if time.monotonic() >= self._ends:
            raise TimeoutError
        return not (self._decompressors and self._decompressors[0].is_over)

    def content(self) -> bytes:
        """
        Return the body as UTF-8 without a byte order mark.

        :return: what was collected
        :raises httpx.DecodingError: for a success that was cut before its first byte
        """
        if self._is_success and any(decompressor.is_cut_empty for decompressor in self._decompressors):
            # An empty body confirms an action, so one that was cut must not pass for it.
            raise self._failure("has an invalid gzip or deflate coding")
        content = b"".join(self._pieces).removeprefix(codecs.BOM_UTF8)
        if (encoding := _UTF_16.get(content[:2])) and len(content) > 2:
            with contextlib.suppress(UnicodeDecodeError):
                return content[2:].decode(encoding).encode()
        return content

    def _decompressed(self, chunk: bytes, decompressors: list[_Decompressor]) -> Iterator[bytes]:
        if not decompressors:
            yield chunk
            return
        for piece in decompressors[0].pieces(chunk):
            yield from self._decompressed(piece, decompressors[1:])

    def _failure(self, why: str) -> httpx.DecodingError:
        return httpx.DecodingError(why, request=self._response.request)


class _Decompressor:
    """Decode one content coding, in pieces of bounded size."""

    CODINGS = frozenset({"gzip", "x-gzip", "deflate"})

    def __init__(self, coding: str) -> None:
        self.is_over = False
        self._is_gzip = coding != "deflate"
        self._begun = b""
        self._inflater: zlib._Decompress | None = None
        self._members = self._size = 0

    @property
    def is_cut_empty(self) -> bool:
        """Whether coded bytes came, but neither a decoded byte nor the end."""
        return not self._members and not self._size and (self._inflater is not None or bool(self._begun))

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        chunk, self._begun = self._begun + chunk, b""
        while chunk and not self.is_over:
            if self._inflater is None:
                # Two bytes distinguish the kinds of deflate, and a further member from trailing bytes.
                if len(chunk) < 2:
                    self._begun = chunk
                    return
                if self._members and not (self._is_gzip and chunk.startswith(b"\x1f\x8b")):
                    self.is_over = True
                    return
                self._inflater = zlib.decompressobj(self._window_bits(chunk))
            piece = self._inflater.decompress(chunk, _PIECE)
            chunk = self._inflater.unconsumed_tail or self._inflater.unused_data
            if self._inflater.eof:
                self._inflater, self._members = None, self._members + 1
            self._size += len(piece)
            if piece:
                yield piece

    def _window_bits(self, head: bytes) -> int:
        if self._is_gzip:
            return zlib.MAX_WBITS | 16
        # RFC 9110 wants the format of zlib; some services send bare deflate.
        has_header = head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head[:2]) % 31 == 0
        return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
