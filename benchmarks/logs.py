"""Measure what reading a long log takes: memory and processor time of the client."""

from __future__ import annotations

import dataclasses
import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from benchmarks.process import Child
from benchmarks.row import WINDOW, Begin, Line, Row, ratio
from benchmarks.service import Service, refused, seed, tally

if TYPE_CHECKING:
    from connix_provider.emulator import Emulator

__all__ = ["LogsRow"]

#: Log lines of a page, and pages that a key may read in a window.
_PAGE, _PAGES = 1000, 100


class _Read(NamedTuple):
    """Lines, seconds, processor seconds of the client, growth of its memory, and refused requests."""

    lines: int
    seconds: float
    processor: float
    mebibytes: float
    refused: int

    def __str__(self) -> str:
        spent = f"{self.processor:.2f} s of processor time, {self.seconds:.1f} s in all"
        return f"{spent}; {self.mebibytes:.1f} MiB more"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogsRow(Row):
    """
    Compare reading a long log.

    :param lines: how many lines it has
    """

    lines: int

    def quick(self) -> Self:
        """Return a row of three pages."""
        return dataclasses.replace(self, lines=3 * _PAGE)

    def measure(self, provider: str, begin: Begin) -> _Read:
        """Read an agent's whole log in a process of its own."""
        with Service() as service:
            (agent_id,) = service.run(seed, 1, "stopped")
            # The log begins with a line about the agent's creation.
            service.run(_add_lines, agent_id, self.lines - 1)
            facts = (service.connections(), service.project_id, agent_id)
            with Child(_read_in_process, provider, *facts) as child:
                child.receive()
                begin()
                child.send("go")
                lines, seconds, processor, mebibytes = child.receive()
            return _Read(lines, seconds, processor, mebibytes, refused(service.run(tally)))

    def line(self, measured: Mapping[str, Sequence[_Read]]) -> Line:
        """Judge memory and processor time."""
        (ours,), (theirs,) = measured["connix"], measured["http"]
        # How long the service takes in production is unknown, but its limits are not.
        pages = self.lines // _PAGE
        floor = pages / _PAGES * WINDOW
        return Line(
            what=self.what,
            floor=f"{pages} pages, {_PAGES} a minute: {floor:g} s",
            aims=[
                ("all lines", ours.lines == self.lines),
                ("under 20 MiB more", ours.mebibytes < 20),
                ("processor time under 10 % of the floor", ours.processor < 0.1 * floor),
            ],
            ours=str(ours),
            theirs=str(theirs),
            to_floor=ratio(ours.processor, floor),
            to_theirs=ratio(ours.processor, theirs.processor),
            refused=f"{ours.refused:,} / {theirs.refused:,}",
            failed=f"{self.lines - ours.lines:,} / {self.lines - theirs.lines:,}",
        )


def _add_lines(emulator: Emulator, agent_id: str, lines: int) -> None:
    emulator.add_logs(agent_id, lines)


def _read_in_process(
    pipe: Connection, provider: str, connections: Mapping[str, str], project_id: str, agent_id: str
) -> None:
    import psutil

    os.environ.update(connections)
    lines = {"connix": _connix, "http": _http}[provider](project_id, agent_id)
    # The first line includes all imports.
    next(lines)
    gc.collect()
    process = psutil.Process()
    memory = peak = process.memory_info().rss
    pipe.send("ready")
    pipe.recv()
    began, processor, count = time.monotonic(), time.process_time(), 1
    for _ in lines:
        count += 1
        if not count % _PAGE:
            peak = max(peak, process.memory_info().rss)
    pipe.send((count, time.monotonic() - began, time.process_time() - processor, (peak - memory) / 2**20))


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
