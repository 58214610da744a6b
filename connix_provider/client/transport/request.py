"""Build the HTTP request of a call, with its time-outs."""

from __future__ import annotations

import functools
import platform

import httpx

from connix_provider import __version__
from connix_provider.client.calls.steps import Send

__all__ = ["USER_AGENT", "build_request", "timeouts"]

USER_AGENT = f"airflow-provider-connix/{__version__} (Python {platform.python_version()})"
#: gzip alone: what is not asked for is not unpacked.
_HEADERS = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "gzip"}
_CONNECT_TIMEOUT = 10.0
#: Sockets refuse to wait for some centuries, or for ever in numbers.
_LONGEST_WAIT = 86_400.0


def build_request(url: str, send: Send, *, timeout: float) -> httpx.Request:
    """
    Build the request for a step of the flow.

    :param url: the base URL
    :param send: the step
    :param timeout: seconds to wait for the service to go on with its answer
    :return: the request
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

    :param seconds: the longest wait for the service to go on
    :return: httpx's time-outs
    """
    longest = min(seconds, _LONGEST_WAIT)
    return {
        "read": longest,
        "write": longest,
        # Shorter, because a request that is cancelled at its end would not tell that it waited for the pool.
        "pool": 0.9 * longest,
        "connect": min(longest, _CONNECT_TIMEOUT),
    }


# Taking a URL apart costs as much as reading an answer, and polls repeat it.
@functools.lru_cache(maxsize=128)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)
