"""Measure how long after its change a deferred wait is told of it, with many waits on one key."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.figures import quantile
from benchmarks.process import Begin, Child, at_once
from benchmarks.service import Service, refusals

__all__ = ["Told", "Waits", "measure"]

#: Seconds after the last change for which waits that were not told yet may still go on.
_AFTERWARDS = 300.0
#: Seconds within which the first wait of a process, for an agent that runs already, must be over.
_WARM_UP = 60.0


@dataclasses.dataclass(frozen=True)
class Waits:
    """
    Describe one measurement.

    :param waits: how many agents are waited for
    :param project: how many agents the project has, if more; the others run, and stay as they are
    :param processes: how many processes wait, on one key and without common memory
    :param interval: the seconds between two looks that each wait asks for
    :param quiet: seconds before the first change
    :param spread: seconds from the first change to the last
    :param interleaved: whether each process waits for every so-manieth agent, and not for those that were
        created one after another
    """

    waits: int
    interval: float
    spread: float
    project: int = 0
    processes: int = 1
    quiet: float = 20.0
    interleaved: bool = False


@dataclasses.dataclass(frozen=True)
class Told:
    """
    Hold what came of it.

    :param waits: how many there were
    :param lags: seconds from the change to the event, of those that were told
    :param died: how many ended in anything but success
    :param requests: how many requests the service met
    :param listings: how many of these were pages of the listing
    :param refused: how many of them it refused for the rate limit
    :param bytes_each: what one wait took of memory
    """

    waits: int
    lags: Sequence[float]
    died: int
    requests: int
    listings: int
    refused: int
    bytes_each: float

    @property
    def p95(self) -> float:
        """The 95th percentile of the lags."""
        return quantile(self.lags, 0.95)


def measure(provider: str, case: Waits, *, window: float, begin: Begin = at_once) -> Told:
    """
    Let triggers of a provider wait for agents of a service in another process.

    :param provider: ``connix``, or ``http`` for the HTTP provider's event trigger
    :param case: what to measure
    :param window: seconds of the rate limits' windows
    :param begin: called when all is prepared
    :return: what came of it
    """
    with Service(window=window) as service, ExitStack() as stack:
        if case.project:
            waited = service.scatter(case.waits, "paused", among=case.project, others="running")
        else:
            waited = service.plant(case.waits, "paused")
        # What a triggerer has long imported, and what the first wait of all loads, is not what is measured.
        (known,) = service.plant(1, "running")
        children = [
            stack.enter_context(
                Child(
                    _wait_in_a_process,
                    *(provider, service.connections(), service.project_id, known, part, case.interval),
                )
            )
            for part in _parts(waited, case.processes, interleaved=case.interleaved)
        ]
        for child in children:
            child.receive()
        before = service.tally()
        begin()
        service.change(waited, case.quiet, case.spread)
        deadline = time.time() + case.quiet + case.spread + _AFTERWARDS * window / 60
        for child in children:
            child.send(deadline)
        told: dict[str, float | None] = {}
        taken = 0.0
        for child in children:
            part_told, part_taken = child.receive()
            told |= part_told
            taken += part_taken
        changed = dict(zip(waited, service.changed(waited), strict=True))
        tally = service.tally() - before
    lags = [moment - changed[agent_id] for agent_id, moment in told.items() if moment is not None]
    return Told(
        waits=len(waited),
        lags=lags,
        died=len(waited) - len(lags),
        requests=tally.total(),
        listings=sum(count for (call, _), count in tally.items() if call == "list_agents"),
        refused=refusals(tally),
        bytes_each=taken / len(waited),
    )


def _parts(agent_ids: Sequence[str], processes: int, *, interleaved: bool) -> list[Sequence[str]]:
    if interleaved:
        return [agent_ids[number::processes] for number in range(processes)]
    size = len(agent_ids) // processes
    return [agent_ids[number * size :][:size] for number in range(processes)]


def _wait_in_a_process(
    pipe: Connection,
    provider: str,
    connections: dict[str, str],
    project_id: str,
    known: str,
    agent_ids: Sequence[str],
    interval: float,
) -> None:
    os.environ.update(connections)
    begin = {"connix": _connix, "http": _http}[provider]
    soon = time.time() + _WARM_UP
    asyncio.run(_wait_for_all(begin(project_id, interval, soon), [known], soon))
    pipe.send("ready")
    deadline = pipe.recv()
    pipe.send(asyncio.run(_wait_for_all(begin(project_id, interval, deadline), agent_ids, deadline)))


Wait = Callable[[str], Awaitable[bool]]


async def _wait_for_all(
    wait: Wait, agent_ids: Sequence[str], deadline: float
) -> tuple[dict[str, float | None], float]:
    """Return when each wait was told, and how many bytes all of them took."""
    told: dict[str, float | None] = dict.fromkeys(agent_ids)

    async def one(agent_id: str) -> None:
        try:
            async with asyncio.timeout(deadline - time.time()):
                good = await wait(agent_id)
        except Exception:
            # Whatever it is, this wait has died of it.
            return
        told[agent_id] = time.time() if good else None

    gc.collect()
    # Whatever was imported and made before is there once, not for each wait.
    gc.freeze()
    before = _memory()
    sampler = asyncio.create_task(_most_memory())
    await asyncio.gather(*map(one, agent_ids))
    sampler.cancel()
    return told, await sampler - before


async def _most_memory() -> float:
    most = 0.0
    try:
        while True:
            most = max(most, _memory())
            await asyncio.sleep(1)
    except asyncio.CancelledError:
        return most


def _memory() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss)


def _connix(project_id: str, interval: float, deadline: float) -> Wait:
    from connix_provider.triggers.agent import ConnixAgentStatusTrigger

    async def wait(agent_id: str) -> bool:
        trigger = ConnixAgentStatusTrigger(project_id, agent_id, poll_interval=interval, deadline=deadline)
        async for event in trigger.run():
            return bool(event.payload["outcome"] == "done")
        return False

    return wait


def _http(project_id: str, interval: float, deadline: float) -> Wait:
    from airflow.providers.http.triggers.http import HttpEventTrigger

    async def wait(agent_id: str) -> bool:
        trigger = HttpEventTrigger(
            response_check_path="benchmarks.check.is_running",
            endpoint=f"api/v1/projects/{project_id}/agents/{agent_id}",
            poll_interval=interval,
        )
        async for event in trigger.run():
            payload: Any = event.payload
            return bool(payload["status"] == "success")
        return False

    return wait
