"""Turn httpx's exceptions into the client's own, without their chain, because it holds the request's key."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx

from connix_provider.client.calls.steps import Send
from connix_provider.client.errors import (
    ConnixConnectionError,
    ConnixError,
    ConnixResponseError,
    ConnixTimeoutError,
)
from connix_provider.client.responses.failures import timeout_error
from connix_provider.client.transport.proxies import proxy_for

__all__ = ["FAILURES", "connection_error", "translate"]

#: After these the request was not sent.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_NOT_HTTP = (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL)


#: What sending a request raises when there is no response.
FAILURES = (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ConnixError)


def translate(
    error: TimeoutError | httpx.HTTPError | httpx.InvalidURL | ConnixError, send: Send
) -> ConnixError:
    """
    Turn a failure of a request into an exception of this client.

    :param error: one of :data:`FAILURES`; a :class:`ConnixError` means that no token could be had
    :param send: the request
    :return: the exception to raise instead, with ``may_have_executed`` set
    """
    call = send.call
    if isinstance(error, ConnixError):
        return error
    if isinstance(error, TimeoutError):
        return timeout_error(call, send.timeout)
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, _NOT_SENT):
        request = _request(error)
        phase = "write" if isinstance(error, httpx.WriteTimeout) else "read"
        bounds = request.extensions.get("timeout", {}) if request else {}
        return timeout_error(call, bounds.get(phase, send.timeout))
    result = connection_error(error, missed=f"the response to {call.method} {call.path}")
    result.may_have_executed = not isinstance(error, (*_NOT_SENT, *_NOT_HTTP))
    return result


def connection_error(
    error: httpx.HTTPError | httpx.InvalidURL, *, missed: str, setting: str = "the connection's host"
) -> ConnixError:
    """
    Return the error of a request without a response, with the reason.

    :param missed: what the message calls the missing response
    :param setting: the user's setting that holds the address
    :return: the exception to raise instead
    """
    request = _request(error)
    origin = f"{request.url.scheme}://{request.url.netloc.decode()}" if request else "Connix"
    proxy = proxy_for(request.url) if request else None
    through = f"{origin} through {proxy}" if proxy else origin
    result: ConnixError
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        result = ConnixTimeoutError(f"no connection to {through} could be made in time")
    elif isinstance(error, httpx.TimeoutException):
        result = ConnixTimeoutError(f"{missed} was not received from {through} in time")
    elif isinstance(error, httpx.DecodingError):
        result = ConnixResponseError(f"{missed} cannot be read: the body {error}")
    elif isinstance(error, httpx.ConnectError):
        is_tls = any(isinstance(cause, ssl.SSLError) for cause in _causes(error))
        if proxy and not is_tls:
            through = f"{proxy} on the way to {origin}"
        reason = _reason(error, "that setting" if proxy else setting)
        result = ConnixConnectionError(f"no connection to {through}: {reason}")
    elif isinstance(error, httpx.ProxyError):
        result = ConnixConnectionError(
            f"{proxy or 'the proxy'} refused the connection to {origin}{_refusal(error)}"
        )
    elif isinstance(error, _NOT_HTTP):
        # Their texts can quote headers, and with them the key.
        result = ConnixConnectionError(f"the request to {origin} could not be written as HTTP")
    else:
        result = ConnixConnectionError(
            f"the connection to {origin} broke before {missed} was complete: {_reason(error)}"
        )
    result.may_be_misconfiguration = _may_be_misconfiguration(error)
    return result


def _request(error: httpx.HTTPError | httpx.InvalidURL) -> httpx.Request | None:
    try:
        return error.request if isinstance(error, httpx.HTTPError) else None
    except RuntimeError:  # raised by httpx if there is none
        return None


def _refusal(error: httpx.ProxyError) -> str:
    """Return a proxy's status, without its text."""
    status = str(error)[:3]
    if status == "407":
        return " (407: it asks for a user and password, which its address may hold)"
    return f" ({status})" if status.isascii() and status.isdigit() else ""


def _reason(error: BaseException, setting: str = "") -> str:
    """Return why a connection failed, and which setting to check."""
    port = " and port" if setting.endswith("host") else ""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its TLS certificate is not trusted ({cause.verify_message}); for an authority of your own, "
                "set verify in the connection's extra to the path of its CA bundle"
            )
        if isinstance(cause, ssl.SSLError):
            return "the TLS handshake failed; does the server expect http://?"
        if isinstance(cause, socket.gaierror):
            return f"the host name cannot be resolved; check {setting}"
        if isinstance(cause, ConnectionRefusedError):
            return f"nothing is listening on that port; check {setting}{port}"
        if isinstance(cause, ConnectionResetError):
            return "the server reset the connection"
    if isinstance(error, httpx.RemoteProtocolError):
        # Not its own text, because that may quote the response, and with it an echoed key.
        return "the server closed the connection" if _is_disconnect(error) else "the response is not HTTP"
    return str(error) or type(error).__name__


def _may_be_misconfiguration(error: BaseException) -> bool:
    """Return whether the name is unknown, the certificate does not fit, or the response is not Connix's."""
    if isinstance(error, httpx.DecodingError):
        return True
    if isinstance(error, httpx.ConnectError):
        return any(isinstance(cause, ssl.SSLError | socket.gaierror) for cause in _causes(error))
    return isinstance(error, httpx.RemoteProtocolError) and not _is_disconnect(error)


def _is_disconnect(error: httpx.RemoteProtocolError) -> bool:
    return "disconnected" in str(error) or "closed connection" in str(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 10:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1
