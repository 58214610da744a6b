"""Run out of real time on purpose, and never because the machine is slow just then."""

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

#: Seconds of real time to wait for an answer that will not come.
_PATIENCE = 0.03


def bounds_until(arrived: Callable[[], Any]) -> Iterator[float]:
    """
    Give the seconds that a call may take which will not end, and more where nothing of it has even arrived.

    :param arrived: whether anything has, asked after each call
    :return: seconds of real time
    """
    for seconds in (0.15, 0.95, 9.5):
        yield seconds
        if arrived():
            return


def shorten_timeouts(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Wait for a moment only where a ``hang`` is planned for what is asked, until the test is over.

    A machine that is slow just then changes nothing: whatever is answered is waited for as long as the client
    would, and no call ends before the service has what it will not answer.

    Requests are expected one after the other.

    :param emulator: knows what is planned, and what has arrived
    :param monkeypatch: undone when the test is over
    """

    def planned(request: httpx.Request) -> bool:
        call = _call(request)
        found = (one for one in emulator.faults.active() if call in one.on and not one.after)
        first = next(found, None)
        return first is not None and first.fault.name == "hang"

    def struck() -> int:
        return sum(entry.fault == "hang" for entry in emulator.journal.entries())

    def lose_patience(request: httpx.Request) -> None:
        request.extensions["timeout"] = {**request.extensions["timeout"], "read": _PATIENCE}

    handle, handle_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def impatient(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if not planned(request):
            return handle(self, request)
        before = struck()
        lose_patience(request)
        try:
            return handle(self, request)
        except httpx.ReadTimeout:
            wait_until("the hang of this request", lambda: struck() > before)
            raise

    async def impatient_async(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        if not planned(request):
            return await handle_async(self, request)
        before = struck()
        lose_patience(request)
        try:
            return await handle_async(self, request)
        except httpx.ReadTimeout:
            await wait_until_async("the hang of this request", lambda: struck() > before)
            raise

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", impatient)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", impatient_async)


def _call(request: httpx.Request) -> str | None:
    """Say which call of the emulator a request is for."""
    scope = {"type": "http", "path": request.url.path, "method": request.method, "root_path": ""}
    for route in (*read.routes, *write.routes, *oauth.routes):
        if route.matches(scope)[0] is Match.FULL:
            name: str = route.name
            return name
    return None
