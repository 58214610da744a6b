"""Measure what one Get costs: through each provider's hook, and with httpx alone."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from multiprocessing.connection import Connection
from typing import NamedTuple, Self

import httpx

from benchmarks.process import Child
from benchmarks.row import Begin, Line, Row, ratio

__all__ = ["GetRow"]

_PROJECT, _AGENT = "proj_1234567890abcdef", "agent_1234567890abcdef"
_PATH = f"/api/v1/projects/{_PROJECT}/agents/{_AGENT}"
#: The example of the reference.
_BODY = {
    "id": _AGENT,
    "name": "Data Analysis Agent",
    "description": "Processes customer data and generates insights",
    "project_id": _PROJECT,
    "status": "running",
    "config": {
        "model": "gpt-4",
        "temperature": 0.7,
        "max_tokens": 2048,
        "tools": ["web_search", "code_execution", "data_analysis"],
        "system_prompt": "You are a data analysis expert...",
        "environment_variables": {"DATA_SOURCE": "postgres://...", "CACHE_TTL": "3600"},
    },
    "metadata": {"created_by": "user_1234567890abcdef", "environment": "production", "team": "analytics"},
    "created_at": "2024-01-15T10:30:00Z",
    "updated_at": "2024-01-15T14:45:00Z",
    "last_activity": "2024-01-15T16:20:00Z",
    "stats": {"total_tasks": 1247, "completed_tasks": 1198, "failed_tasks": 23, "success_rate": 0.961},
}


class _Gets(NamedTuple):
    """Median seconds of a Get with ``httpx.Client``, this provider's hook and the HTTP provider's."""

    raw: float
    connix: float
    http: float

    def __str__(self) -> str:
        return f"{1e6 * self.connix:.0f} µs, httpx {1e6 * self.raw:.0f} µs, HttpHook {1e6 * self.http:.0f} µs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GetRow(Row):
    """
    Compare one Get.

    :param times: how many Gets are measured
    """

    times: int
    providers: Sequence[str] = ("connix",)

    def quick(self) -> Self:
        """Return a row of 50 Gets."""
        return dataclasses.replace(self, times=50)

    def measure(self, provider: str, begin: Begin) -> _Gets:
        """Get one agent again and again from a server that has its response ready."""
        with Child(_serve) as server, Child(_get_in_process, server.receive(), self.times) as client:
            begin()
            gets: _Gets = client.receive()
        return gets

    def line(self, measured: Mapping[str, Sequence[_Gets]]) -> Line:
        """Judge the medians."""
        (gets,) = measured["connix"]
        return Line(
            what=self.what,
            floor=f"httpx.Client and json(): {1e6 * gets.raw:.0f} µs",
            aims=[
                ("at most 1.25 x the floor", gets.connix <= 1.25 * gets.raw),
                ("at most 0.7 x HttpHook.run", gets.connix <= 0.7 * gets.http),
            ],
            ours=f"{1e6 * gets.connix:.0f} µs",
            theirs=f"{1e6 * gets.http:.0f} µs",
            to_floor=ratio(gets.connix, gets.raw),
            to_theirs=ratio(gets.connix, gets.http),
        )


def _get_in_process(pipe: Connection, port: int, times: int) -> None:
    key = "cx_" + 32 * "0"
    common = {"host": "127.0.0.1", "port": port, "schema": "http"}
    os.environ |= {
        "AIRFLOW_CONN_CONNIX_DEFAULT": json.dumps({"conn_type": "connix", "password": key, **common}),
        "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps({"conn_type": "http", "extra": {"X-API-Key": key}, **common}),
    }
    from airflow.providers.http.hooks.http import HttpHook

    from connix_provider.hooks.connix import ConnixHook

    agents = ConnixHook().client.agents
    http_hook = HttpHook(method="GET")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": key}) as raw:
        ways: tuple[Callable[[], object], ...] = (
            lambda: raw.get(_PATH).json(),
            lambda: agents.get(_PROJECT, _AGENT),
            lambda: http_hook.run(_PATH).json(),
        )
        taken: tuple[list[float], ...] = ([], [], [])
        # In turns, so that other work of the machine slows all of them alike.
        for _ in range(times):
            for way, seconds in zip(ways, taken, strict=True):
                began = time.perf_counter()
                way()
                seconds.append(time.perf_counter() - began)
    pipe.send(_Gets(*map(statistics.median, taken)))


class _Ready(asyncio.Protocol):
    """Answer every request with the same agent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        # A Get arrives in one piece, with this end.
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(_response())


def _response() -> bytes:
    body = json.dumps(_BODY).encode()
    now = time.time()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nDate: {formatdate(now, usegmt=True)}\r\nX-Request-ID: req_0\r\n"
        "X-RateLimit-Limit: 1000000\r\nX-RateLimit-Remaining: 999999\r\n"
        f"X-RateLimit-Reset: {int(now) + 60}\r\n"
    )
    return head.encode() + b"\r\n" + body


def _serve(pipe: Connection) -> None:
    async def serve() -> None:
        loop, closed = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(_Ready, "127.0.0.1", 0)
        loop.add_reader(pipe.fileno(), closed.set)
        pipe.send(server.sockets[0].getsockname()[1])
        await closed.wait()
        server.close()

    asyncio.run(serve())
