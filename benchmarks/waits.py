"""
Measure the lag of many waits on one key: from the change of an agent to the event of its trigger.

Agents are paused, and begin to run one after another in random order. The first agent changes five seconds
after the first wait began, so connecting and the first polls are part of the result.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import math
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Self

from benchmarks.process import Child
from benchmarks.row import WINDOW, Begin, Line, Row, ratio
from benchmarks.service import Service, refused, seed, tally

if TYPE_CHECKING:
    from connix_provider.emulator import Emulator

__all__ = ["WaitsRow"]

#: The reference's limits a window, and the agents of one page.
_PAGES, _GETS, _PAGE = 100, 200, 100
#: Seconds from the first wait to the first change.
_FIRST_CHANGE = 5.0
#: Seconds after the last change until a wait without an event counts as failed.
_AFTERWARDS = 300.0


@dataclasses.dataclass(frozen=True)
class _Waited:
    """The result of one measurement."""

    #: Seconds from change to event, of the waits that had an event.
    lags: Sequence[float]
    failed: int
    requests: int
    #: Requests for a page of the listing.
    pages: int
    refused: int
    #: Memory of one wait.
    kibibytes: float

    def p95(self) -> float:
        """Return the 95th percentile of the lags."""
        return statistics.quantiles(self.lags, n=20)[-1] if len(self.lags) > 1 else math.inf

    def longest(self) -> float:
        """Return the longest lag."""
        return max(self.lags, default=math.inf)

    def __str__(self) -> str:
        return (
            f"p95 {self.p95():.1f} s, longest {self.longest():.1f} s, {self.kibibytes:.1f} KiB a wait, "
            f"{self.refused:,} of {self.requests:,} refused, {self.failed:,} failed"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WaitsRow(Row):
    """
    Compare the lag of many waits.

    :param waits: how many
    :param interval: poll interval of each wait, in seconds
    :param http_interval: poll interval of the HTTP provider's waits
    :param begin_within: seconds from the first wait's begin to the last one's
    :param spread: seconds from the first change to the last
    :param project: how many agents the project has; the others run and do not change
    :param processes: how many processes wait, which share nothing, as on several machines
    :param interleaved: whether each process waits for every n-th agent, not for agents created in a row
    :param readings: how often all pages have to be read for each agent to be read once; 0: Gets are enough
    :param burst: whether agents change faster than their Gets may be sent
    :param p95_at_most: aim for the 95th percentile of the lags, in parts of the floor
    :param longest_at_most: aim for the longest lag, in parts of the floor
    :param refused_at_most: aim for the refused part of all requests
    :param kibibytes: aim for the memory of one wait
    :param window: seconds of a rate limit's window
    """

    waits: int
    interval: float = 5.0
    http_interval: float = 30.0
    begin_within: float = 0.0
    spread: float = 240.0
    project: int = 0
    processes: int = 1
    interleaved: bool = False
    readings: int = 1
    burst: bool = False
    p95_at_most: float = 1.3
    longest_at_most: float | None = None
    refused_at_most: float = 0.0
    kibibytes: float | None = None
    window: float = WINDOW
    group: str = "waits"
    repeats: bool = True

    @property
    def floor(self) -> float:
        """Seconds from change to event that no client can beat within the limits."""
        if self.burst:
            # The Get of the n-th agent is due after n Gets.
            return 0.95 * (self.waits / _GETS * self.window - self.spread)
        pages = self.readings * math.ceil(self.waits / _PAGE)
        return max(pages * self.window / _PAGES, self.interval)

    def quick(self) -> Self:
        """Return a row of a tenth of the waits, in windows of 6 s."""
        small = {
            "waits": max(5, self.waits // 10),
            "project": self.project // 100,
            "processes": min(2, self.processes),
        }
        times = {"interval": 1.0, "http_interval": 3.0, "spread": 8.0, "begin_within": self.begin_within / 10}
        return dataclasses.replace(self, window=6.0, **small, **times)  # type: ignore[arg-type]  # by name

    def measure(self, provider: str, begin: Begin) -> _Waited:
        """Let triggers wait, in processes of their own, for agents of a service in another process."""
        interval = self.interval if provider == "connix" else self.http_interval
        with Service(self.window) as service, ExitStack() as stack:
            agent_ids = service.run(_seed, self.waits, max(self.project, self.waits))
            starts = {agent_id: self.begin_within * n / self.waits for n, agent_id in enumerate(agent_ids)}
            # Several processes stand for several machines.
            variables = service.connections(share=self.processes == 1)
            facts = (provider, variables, service.project_id, interval)
            children = [stack.enter_context(Child(_wait_in_process, *facts)) for _ in range(self.processes)]
            for child in children:
                child.receive()
            begin()
            began = time.time()
            deadline = began + _FIRST_CHANGE + self.spread + _AFTERWARDS * self.window / WINDOW
            for child, part in zip(children, self._parts(agent_ids), strict=True):
                child.send(({agent_id: began + starts[agent_id] for agent_id in part}, deadline))
            changes = service.run(_change, agent_ids, _FIRST_CHANGE, self.spread)
            events: dict[str, float] = {}
            taken = 0.0
            for child in children:
                part_events, part_taken = child.receive()
                events |= part_events
                taken += part_taken
            requests = service.run(tally)
        return _Waited(
            lags=[at - max(changes[agent_id], began + starts[agent_id]) for agent_id, at in events.items()],
            failed=self.waits - len(events),
            requests=requests.total(),
            pages=sum(count for (call, _), count in requests.items() if call == "list_agents"),
            refused=refused(requests),
            kibibytes=taken / 1024 / self.waits,
        )

    def _parts(self, agent_ids: Sequence[str]) -> Sequence[Sequence[str]]:
        if self.interleaved:
            return [agent_ids[number :: self.processes] for number in range(self.processes)]
        size = self.waits // self.processes
        return [agent_ids[number * size :][:size] for number in range(self.processes)]

    def line(self, measured: Mapping[str, Sequence[_Waited]]) -> Line:
        """Judge every run of ours by the aims, and show the median run."""
        runs = sorted(measured["connix"], key=self._lag)
        ours = runs[len(runs) // 2]
        theirs = measured.get("http", [])
        several = (
            f" ({self._lag(runs[0]):.1f} to {self._lag(runs[-1]):.1f} in {len(runs)} runs)"
            if runs[1:]
            else ""
        )
        shown = [ours, *theirs]
        return Line(
            what=self.what,
            floor=self._floor_text(),
            aims=self._aims(runs),
            ours=self._text(ours, several),
            theirs=self._text(theirs[0]) if theirs else "-",
            to_floor=ratio(self._lag(ours), self.floor),
            to_theirs=ratio(self._lag(ours), self._lag(theirs[0])) if theirs else "-",
            refused=" / ".join(f"{one.refused:,} of {one.requests:,}" for one in shown),
            failed=" / ".join(f"{one.failed:,}" for one in shown),
        )

    def _aims(self, runs: Sequence[_Waited]) -> Sequence[tuple[str, bool]]:
        at_most = self.p95_at_most * self.floor
        aims = [
            (
                f"p95 at most {self.p95_at_most:g} x the floor ({at_most:.3g} s)",
                all(run.p95() <= at_most for run in runs),
            )
        ]
        if not self.readings:
            aims = [
                ("no pages", not any(run.pages for run in runs)),
                (f"lag at most {self.floor:g} s", all(run.longest() <= self.floor for run in runs)),
            ]
        if (factor := self.longest_at_most) is not None:
            aims.append(
                (f"longest at most {factor:g} x", all(run.longest() <= factor * self.floor for run in runs))
            )
        part = self.refused_at_most
        refused_text = f"refused at most {part:.0%}" if part else "0 refused"
        aims.append((refused_text, all(run.refused <= part * run.requests for run in runs)))
        aims.append(("0 failed", not any(run.failed for run in runs)))
        if (kibibytes := self.kibibytes) is not None:
            text = f"at most {kibibytes:g} KiB a wait"
            aims.append((text, all(run.kibibytes <= kibibytes for run in runs)))
        return aims

    def _lag(self, run: _Waited) -> float:
        # A 95th percentile of ten lags says little.
        return run.p95() if self.readings else run.longest()

    def _text(self, run: _Waited, several: str = "") -> str:
        if not run.lags:
            return "no event"
        if not self.readings:
            return f"longest {run.longest():.1f} s{several}, {run.pages:,} pages of the listing"
        return (
            f"p95 {run.p95():.1f} s{several}, longest {run.longest():.1f} s, {run.kibibytes:.1f} KiB a wait"
        )

    def _floor_text(self) -> str:
        if not self.readings:
            return f"{self.waits} Gets every {self.interval:g} s"
        if self.burst:
            return f"{self.waits:,} Gets, {_GETS} a window: p95 {self.floor:.3g} s"
        times = f" {self.readings} times" if self.readings > 1 else ""
        return f"all pages{times} in {self.floor:.3g} s"


def _seed(emulator: Emulator, waits: int, project: int) -> Sequence[str]:
    if waits == project:
        return seed(emulator, waits, "paused")
    agent_ids: list[str] = []
    for number in range(waits):
        agent_ids += emulator.seed(1, status="paused", name=f"agent-{number}")
        # A name of its own for each batch, because looking for free names among all would take minutes.
        emulator.seed(project // waits - 1, status="running", name=f"other-{number}-{{n}}")
    return agent_ids


def _change(emulator: Emulator, agent_ids: Sequence[str], first: float, spread: float) -> Mapping[str, float]:
    """Let the agents begin to run in random order, the same in each measurement; return the epoch seconds."""
    order = random.Random(0).sample(agent_ids, len(agent_ids))  # noqa: S311 - not for a secret
    now = time.time()
    delays = {agent_id: first + spread * number / len(order) for number, agent_id in enumerate(order)}
    for agent_id, delay in delays.items():
        emulator.script(agent_id, [(delay, "running")])
    return {agent_id: now + delay for agent_id, delay in delays.items()}


def _wait_in_process(
    pipe: Connection, provider: str, connections: Mapping[str, str], project_id: str, interval: float
) -> None:
    os.environ.update(connections)
    begin = {"connix": _connix, "http": _http}[provider]
    # A triggerer has imported its providers' triggers before the first wait.
    begin(project_id, interval, time.time())
    pipe.send("ready")
    starts, deadline = pipe.recv()
    pipe.send(asyncio.run(_wait_for_all(begin(project_id, interval, deadline), starts, deadline)))


WaitForAgent = Callable[[str], Awaitable[bool]]


async def _wait_for_all(
    wait: WaitForAgent, starts: Mapping[str, float], deadline: float
) -> tuple[dict[str, float], float]:
    """Return the epoch second of each wait's event, and the memory of all waits in bytes."""
    events: dict[str, float] = {}

    async def one(agent_id: str, start: float) -> None:
        await asyncio.sleep(start - time.time())
        try:
            async with asyncio.timeout(deadline - time.time()):
                is_done = await wait(agent_id)
        except Exception:
            # The wait has failed, whatever the reason.
            return
        if is_done:
            events[agent_id] = time.time()

    gc.collect()
    # The garbage collector must not search the imported modules again and again.
    gc.freeze()
    before = _memory()
    sampler = asyncio.create_task(_peak_memory())
    await asyncio.gather(*(one(agent_id, start) for agent_id, start in starts.items()))
    sampler.cancel()
    return events, await sampler - before


async def _peak_memory() -> float:
    peak = 0.0
    try:
        while True:
            peak = max(peak, _memory())
            await asyncio.sleep(1)
    except asyncio.CancelledError:
        return peak


def _memory() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss)


def _connix(project_id: str, interval: float, deadline: float) -> WaitForAgent:
    from connix_provider.triggers.agent import ConnixAgentStatusTrigger

    async def wait(agent_id: str) -> bool:
        trigger = ConnixAgentStatusTrigger(project_id, agent_id, poll_interval=interval, deadline=deadline)
        async for event in trigger.run():
            return bool(event.payload["outcome"] == "done")
        return False

    return wait


def _http(project_id: str, interval: float, deadline: float) -> WaitForAgent:
    from airflow.providers.http.triggers.http import HttpEventTrigger

    async def wait(agent_id: str) -> bool:
        trigger = HttpEventTrigger(
            response_check_path="benchmarks.waits.is_running",
            endpoint=f"api/v1/projects/{project_id}/agents/{agent_id}",
            poll_interval=interval,
        )
        async for event in trigger.run():
            payload: Any = event.payload
            return bool(payload["status"] == "success")
        return False

    return wait


async def is_running(response: Any) -> bool:
    """
    Tell the HTTP provider's trigger when to end.

    :param response: the response to a Get
    """
    return bool(response.json()["status"] == "running")
