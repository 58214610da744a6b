"""The next page is fetched while this one is used, and no more than that."""

import asyncio
import contextvars
import time

import httpx
import pytest

from connix_provider.client import ConnixServerError
from connix_provider.emulator import Fault


class Walking:
    """Take items off a walk of either client one by one."""

    def __init__(self, driver, walk):
        self._walk = walk
        self._is_async = driver.is_async

    async def take(self, count):
        return [await anext(self._walk) if self._is_async else next(self._walk) for _ in range(count)]

    async def stop(self):
        if self._is_async:
            await self._walk.aclose()
        else:
            self._walk.close()


async def settle(emulator, requests):
    """Wait until so many requests came, and a moment longer for those that should not."""
    limit = time.monotonic() + 30
    while len(emulator.journal.entries()) < requests:
        assert time.monotonic() < limit, f"{requests} requests did not come"
        await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0.001)
    return len(emulator.journal.entries())


@pytest.fixture
def walking(driver, emulator, project):
    emulator.seed(30, project_id=project)
    return Walking(driver, driver.to(emulator, max_attempts=1).agents.iter(project, limit=10))


async def test_nothing_is_fetched_ahead_in_the_first_half_of_a_page(walking, emulator):
    await walking.take(5)
    assert await settle(emulator, 1) == 1
    await walking.stop()
    assert await settle(emulator, 1) == 1


async def test_one_page_is_fetched_ahead_in_the_second_half_and_not_two(walking, emulator):
    await walking.take(6)
    assert await settle(emulator, 2) == 2
    await walking.take(4)
    assert await settle(emulator, 2) == 2
    await walking.stop()


async def test_all_of_it_is_given_once_and_in_order(driver, emulator, project):
    ids = emulator.seed(95, project_id=project)
    agents = await driver.walk(driver.to(emulator), "iter", project, sort="created_at", limit=10)
    assert [agent.id for agent in agents] == ids


async def test_an_error_is_told_where_the_walk_comes_to_it(walking, emulator):
    emulator.faults.add(Fault.status(500), on="list_agents", after=1)
    assert len(await walking.take(10)) == 10
    with pytest.raises(ConnixServerError):
        await walking.take(1)


async def test_whoever_stops_early_leaves_nothing_under_way(walking, emulator, driver):
    emulator.faults.add(Fault.hang(), on="list_agents", after=1)
    await walking.take(8)
    await settle(emulator, 2)
    await walking.stop()
    if driver.is_async:
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_error_that_nobody_comes_to_is_told_to_nobody(walking, emulator):
    emulator.faults.add(Fault.status(500), on="list_agents", after=1)
    await walking.take(8)
    await settle(emulator, 2)
    await walking.stop()


async def test_it_is_fetched_in_the_context_of_whoever_walks(walking, monkeypatch):
    owner = contextvars.ContextVar("owner", default="nobody")
    seen = []

    def spy(send):
        def spying(*args, **kwargs):
            seen.append(owner.get())
            return send(*args, **kwargs)

        return spying

    for way, send in (
        (httpx.HTTPTransport, "handle_request"),
        (httpx.AsyncHTTPTransport, "handle_async_request"),
    ):
        monkeypatch.setattr(way, send, spy(getattr(way, send)))
    owner.set("the task that walks")
    await walking.take(30)
    assert seen == ["the task that walks"] * len(seen)
    assert len(seen) >= 3
