"""Time out on purpose, and never because the machine is slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import Match
from waiting import wait_until, wait_until_async

from connix_provider.emulator import Emulator
from connix_provider.emulator.calls import read, write
from connix_provider.emulator.oauth import oauth

#: Seconds of real time to wait for a response that the emulator withholds.
_SHORT_TIMEOUT = 0.03


def bounds_until(arrived: Callable[[], Any]) -> Iterator[float]:
    """
    Yield a timeout for a call that never ends, and longer ones until its request has arrived.

    :param arrived: whether the request has arrived, asked after each call
    :return: seconds of real time
    """
    for seconds in (0.15, 0.95, 9.5):
        yield seconds
        if arrived():
            return


def shorten_timeouts(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Shorten the timeout of each request for which the emulator plans a ``hang``.

    A slow machine changes no outcome: every other request keeps the client's timeout, and no call times out
    before the emulator has its request. Requests are expected one after the other.

    :param emulator: its faults say which request hangs, its journal which request has arrived
    :param monkeypatch: undoes this after the test
    """

    def planned(request: httpx.Request) -> bool:
        call = _call(request)
        found = (one for one in emulator.faults.active() if call in one.on and not one.after)
        first = next(found, None)
        return first is not None and first.fault.name == "hang"

    def hangs() -> int:
        return sum(entry.fault == "hang" for entry in emulator.journal.entries())

    def shorten_timeout(request: httpx.Request) -> None:
        request.extensions["timeout"] = {**request.extensions["timeout"], "read": _SHORT_TIMEOUT}

    handle, handle_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def send_with_short_timeout(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if not planned(request):
            return handle(self, request)
        before = hangs()
        shorten_timeout(request)
        try:
            return handle(self, request)
        except httpx.ReadTimeout:
            wait_until("the hang of this request", lambda: hangs() > before)
            raise

    async def send_with_short_timeout_async(
        self: httpx.AsyncHTTPTransport, request: httpx.Request
    ) -> httpx.Response:
        if not planned(request):
            return await handle_async(self, request)
        before = hangs()
        shorten_timeout(request)
        try:
            return await handle_async(self, request)
        except httpx.ReadTimeout:
            await wait_until_async("the hang of this request", lambda: hangs() > before)
            raise

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", send_with_short_timeout)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", send_with_short_timeout_async)


def _call(request: httpx.Request) -> str | None:
    """Say which call of the emulator a request is for."""
    scope = {"type": "http", "path": request.url.path, "method": request.method, "root_path": ""}
    for route in (*read.routes, *write.routes, *oauth.routes):
        if route.matches(scope)[0] is Match.FULL:
            name: str = route.name
            return name
    return None
