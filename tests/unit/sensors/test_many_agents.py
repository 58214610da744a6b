"""A rate limit that is too small for all agents of a wait starves none of them."""

from __future__ import annotations

import asyncio

import pytest
from in_process import TaskRun

from connix_provider.polling.priority_semaphore import PrioritySemaphore
from connix_provider.sensors.health import ConnixAgentHealthSensor

pytestmark = pytest.mark.heavy

MODES = [
    {"mode": "poke", "deferrable": False},
    {"mode": "reschedule", "deferrable": False},
    {"deferrable": True},
]


@pytest.mark.parametrize("how", MODES, ids=["poke", "reschedule", "deferred"])
def test_each_agent_is_measured_before_one_is_again(how, connection, warp, emulator):
    emulator.seed(120, name="team-{n}")
    ran = TaskRun(
        warp,
        ConnixAgentHealthSensor,
        remembering=True,
        agents={"name": "team-*"},
        health={"max_cpu_usage": 0.9},
        poke_interval=10,
        # Of the limit on metrics, 50 a minute, three windows.
        timeout=200,
        **how,
    ).try_once()
    assert ran.error is None, ran.error
    assert ran.result["healthy"] == 120
    assert len(emulator.journal.entries("get_metrics")) <= 140


def test_the_longest_unmeasured_agent_is_next():
    order = []

    async def measure(semaphore, measured_at):
        async with semaphore.acquire(measured_at):
            order.append(measured_at)
            await asyncio.sleep(0)

    async def run():
        semaphore = PrioritySemaphore(1)
        async with semaphore.acquire(0.0):
            tasks = [asyncio.create_task(measure(semaphore, at)) for at in (3.0, 1.0, 2.0, 0.0)]
            await asyncio.sleep(0)
            tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with semaphore.acquire(9.0) as has_waited:
            assert not has_waited

    asyncio.run(run())
    assert order == [0.0, 2.0, 3.0]


def test_a_cancelled_acquire_passes_its_place_on():
    async def run():
        semaphore = PrioritySemaphore(1)

        async def measure():
            async with semaphore.acquire(1.0):
                pass

        async with semaphore.acquire(0.0):
            tasks = [asyncio.create_task(measure()) for _ in range(3)]
            await asyncio.sleep(0)
        # The first has its place by now, and has not run yet.
        tasks[0].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks[1:]), 5)
        async with semaphore.acquire(2.0) as has_waited:
            assert not has_waited

    asyncio.run(run())
