"""Measure what one Get costs: through each provider's hook, and with nothing but httpx."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import time
from collections.abc import Callable
from email.utils import formatdate
from multiprocessing.connection import Connection

import httpx

from benchmarks.figures import median
from benchmarks.process import Child

__all__ = ["Gets", "measure"]

_PROJECT, _AGENT = "proj_1234567890abcdef", "agent_1234567890abcdef"
_PATH = f"/api/v1/projects/{_PROJECT}/agents/{_AGENT}"
#: The reference's own example of an agent.
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


@dataclasses.dataclass(frozen=True)
class Gets:
    """
    Hold what one Get took, in seconds: the median of many, measured in turns.

    :param raw: with ``httpx.Client`` and ``json()``
    :param connix: with this provider's hook
    :param http: with the HTTP provider's hook
    """

    raw: float
    connix: float
    http: float


def measure(times: int) -> Gets:
    """
    Get the same agent again and again from a server that has its answer ready.

    :param times: how often, in each way
    :return: what one took
    """
    with Child(_serve) as server, Child(_get_in_a_process, server.receive(), times) as client:
        measured: Gets = client.receive()
    return measured


def _get_in_a_process(pipe: Connection, port: int, times: int) -> None:
    key = "cx_" + 32 * "0"
    common = {"host": "127.0.0.1", "port": port, "schema": "http"}
    os.environ |= {
        "AIRFLOW_CONN_CONNIX_DEFAULT": json.dumps({"conn_type": "connix", "password": key, **common}),
        "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps({"conn_type": "http", "extra": {"X-API-Key": key}, **common}),
    }
    from airflow.providers.http.hooks.http import HttpHook

    from connix_provider.hooks.connix import ConnixHook

    agents = ConnixHook().client.agents
    theirs = HttpHook(method="GET")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": key}) as raw:
        ways: tuple[Callable[[], object], ...] = (
            lambda: raw.get(_PATH).json(),
            lambda: agents.get(_PROJECT, _AGENT),
            lambda: theirs.run(_PATH).json(),
        )
        taken: tuple[list[float], ...] = ([], [], [])
        # In turns, so that whatever else the machine does strikes all of them.
        for _ in range(times):
            for way, found in zip(ways, taken, strict=True):
                began = time.perf_counter()
                way()
                found.append(time.perf_counter() - began)
    pipe.send(Gets(*map(median, taken)))


class _Ready(asyncio.Protocol):
    """Answer every request with the same agent, as fast as a server can."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        # A Get of either client arrives in one piece and ends so.
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(_answer())


def _answer() -> bytes:
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
