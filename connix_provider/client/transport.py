"""
Move the bytes: what httpx is told, and what its exceptions mean.

Nothing here decides anything about Connix. It builds requests from calls, bounds what is read, and turns
httpx's exceptions into the client's own, without their chain: httpx's hold the request with its key.
"""

from __future__ import annotations

import functools
import platform
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from connix_provider import __version__
from connix_provider.client.errors import (
    ConnixConnectionError,
    ConnixError,
    ConnixResponseError,
    ConnixTimeoutError,
)
from connix_provider.client.flow import Send, too_slow

__all__ = ["DEFAULT_BASE_URL", "MAX_BODY", "build_request", "complete_url", "http_options", "translate"]

DEFAULT_BASE_URL = "https://api.connix.io/api/v1"
API_PATH = "/api/v1"
USER_AGENT = f"airflow-provider-connix/{__version__} (Python {platform.python_version()})"
#: A page of 1,000 log lines or 100 agents is a few MiB; what is far larger is no answer of this API.
MAX_BODY = 32 * 2**20
_CONNECT_TIMEOUT = 10.0


def complete_url(url: str | None) -> str:
    """
    Complete a base URL: the default where there is none, ``/api/v1`` where it has no path.

    :param url: what the user gave
    :return: the base URL without a slash at its end
    :raises ValueError: for a URL that is not http(s), or has a query, a fragment or a user in it
    """
    if url is None or not url.strip():
        return DEFAULT_BASE_URL
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"the base URL {url!r} cannot be read; write it as {DEFAULT_BASE_URL}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the base URL must not hold a user or password; the key has its own field")
    if parts.scheme.lower() not in {"http", "https"} or not host:
        raise ValueError(
            f"the base URL must begin with https:// (or http://) and name a host, as {DEFAULT_BASE_URL}; "
            f"it is {url.partition('?')[0]!r}"
        )
    if "?" in url or "#" in url:
        raise ValueError(f"the base URL must not have a query or a fragment: {url.partition('?')[0]!r}")
    return f"{parts.scheme.lower()}://{parts.netloc}{parts.path.rstrip('/') or API_PATH}"


def http_options(*, timeout: float, verify: bool | str) -> dict[str, object]:
    """
    Collect what both kinds of httpx client are told.

    :param timeout: seconds to wait for the service to go on with its answer
    :param verify: whether to check certificates, or the path of a CA bundle
    :return: keyword arguments for ``httpx.Client`` and ``httpx.AsyncClient``
    """
    return {
        "timeout": httpx.Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT)),
        "verify": _ssl_context(verify),
        "follow_redirects": False,
        "headers": {"User-Agent": USER_AGENT, "Accept": "application/json"},
    }


@functools.lru_cache(maxsize=8)
def _ssl_context(verify: bool | str) -> ssl.SSLContext | bool:
    """Share one context for each setting: making one reads the whole CA bundle."""
    if isinstance(verify, str):
        try:
            return ssl.create_default_context(cafile=verify)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"verify names a CA bundle that cannot be read: {verify!r} ({error})") from None
    return httpx.create_ssl_context(verify=verify)


def build_request(client: httpx.Client | httpx.AsyncClient, url: str, send: Send) -> httpx.Request:
    """
    Build the request for a step of the flow.

    :param client: the httpx client, for its headers
    :param url: the base URL
    :param send: the step
    :return: the request
    """
    call = send.call
    headers = {"X-Request-ID": send.request_id}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    request = client.build_request(
        call.method,
        f"{url}{call.path}?{call.query}" if call.query else f"{url}{call.path}",
        content=call.body,
        headers=headers,
    )
    # No single wait inside the request may be longer than the request may take.
    timeouts = request.extensions["timeout"]
    request.extensions["timeout"] = {
        phase: send.timeout if seconds is None else min(seconds, send.timeout)
        for phase, seconds in timeouts.items()
    }
    return request


def translate(error: httpx.HTTPError | httpx.InvalidURL, send: Send) -> ConnixError:
    """
    Turn an exception of httpx into one of this client.

    :param error: what httpx raised
    :param send: the step it was raised for
    :return: the exception to raise instead, with ``may_have_executed`` told
    """
    call, place = send.call, _place(error)
    unsent = isinstance(
        error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError
    )
    result: ConnixError
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        result = ConnixTimeoutError(f"no connection to {place} could be made in time")
    elif isinstance(error, httpx.TimeoutException):
        result = too_slow(call, min(send.timeout, _longest(error)))
    elif isinstance(error, httpx.DecodingError):
        result = ConnixResponseError(f"the answer to {call.method} {call.path} is compressed in a broken way")
    elif isinstance(error, httpx.ConnectError):
        result = ConnixConnectionError(f"no connection to {place}: {_reason(error)}")
    elif isinstance(error, httpx.ProxyError):
        result = ConnixConnectionError(f"the proxy on the way to {place} refused the connection")
    elif isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL):
        # Their texts can quote headers, and with them the key.
        unsent = True
        result = ConnixConnectionError(f"the request to {place} could not be written as HTTP")
    else:
        result = ConnixConnectionError(
            f"the connection to {place} broke before the answer to {call.method} {call.path} was whole: "
            f"{_reason(error)}"
        )
    result.may_have_executed = not unsent
    return result


def _place(error: httpx.HTTPError | httpx.InvalidURL) -> str:
    try:
        url = error.request.url if isinstance(error, httpx.HTTPError) else None
    except RuntimeError:
        url = None
    return f"{url.scheme}://{url.netloc.decode()}" if url else "Connix"


def _longest(error: httpx.TimeoutException) -> float:
    try:
        limits = error.request.extensions.get("timeout", {})
    except RuntimeError:
        return float("inf")
    return min((seconds for seconds in limits.values() if seconds is not None), default=float("inf"))


def _reason(error: BaseException) -> str:
    """Say in a user's words why a connection failed."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its TLS certificate is not trusted ({cause.verify_message}); for an authority of your own, "
                "set verify in the connection's extra to the path of its CA bundle"
            )
        if isinstance(cause, ssl.SSLError):
            return "no TLS could be agreed on; is the address an http:// one?"
        if isinstance(cause, socket.gaierror):
            return "the host's name is not known; check the connection's host"
        if isinstance(cause, ConnectionRefusedError):
            return "nothing listens there; check the connection's host and port"
        if isinstance(cause, ConnectionResetError):
            return "it was reset by the other side"
    return str(error) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 10:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1
