"""How long after an agent's change its wait hears of it, within the limits of one key, on virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import statistics
import types
from collections.abc import Iterable
from email.utils import formatdate
from random import Random
from typing import Any

import pytest
import virtual_loop

from connix_provider.client.errors import ConnixRateLimitError
from connix_provider.client.models import Agent, AgentPage
from connix_provider.client.ratelimit import DOCUMENTED, Bucket, RateLimiter, recheck_delay
from connix_provider.polling.watching.watcher import Watcher

#: The server's time when a test begins.
EPOCH = 1_772_366_400.0
DEADLINE = 100_000.0


class Service:
    """
    Hold a project, and count requests in fixed windows, as the reference has it.

    :param agents: how many agents the project has
    :param begins_at: seconds into a window of a minute
    :param creating: the numbers of the agents that are being created; the others run. Default all
    """

    def __init__(self, agents: int, begins_at: float = 0.0, *, creating: range | None = None) -> None:
        self._begins_at = EPOCH + begins_at
        creating = range(agents) if creating is None else creating
        self._agents = [
            Agent(
                id=f"agent_{n}",
                name=f"agent {n}",
                project_id="p",
                status="creating" if n in creating else "running",
            )
            for n in range(agents)
        ]
        self._used: dict[tuple[Bucket, int], int] = {}
        self.sent = dict.fromkeys((Bucket.GET, Bucket.LIST), 0)
        self.refused = 0

    def change(self, agent_id: str) -> None:
        number = int(agent_id.removeprefix("agent_"))
        self._agents[number] = self._agents[number].model_copy(update={"status": "running"})

    def count(self, bucket: Bucket, now: float) -> tuple[bool, dict[str, str]]:
        """Count a request; return whether it is accepted, and the headers."""
        moment = self._begins_at + now
        window = math.floor(moment / 60)
        is_good = self._used.setdefault((bucket, window), 0) < DOCUMENTED[bucket]
        self._used[bucket, window] += is_good
        self.sent[bucket] += 1
        self.refused += not is_good
        return is_good, {
            "date": formatdate(moment, usegmt=True),
            "x-ratelimit-limit": str(DOCUMENTED[bucket]),
            "x-ratelimit-remaining": str(DOCUMENTED[bucket] - self._used[bucket, window]),
            "x-ratelimit-reset": str((window + 1) * 60),
        }

    def get(self, agent_id: str) -> Agent:
        return self._agents[int(agent_id.removeprefix("agent_"))]

    def list(self, status: str | None, offset: int, limit: int) -> AgentPage:
        agents = [agent for agent in self._agents if status in (None, agent.status)]
        paging = {"total": len(agents), "offset": offset, "has_more": offset + limit < len(agents)}
        return AgentPage(agents=agents[offset : offset + limit], pagination=paging)


class VirtualClient:
    """Send requests as the asynchronous client does, with a limiter on virtual time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._now = asyncio.get_running_loop().time
        self._chance = Random(1)
        self.limiter = RateLimiter(clock=self._now)
        self.agents = types.SimpleNamespace(get=self._get, list=self._list)

    def with_options(self, **_: Any) -> VirtualClient:
        return self

    async def _get(self, _project_id: str, agent_id: str) -> Agent:
        await self._request(Bucket.GET)
        return self._service.get(agent_id)

    async def _list(
        self, _project_id: str, *, status: str | None, offset: int, limit: int, sort: str
    ) -> AgentPage:
        await self._request(Bucket.LIST)
        return self._service.list(status, offset, limit)

    async def _request(self, bucket: Bucket) -> None:
        with self.limiter.permit(bucket, background=True) as permit:
            while (wait := permit.try_acquire()) > 0:  # noqa: ASYNC110 - the limiter says for how long
                await asyncio.sleep(recheck_delay(wait))
            await asyncio.sleep(self._chance.uniform(0.02, 0.15))
            is_good, headers = self._service.count(bucket, self._now())
            await asyncio.sleep(self._chance.uniform(0.02, 0.15))
            permit.on_response(headers, back_off=None if is_good else 60.0)
            if not is_good:
                raise ConnixRateLimitError(429, "rate_limit_exceeded", "too many")


@dataclasses.dataclass
class Delays:
    """Hold the seconds from each change to the end of its wait, and what the service counted."""

    seconds: list[float]
    service: Service

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.seconds, n=20)[-1]


def run(service: Service, numbers: Iterable[int], **arguments: float) -> Delays:
    """Wait for the agents with these numbers."""
    agent_ids = [f"agent_{number}" for number in numbers]
    return virtual_loop.run(wait_for_all(service, agent_ids, **arguments))


async def wait_for_all(
    service: Service,
    agent_ids: list[str],
    *,
    begin_within: float,
    change_within: float,
    interval: float = 5.0,
) -> Delays:
    """Wait for agents that begin to run from the fifth second on, one after the other in any order."""
    loop = asyncio.get_running_loop()
    source = types.SimpleNamespace(client=VirtualClient(service), version=1)
    watcher = Watcher(source, "p", clock=loop.time)
    chance, delays = Random(1), []

    async def wait(agent_id: str, changes_at: float) -> None:
        await asyncio.sleep(min(chance.uniform(0, begin_within), changes_at - 1.0))
        loop.call_at(changes_at, service.change, agent_id)
        subscription = watcher.subscribe(agent_id, interval, DEADLINE)
        due = loop.time()
        while True:
            seen = await subscription.poll(due)
            if isinstance(seen, Agent) and seen.status == "running":
                break
            due = loop.time() + interval
        delays.append(loop.time() - changes_at)
        watcher.unsubscribe(subscription)

    moments = [5.0 + change_within * n / len(agent_ids) for n in range(len(agent_ids))]
    chance.shuffle(moments)
    await asyncio.gather(*map(wait, agent_ids, moments))
    await watcher.ended()
    return Delays(delays, service)


@pytest.mark.heavy
@pytest.mark.parametrize(("begin_within", "begins_at"), [(0, 0), (2, 40), (30, 20)])
def test_changes_reach_waits_within_six_seconds(begin_within, begins_at):
    service, sweep = Service(1000, begins_at), 6.0
    heard = run(service, range(1000), begin_within=begin_within, change_within=180)
    assert service.refused == 0
    assert heard.p95 <= 1.1 * sweep
    assert max(heard.seconds) <= 2 * sweep


@pytest.mark.heavy
def test_large_projects_are_read_within_six_seconds():
    scattered, sweep = range(25, 50_000, 50), 6.0
    service = Service(50_000, begins_at=10, creating=scattered)
    heard = run(service, scattered, begin_within=2, change_within=400)
    assert service.refused == 0
    assert heard.p95 <= 1.3 * sweep
    assert max(heard.seconds) <= 2 * sweep
