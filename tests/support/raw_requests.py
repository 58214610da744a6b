"""Read the HTTP requests that a raw server received."""

from __future__ import annotations


def headers_of(request: bytes) -> dict[str, str]:
    """Return a request's headers, with names in lower case."""
    lines = request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
