"""
Exchange a request for its answer, on the connections that an httpx client holds.

``httpx.Client.send`` would do it too, and look for cookies, redirects and hooks on the way. Connix has no
cookies and a redirect is refused; to find that out anew for each answer is a seventh of what a Get costs. So
the client is asked for the way to a URL, which knows of proxies and certificates, and for nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator

import httpx

from connix_provider.client.bodies import bound, bound_async
from connix_provider.client.steps import Reply

__all__ = ["answer_async", "exchange", "exchange_async"]


def exchange(client: httpx.Client, auth: httpx.Auth, request: httpx.Request) -> Reply:
    """
    Send a request, and whatever else the proof wants sent for it.

    :param client: whose connections are used
    :param auth: the proof of who is asking
    :param request: the request, with its ``send`` and ``deadline`` among the extensions
    :return: the answer
    :raises httpx.RequestError: where there is none; it knows the request that it was raised for
    :raises ConnixError: for an answer out of bounds, or a token that could not be renewed
    :raises RuntimeError: where the client is closed
    """
    _refuse_closed(client)
    with contextlib.closing(auth.sync_auth_flow(request)) as flow:
        wanted = next(flow)
        way = client._transport_for_url(wanted.url)  # noqa: SLF001 - there is no public way to ask
        try:
            while True:
                with contextlib.closing(way.handle_request(wanted)) as response:
                    response.request = wanted
                    body = bound(response)
                    try:
                        following = flow.send(response)
                    except StopIteration:
                        following = None
                    if following is None:
                        # A proof of somebody else's may have read it.
                        is_read = response.is_stream_consumed
                        return _reply(response, response.content if is_read else b"".join(body))
                    # To its end: only then its connection is used again.
                    response.read()
                wanted = following
                way = client._transport_for_url(wanted.url)  # noqa: SLF001 - as above
        except httpx.RequestError as error:
            _note(error, wanted, is_proxied=way is not client._transport)  # noqa: SLF001 - as above
            raise


async def exchange_async(client: httpx.AsyncClient, auth: httpx.Auth, request: httpx.Request) -> Reply:
    """
    Do the same without blocking the event loop.

    :param client: whose connections are used
    :param auth: the proof of who is asking
    :param request: the request, with its ``send`` and ``deadline`` among the extensions
    :return: the answer
    :raises httpx.RequestError: where there is none; it knows the request that it was raised for
    :raises ConnixError: for an answer out of bounds, or a token that could not be renewed
    :raises RuntimeError: where the client is closed
    """
    _refuse_closed(client)
    async with contextlib.aclosing(auth.async_auth_flow(request)) as flow:
        wanted = await anext(flow)
        while True:
            async with answer_async(client, wanted) as (response, body):
                try:
                    following = await flow.asend(response)
                except StopAsyncIteration:
                    following = None
                if following is None:
                    is_read = response.is_stream_consumed
                    content = response.content if is_read else b"".join([piece async for piece in body])
                    return _reply(response, content)
                await response.aread()
            wanted = following


@contextlib.asynccontextmanager
async def answer_async(
    client: httpx.AsyncClient, wanted: httpx.Request
) -> AsyncIterator[tuple[httpx.Response, AsyncIterable[bytes]]]:
    """
    Send one request, and hold its answer open.

    :param client: whose connections are used
    :param wanted: the request
    :return: the answer and its body, which keeps within its bounds however it is read
    :raises httpx.RequestError: where there is none; it knows the request that it was raised for
    """
    way = client._transport_for_url(wanted.url)  # noqa: SLF001 - there is no public way to ask
    try:
        async with contextlib.aclosing(await way.handle_async_request(wanted)) as response:
            response.request = wanted
            yield response, bound_async(response)
    except httpx.RequestError as error:
        _note(error, wanted, is_proxied=way is not client._transport)  # noqa: SLF001 - as above
        raise


def _note(error: httpx.RequestError, wanted: httpx.Request, *, is_proxied: bool) -> None:
    """Note which request failed, and whether it went through a proxy."""
    wanted.extensions["is_proxied"] = is_proxied
    error.request = wanted


def _reply(response: httpx.Response, body: bytes) -> Reply:
    # A plain dictionary: httpx's own goes through all headers for each that is looked up.
    return Reply(response.status_code, dict(response.headers.items()), body)


def _refuse_closed(client: httpx.Client | httpx.AsyncClient) -> None:
    """Open no connection that nobody would close."""
    if client.is_closed:
        raise RuntimeError("the Connix client is closed; open another one")
