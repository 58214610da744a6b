"""
Carry the renewals of tokens to their end, whatever becomes of the calls that wait for them.

A service may have used a refresh token up as soon as it was asked for another one. An answer that nobody
takes would leave a dead token to everything that shares the grant. So in an event loop, where a call may be
cancelled at any moment, a renewal is a task of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

import httpx

from connix_provider.client.errors import ConnixError
from connix_provider.client.exchange import answer_async
from connix_provider.client.failures import out_of_time
from connix_provider.client.punctual import time_left, with_grace
from connix_provider.client.transport import translate

__all__ = ["Renewals"]


class Renewals:
    """
    Renew on the connections of one asynchronous client.

    :param client: whose connections are used
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        #: The event loop itself would let a task go that nobody else holds.
        self._under_way: set[asyncio.Task[ConnixError | None]] = set()
        self._asking: set[asyncio.Task[object] | None] = set()

    async def carry_out(self, renew: Callable[[], Awaitable[None]], call: httpx.Request) -> None:
        """
        Wait for a renewal, which goes on where this wait is cancelled after the endpoint was asked.

        :param renew: takes its turn, asks and adopts; it has some seconds more than the call
        :param call: the request that needs it
        :raises ConnixError: where there are no new tokens
        """
        # In an empty context: other calls need it, too, and its lines are none of this one's task's.
        context = contextvars.Context()
        task = asyncio.get_running_loop().create_task(_outcome(renew, call), context=context)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(self._asking.discard)
        try:
            error = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task not in self._asking:
                # Only what was asked for must not be missed; this one still waits for its turn.
                task.cancel()
            raise
        if error:
            raise error

    async def answer(self, wanted: httpx.Request) -> httpx.Response:
        """
        Ask a token endpoint.

        :param wanted: the request
        :return: the answer, read
        :raises httpx.RequestError: where there is none; it knows the request that it was raised for
        :raises ConnixError: for an answer out of bounds
        """
        self._asking.add(asyncio.current_task())
        async with answer_async(self._client, wanted) as (response, _):
            await response.aread()
        return response

    async def ended(self) -> None:
        """Wait until none is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)


async def _outcome(renew: Callable[[], Awaitable[None]], call: httpx.Request) -> ConnixError | None:
    """Return the error, which perhaps nobody waits for any more, and asyncio would complain."""
    send = call.extensions["send"]
    try:
        async with asyncio.timeout(time_left(with_grace(call.extensions["deadline"]))):
            await renew()
    except TimeoutError:
        return out_of_time(send.call)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return translate(error, send)
    except ConnixError as error:
        return error
    return None
