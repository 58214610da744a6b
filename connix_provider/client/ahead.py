"""
Fetch the next page of a walk while this one is being used.

One page ahead and no more: memory stays that of two pages. It is fetched from the middle of a page on, so
that whoever stops early has not spent a request of the key's budget on what nobody reads.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from connix_provider.client.call import Call
from connix_provider.client.pages import Walk

if TYPE_CHECKING:
    from connix_provider.client.client import AsyncClient, Client

__all__ = ["walk", "walk_async"]

ItemT = TypeVar("ItemT")
PageT = TypeVar("PageT")


def walk(client: Client, pages: Walk[PageT, ItemT], call: Call[PageT] | None) -> Iterator[ItemT]:
    """
    Walk all pages.

    :param client: carries the calls out
    :param pages: says which page comes next and what of it is new
    :param call: the call for the first page, made beforehand so that bad arguments are told at once
    :return: the items
    """
    ahead: Future[PageT] | None = None
    while call is not None:
        page = client.perform(call) if ahead is None else ahead.result()
        items, call, ahead = pages.take(page), pages.next_call(), None
        for number, item in enumerate(items):
            if call and ahead is None and number >= len(items) // 2:
                ahead = _in_a_thread(client, call)
            yield item


async def walk_async(
    client: AsyncClient, pages: Walk[PageT, ItemT], call: Call[PageT] | None
) -> AsyncIterator[ItemT]:
    """
    Do the same without blocking the event loop.

    :param client: carries the calls out
    :param pages: says which page comes next and what of it is new
    :param call: the call for the first page
    :return: the items
    """
    ahead: asyncio.Future[PageT] | None = None
    while call is not None:
        page = await client.perform(call) if ahead is None else await ahead
        items, call, ahead = pages.take(page), pages.next_call(), None
        try:
            for number, item in enumerate(items):
                if call and ahead is None and number >= len(items) // 2:
                    ahead = asyncio.ensure_future(client.perform(call))
                yield item
        except BaseException:
            # Whoever stops early leaves no request behind, and need not hear of what became of it.
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
            raise


def _in_a_thread(client: Client, call: Call[PageT]) -> Future[PageT]:
    """Carry a call out in a thread, which does not keep a process from ending."""
    future: Future[PageT] = Future()

    def fetch() -> None:
        try:
            future.set_result(client.perform(call))
        except BaseException as error:
            future.set_exception(error)

    # In the caller's context: what is logged belongs into the log of the task that walks.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(fetch,), name="connix-look-ahead", daemon=True).start()
    return future
