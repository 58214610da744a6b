"""
Measure how long the waits of a triggerer keep its event loop from other work.

Triggers wait for agents of an emulator in a process of its own; every tenth answer is a fault. In the same
loop a heartbeat sleeps for ten milliseconds again and again, and notes how late it wakes. On a shared machine
that says more of the neighbours than of this provider, so the processor time of each single step of the loop
is noted, too: no step may keep the loop for long, whoever else wants the processor.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from benchmarks.figures import median
from benchmarks.process import Child

__all__ = ["LONG_STEP", "Beats", "measure"]

#: Seconds of processor time beyond which a step of the loop has kept it from other work.
LONG_STEP = 0.05
_HEARTBEAT = 0.01
_INTERVAL = 1.0


@dataclasses.dataclass(frozen=True)
class Beats:
    """
    Hold what came of it.

    :param waits: how many waits there were
    :param died: how many ended in anything but success
    :param late: the median of the seconds that the heartbeat was late
    :param latest: the most of them
    :param steps: how many steps the loop took
    :param longest: seconds of processor time that the longest step took
    :param long: how many steps took more than :data:`LONG_STEP`
    :param requests: how many requests the service met
    :param faults: how many of these it answered with a fault
    """

    waits: int
    died: int
    late: float
    latest: float
    steps: int
    longest: float
    long: int
    requests: int
    faults: int


def measure(waits: int, *, first: float) -> Beats:
    """
    Let triggers wait in one event loop, beside a heartbeat.

    :param waits: how many
    :param first: seconds until the first agent changes; the last one takes twice as long
    :return: what came of it
    """
    with Child(_serve, waits, first) as service:
        with Child(_beat_in_a_process, *service.receive()) as client:
            beats: Beats = client.receive()
        service.send("done")
        requests, faults = service.receive()
    return dataclasses.replace(beats, requests=requests, faults=faults)


def _serve(pipe: Connection, waits: int, first: float) -> None:
    from connix_provider.emulator import Durations, Emulator, Fault, Limits

    faults = (
        Fault.status(503),
        Fault.html_502(),
        Fault.rate_limited(retry_after=1),
        Fault.reset_before(),
        Fault.reset_after(),
        Fault.cut_body(),
        Fault.bad_json(),
    )
    with Emulator(limits=Limits.off(), durations=Durations()) as emulator:
        agent_ids = emulator.seed(waits, status="creating")
        for number, agent_id in enumerate(agent_ids):
            emulator.script(agent_id, [(first * (1 + number / waits), "running")])
        for number in range(1000):
            fault = faults[number % len(faults)]
            emulator.faults.add(fault, on=["get_agent", "list_agents"], after=9 + 10 * number)
        pipe.send((emulator.url, emulator.api_key, emulator.project_id, agent_ids))
        pipe.recv()
        looks = emulator.journal.entries()
        pipe.send((len(looks), sum(entry.fault is not None for entry in looks)))


def _beat_in_a_process(
    pipe: Connection, url: str, key: str, project_id: str, agent_ids: Sequence[str]
) -> None:
    connection = {"conn_type": "connix", "host": url, "password": key, "extra": {"project_id": project_id}}
    os.environ["AIRFLOW_CONN_CONNIX_DEFAULT"] = json.dumps(connection)
    # What a triggerer has long imported is not what is measured here.
    import connix_provider.client.client
    import connix_provider.waiting.line  # noqa: F401

    gc.freeze()
    pipe.send(asyncio.run(_beat(project_id, agent_ids)))


async def _beat(project_id: str, agent_ids: Sequence[str]) -> Beats:
    from connix_provider.triggers.agent import ConnixAgentStatusTrigger

    late: list[float] = []
    steps: list[float] = []
    run = asyncio.Handle._run  # noqa: SLF001 - the only place where every step passes

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        steps.append(time.thread_time() - began)

    async def heartbeat() -> None:
        while True:
            due = time.monotonic() + _HEARTBEAT
            await asyncio.sleep(_HEARTBEAT)
            late.append(time.monotonic() - due)

    async def wait(agent_id: str) -> bool:
        trigger = ConnixAgentStatusTrigger(
            project_id, agent_id, poll_interval=_INTERVAL, deadline=time.time() + 120
        )
        (event,) = [event async for event in trigger.run()]
        return bool(event.payload["outcome"] == "done")

    asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]  # noqa: SLF001
    beating = asyncio.create_task(heartbeat())
    done = await asyncio.gather(*map(wait, agent_ids))
    beating.cancel()
    asyncio.Handle._run = run  # type: ignore[method-assign]  # noqa: SLF001
    return Beats(
        waits=len(done),
        died=done.count(False),
        late=median(late),
        latest=max(late),
        steps=len(steps),
        longest=max(steps),
        long=sum(step > LONG_STEP for step in steps),
        requests=0,
        faults=0,
    )
