"""
Send one request with an httpx client, and read its response within bounds.

Redirects are refused before httpx reads their address, so that no key goes to another host. Once the headers
of an error response have come, its status is returned, even if its body cannot be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import httpx

from connix_provider.client.calls.steps import Response
from connix_provider.client.transport.bodies import Body

__all__ = ["ASYNC_HOOKS", "HOOKS", "exchange", "exchange_async"]

#: Seconds to connect to each address of a host at first: more than the second after which TCP sends its first
#: packet again.
_FIRST_CONNECT = 1.5

_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


class _Quiet(logging.Filter):
    """Drop httpx's line for each request, which would fill the log of a task that polls."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO or not _is_quiet.get()


logging.getLogger("httpx").addFilter(_Quiet())


class _RedirectError(Exception):
    """Raised for a redirect, before httpx reads its address."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.response = Response(response.status_code, _headers(response), b"")


def _refuse_redirect(response: httpx.Response) -> None:
    if response.has_redirect_location:
        raise _RedirectError(response)


async def _refuse_redirect_async(response: httpx.Response) -> None:
    _refuse_redirect(response)


#: ``event_hooks`` of the httpx clients.
HOOKS: dict[str, list[Any]] = {"response": [_refuse_redirect]}
ASYNC_HOOKS: dict[str, list[Any]] = {"response": [_refuse_redirect_async]}


def exchange(
    client: httpx.Client, auth: httpx.Auth | None, request: httpx.Request, seconds: float
) -> Response:
    """
    Send a request and read its response; the auth may send further requests.

    A wait for the next bytes is bounded by the request's read timeout. The body is bounded by ``seconds`` as
    well; headers that come byte by byte are not.

    :param client: the client, made with :data:`HOOKS`
    :param request: the request, with its timeouts among the extensions
    :param seconds: time for the whole response
    :raises httpx.RequestError: where no whole response came
    :raises TimeoutError: where the body is not whole in time
    :raises ConnixError: if no access token was received
    :raises RuntimeError: for a closed client
    """
    reception = _Reception(client, seconds)
    with reception:
        with _quiet():
            response = _send(client, auth, request, seconds)
        with contextlib.closing(response):
            if body := reception.begin(response):
                for chunk in response.iter_raw():
                    if not body.add(chunk):
                        break
    return reception.response()


async def exchange_async(
    client: httpx.AsyncClient, auth: httpx.Auth | None, request: httpx.Request, seconds: float
) -> Response:
    """
    Do the same without blocking the event loop; here ``seconds`` bound the headers, too.

    :param client: the client, made with :data:`ASYNC_HOOKS`
    :param request: the request, with its timeouts among the extensions
    :param seconds: time for the whole response
    :raises httpx.RequestError: where no whole response came
    :raises TimeoutError: where it is not whole in time
    :raises ConnixError: if no access token was received
    :raises RuntimeError: for a closed client
    """
    reception = _Reception(client, seconds)
    with reception:
        async with asyncio.timeout(seconds):
            with _quiet():
                response = await client.send(request, auth=auth, stream=True)
            async with contextlib.aclosing(response):
                if body := reception.begin(response):
                    async for chunk in response.aiter_raw():
                        if not body.add(chunk):
                            break
    return reception.response()


def _send(
    client: httpx.Client, auth: httpx.Auth | None, request: httpx.Request, seconds: float
) -> httpx.Response:
    """
    Send a request, so that an unreachable address of a host with several addresses costs at most two seconds.

    The addresses are tried in turn, each for the whole connect timeout. So the first round is short, and a
    second one with the request's own timeout reaches a host that is slow. anyio, which connects for
    asynchronous clients, tries the next address after 0.25 seconds.
    """
    began, timeouts = time.monotonic(), request.extensions["timeout"]
    if timeouts["connect"] > _FIRST_CONNECT:
        request.extensions["timeout"] = {**timeouts, "connect": _FIRST_CONNECT}
        with contextlib.suppress(httpx.ConnectTimeout):
            return client.send(request, auth=auth, stream=True)
        left = began + seconds - time.monotonic()
        request.extensions["timeout"] = {**timeouts, "connect": max(0.0, min(timeouts["connect"], left))}
    return client.send(request, auth=auth, stream=True)


class _Reception:
    """Hold what came of a response. A failure ends in an exception, unless an error status had come."""

    def __init__(self, client: httpx.Client | httpx.AsyncClient, seconds: float) -> None:
        if client.is_closed:
            raise RuntimeError("the Connix client is closed; open another one")
        self._ends = time.monotonic() + seconds
        self._response: httpx.Response | None = None
        self._body: Body | None = None
        self._redirect: Response | None = None

    def begin(self, response: httpx.Response) -> Body | None:
        """Take the headers; return where the body goes, unless an auth of the user's own has read it."""
        self._response = response
        if not response.is_stream_consumed:
            self._body = Body(response, self._ends)
        return self._body

    def response(self) -> Response:
        """Return the response."""
        if self._redirect is not None:
            return self._redirect
        response = self._response
        assert response is not None
        content = response.content if self._body is None else self._body.content()
        return Response(response.status_code, _headers(response), content)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if isinstance(error, _RedirectError):
            self._redirect = error.response
            return True
        has_error_status = self._response is not None and not self._response.is_success
        return has_error_status and isinstance(error, httpx.RequestError | TimeoutError)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def _headers(response: httpx.Response) -> dict[str, str]:
    # A plain dictionary, because httpx's own goes through all headers for each lookup.
    return dict(response.headers.items())
