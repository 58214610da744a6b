"""Connect the provider's clients with the simulated world instead of sockets."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random, SystemRandom
from typing import Any
from unittest.mock import patch

import httpx
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, Connection

from connix_provider.client import AsyncClient, Client
from connix_provider.client.auth import token_cache
from connix_provider.client.calls.steps import Response, Send, StepResult
from connix_provider.client.ratelimit import registry
from connix_provider.client.ratelimit.shared import DIRECTORY_SETTING
from connix_provider.client.responses.failures import timeout_error
from connix_provider.client.transport.httpx_errors import translate
from hostile.clock import Installed, installed
from hostile.service_responses import ServiceResponse
from hostile.world import Broken, Killed, World

__all__ = ["API_KEY", "HOST", "Wire", "forget_process", "wired"]

API_KEY = "cx_00c0ffee00c0ffee00c0ffee00c0ffee"
HOST = "https://connix.example/api/v1"


class Wire:
    """Hold the world of the history that is played now."""

    def __init__(self, clock: Installed) -> None:
        self._clock = clock
        self._world: World | None = None

    @property
    def world(self) -> World:
        assert self._world is not None, "a client is used outside of a history"
        return self._world

    @world.setter
    def world(self, world: World) -> None:
        self._world = world
        self._clock.clock = world.clock


def forget_process() -> None:
    """Drop all rate limiters and tokens, as in a fresh process."""
    token_cache._caches.clear()
    registry._limiters.clear()


@contextmanager
def wired() -> Iterator[Wire]:
    """Connect every client that is opened in this process with a world."""
    with installed() as clock, ExitStack() as stack:
        # No shared file, because it would outlive a history and its clock.
        stack.enter_context(patch.dict(os.environ, {DIRECTORY_SETTING: ""}))
        wire = Wire(clock)
        for kind, replacements in {Client: _of_client(wire), AsyncClient: _of_async_client(wire)}.items():
            for name, replacement in replacements.items():
                stack.enter_context(patch.object(kind, name, replacement))
        connection = Connection(conn_id="connix_default", conn_type="connix", host=HOST, password=API_KEY)

        def get_connection(conn_id: str) -> Connection:
            if wire.world.secrets_are_down:
                raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")
            return connection

        async def get_async_connection(conn_id: str) -> Connection:
            return get_connection(conn_id)

        for name, replacement in (
            ("get_connection", get_connection),
            ("aget_connection", get_async_connection),
        ):
            stack.enter_context(patch.object(BaseHook, name, staticmethod(replacement), create=True))
        stack.enter_context(patch.object(uuid, "uuid4", lambda: _uuid(wire.world.chance)))
        _seed_jitter(wire, stack)
        yield wire


def _of_client(wire: Wire) -> dict[str, Any]:
    def send(self: Client, send: Send) -> StepResult:
        steps = wire.world.send(*_request(wire, send))
        while True:
            try:
                time.sleep(next(steps))
            except StopIteration as end:
                return _outcome(send, end.value)

    def open_(self: Client, verify: Any) -> None:
        wire.world.open_clients += 1

    def close(self: Client) -> None:
        wire.world.open_clients -= 1

    return {"_send": send, "_open": open_, "close": close}


def _of_async_client(wire: Wire) -> dict[str, Any]:
    async def send(self: AsyncClient, send: Send) -> StepResult:
        steps = wire.world.send(*_request(wire, send))
        while True:
            try:
                await asyncio.sleep(next(steps))
            except StopIteration as end:
                return _outcome(send, end.value)

    def open_(self: AsyncClient, verify: Any) -> None:
        wire.world.open_clients += 1

    async def close(self: AsyncClient) -> None:
        wire.world.open_clients -= 1

    return {"_send": send, "_open": open_, "close": close, "aclose": close}


def _request(wire: Wire, send: Send) -> tuple[str, str, str, bytes | None, float]:
    if wire.world.is_dead:
        raise Killed
    call = send.call
    return call.method, call.path, call.query, call.body, send.timeout


def _outcome(send: Send, result: ServiceResponse | Broken) -> StepResult:
    """Convert a result into the client's types."""
    if isinstance(result, ServiceResponse):
        return Response(result.status, result.headers, result.body)
    request = httpx.Request(send.call.method, f"{HOST}{send.call.path}")
    match result.how:
        case "silence":
            return timeout_error(send.call, result.seconds)
        case "refused":
            return translate(_caused(ConnectionRefusedError(), request), send)
        case "unknown host":
            return translate(_caused(socket.gaierror(-2, "Name or service not known"), request), send)
        case "cut":
            return translate(httpx.RemoteProtocolError("peer closed connection", request=request), send)
        case _:
            return translate(httpx.ReadError("reset", request=request), send)


def _caused(cause: OSError, request: httpx.Request) -> httpx.ConnectError:
    error = httpx.ConnectError(str(cause), request=request)
    error.__cause__ = cause
    return error


def _uuid(chance: Random) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128), version=4)


def _seed_jitter(wire: Wire, stack: ExitStack) -> None:
    """Let each function that defaults to the system's random numbers use those of the history's seed."""
    from hostile.clock import provider_functions

    for function in provider_functions():
        for name, value in (function.__kwdefaults__ or {}).items():
            if isinstance(getattr(value, "__self__", None), SystemRandom):
                seeded = {name: lambda: wire.world.chance.random()}
                stack.enter_context(patch.dict(function.__kwdefaults__, seeded))


logging.getLogger("asyncio").setLevel(logging.CRITICAL)
