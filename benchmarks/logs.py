"""Measure what it takes to read a long log: memory, and the client's time beside the service's."""

from __future__ import annotations

import dataclasses
import gc
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.process import Child
from benchmarks.service import Service, refusals

__all__ = ["Read", "measure"]

_PAGE = 1000


@dataclasses.dataclass(frozen=True)
class Read:
    """
    Hold what came of it.

    :param lines: how many lines were read
    :param seconds: how long it took
    :param client: processor seconds of the client
    :param server: processor seconds of the service
    :param megabytes: how much the client's memory grew
    :param refused: how many requests the service refused
    """

    lines: int
    seconds: float
    client: float
    server: float
    megabytes: float
    refused: int


def measure(provider: str, lines: int, *, window: float) -> Read:
    """
    Read an agent's whole log in a process of its own.

    :param provider: ``connix``, or ``http`` for the HTTP provider's hook, a page at a time
    :param lines: how many lines the log has
    :param window: seconds of the rate limits' windows
    :return: what came of it
    """
    with Service(window=window) as service:
        (agent_id,) = service.plant(1, "stopped")
        # The first line of all tells that the agent was created.
        service.add_lines(agent_id, lines - 1)
        facts = (service.connections(), service.project_id, agent_id)
        with Child(_read_in_a_process, provider, *facts) as child:
            child.receive()
            before = service.cpu()
            child.send("go")
            read, seconds, client, megabytes = child.receive()
        server = service.cpu() - before
        return Read(read, seconds, client, server, megabytes, refusals(service.tally()))


def _read_in_a_process(
    pipe: Connection, provider: str, connections: dict[str, str], project_id: str, agent_id: str
) -> None:
    import psutil

    os.environ.update(connections)
    lines = {"connix": _connix, "http": _http}[provider](project_id, agent_id)
    # The first line brings in whatever is imported for it.
    next(lines)
    gc.collect()
    process = psutil.Process()
    memory = most = process.memory_info().rss
    pipe.send("ready")
    pipe.recv()
    began, cpu, count = time.monotonic(), time.process_time(), 1
    for _ in lines:
        count += 1
        if not count % _PAGE:
            most = max(most, process.memory_info().rss)
    pipe.send((count, time.monotonic() - began, time.process_time() - cpu, (most - memory) / 2**20))


def _connix(project_id: str, agent_id: str) -> Iterator[Any]:
    from connix_provider.hooks.connix import ConnixHook

    with ConnixHook().get_conn() as client:
        yield from client.agents.iter_logs(project_id, agent_id, limit=_PAGE)


def _http(project_id: str, agent_id: str) -> Iterator[Any]:
    from airflow.providers.http.hooks.http import HttpHook

    hook, offset, has_more = HttpHook(method="GET"), 0, True
    while has_more:
        endpoint = f"api/v1/projects/{project_id}/agents/{agent_id}/logs"
        page = hook.run(endpoint, data={"limit": _PAGE, "offset": offset}).json()
        yield from page["logs"]
        offset += len(page["logs"])
        has_more = page["pagination"]["has_more"]
