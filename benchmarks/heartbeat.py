"""
Measure how long the waits of a triggerer keep its event loop from other work.

Two hundred triggers wait for agents of an emulator in a process of its own; every tenth answer is a fault. In
the same loop a heartbeat sleeps for ten milliseconds again and again, and notes how late it wakes. On a
shared machine that says more of the neighbours than of this provider, so the processor time of each single
step of the loop is noted, too: no step may keep the loop for long, whoever else wants the processor.

Run it with ``python benchmarks/heartbeat.py``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import time
from multiprocessing.connection import Connection

from connix_provider.emulator import Durations, Emulator, Fault, Limits

TRIGGERS = 200
HEARTBEAT = 0.01
FAULTS = (
    Fault.status(503),
    Fault.html_502(),
    Fault.rate_limited(retry_after=1),
    Fault.reset_before(),
    Fault.reset_after(),
    Fault.cut_body(),
    Fault.bad_json(),
)


def serve(pipe: Connection) -> None:
    """Serve agents that begin to run within twenty seconds, and strike every tenth look."""
    with Emulator(limits=Limits.off(), durations=Durations()) as emulator:
        agent_ids = emulator.seed(TRIGGERS, status="creating")
        for number, agent_id in enumerate(agent_ids):
            emulator.script(agent_id, [(10 + number % 10, "running")])
        for number in range(1000):
            fault = FAULTS[number % len(FAULTS)]
            emulator.faults.add(fault, on=["get_agent", "list_agents"], after=9 + 10 * number)
        pipe.send((emulator.url, emulator.api_key, emulator.project_id, agent_ids))
        pipe.recv()
        looks = emulator.journal.entries()
        pipe.send((len(looks), sum(entry.fault is not None for entry in looks)))


async def measure(project_id: str, agent_ids: list[str], interval: float) -> dict[str, float]:
    """Wait for all agents, and note how late the heartbeat is and how long each step of the loop takes."""
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
            due = time.monotonic() + HEARTBEAT
            await asyncio.sleep(HEARTBEAT)
            late.append(time.monotonic() - due)

    async def wait(agent_id: str) -> str:
        trigger = ConnixAgentStatusTrigger(
            project_id, agent_id, poll_interval=interval, deadline=time.time() + 120
        )
        (event,) = [event async for event in trigger.run()]
        return str(event.payload["outcome"])

    asyncio.Handle._run = timed  # type: ignore[method-assign]  # noqa: SLF001
    beating = asyncio.create_task(heartbeat())
    outcomes = await asyncio.gather(*map(wait, agent_ids))
    beating.cancel()
    asyncio.Handle._run = run  # type: ignore[method-assign]  # noqa: SLF001
    return {
        "done": outcomes.count("done"),
        "late_p50_ms": 1000 * sorted(late)[len(late) // 2],
        "late_max_ms": 1000 * max(late),
        "longest_step_ms": 1000 * max(steps),
        "steps_over_50_ms": sum(step > 0.05 for step in steps),
        "steps": len(steps),
    }


def main() -> None:
    """Print what was measured, as JSON."""
    ours, theirs = multiprocessing.Pipe()
    service = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    service.start()
    url, key, project_id, agent_ids = ours.recv()
    connection = {"conn_type": "connix", "host": url, "password": key, "extra": {"project_id": project_id}}
    os.environ["AIRFLOW_CONN_CONNIX_DEFAULT"] = json.dumps(connection)
    # What a triggerer has long imported is not what is measured here.
    import connix_provider.client.client
    import connix_provider.waiting.line  # noqa: F401

    gc.freeze()
    measured = asyncio.run(measure(project_id, agent_ids, interval=1.0))
    ours.send(None)
    requests, faults = ours.recv()
    service.join()
    print(json.dumps({**measured, "requests": requests, "faults": faults}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
