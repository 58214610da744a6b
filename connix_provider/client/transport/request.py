"""Build the HTTP request of a call, with its timeouts."""

from __future__ import annotations

import functools
import platform

import httpx

from connix_provider import __version__
from connix_provider.client.calls.steps import Send

__all__ = ["USER_AGENT", "build_request", "timeouts"]

USER_AGENT = f"airflow-provider-connix/{__version__} (Python {platform.python_version()})"
#: gzip alone, because `bodies.py` decodes it within bounds; it also decodes a deflate that is sent unasked.
_HEADERS = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "gzip"}
_CONNECT_TIMEOUT = 10.0
#: Seconds; sockets refuse timeouts of centuries, and infinite ones.
_LONGEST_WAIT = 86_400.0


def build_request(url: str, send: Send, *, timeout: float) -> httpx.Request:
    """
    Build the request for a step of the flow.

    :param send: the step
    :param timeout: seconds to wait for the next bytes of the response
    """
    call = send.call
    headers = {**_HEADERS, "X-Request-ID": send.request_id}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    return httpx.Request(
        call.method,
        _url(f"{url}{call.path}?{call.query}" if call.query else f"{url}{call.path}"),
        content=call.body,
        headers=headers,
        extensions={"timeout": timeouts(min(timeout, send.timeout))},
    )


def timeouts(seconds: float) -> dict[str, float]:
    """
    Bound each wait inside a request.

    :param seconds: the longest wait for the next bytes
    :return: httpx's timeouts
    """
    longest = min(seconds, _LONGEST_WAIT)
    return {
        "read": longest,
        "write": longest,
        # Shorter, because a request that is cancelled at its end does not show that it waited for the pool.
        "pool": 0.9 * longest,
        "connect": min(longest, _CONNECT_TIMEOUT),
    }


# Cached, because parsing a URL costs as much as reading a response, and polls repeat it.
@functools.lru_cache(maxsize=128)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)
