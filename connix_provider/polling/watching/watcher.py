"""
Poll the agents of one project for all waits of one event loop.

Each wait subscribes and asks its subscription for the next poll. For each permit of the rate limiter the
watcher sends the read that :mod:`connix_provider.polling.watching.read_scheduler` chooses, and publishes the
response to all subscriptions of the agents that it shows.

Invariants:

- The watcher publishes each agent or error unjudged; each wait judges it in its own task.
- An error reaches only subscriptions that the failed read was for.
- Requests run in an empty logging context. Started in a wait's own, their lines would land in that task's
  log, also after it had ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from connix_provider.client.attempts.gateway_refusals import GatewayRefusals, is_from_gateway
from connix_provider.client.attempts.limit_log import SHORT_WAIT
from connix_provider.client.endpoints import get_agent, list_agents
from connix_provider.client.errors import ConnixAuthenticationError, ConnixError
from connix_provider.client.ratelimit import DOCUMENTED, Bucket
from connix_provider.client.responses.failures import rate_limit_wait_error
from connix_provider.client.transient import is_transient
from connix_provider.polling.deadlines import RESPONSE_GRACE
from connix_provider.polling.watching.listing_scan import PAGE
from connix_provider.polling.watching.read_scheduler import Read, ReadScheduler
from connix_provider.polling.watching.subscription import PollDelayed, Subscription

if TYPE_CHECKING:
    from connix_provider.client import Agent, AsyncClient
    from connix_provider.client.calls.call import Call

__all__ = ["Watcher"]

log = logging.getLogger(__name__)

#: Seconds that one read may take at most: a window of the rate limit, and half a minute for the response.
_LONGEST_READ = 90.0
#: Seconds for which requests to wake up are collected, because hundreds of waits begin at the same moment.
_WAKE_DELAY = 0.05
#: Seconds after which a read that a limit delays is chosen anew, because another may be more overdue by then.
_RECHECK = 1.0
#: Failed pages in a row after which agents are read by id for a while; one if no page was read yet.
_FAILED_PAGES = 3
#: Seconds for which pages are not read after they failed, and after the service refused them.
_AVOID_FAILED, _AVOID_REFUSED = 15.0, 300.0
#: Reads in flight at a time: enough to use the limits, few enough not to overload the service.
_MAX_IN_FLIGHT = {Bucket.GET: 10, Bucket.LIST: 3}


class ClientSource(Protocol):
    """Give the client of the present key, and the key's version."""

    version: int

    @property
    def client(self) -> AsyncClient:
        """The client."""


class Watcher:
    """
    Poll the agents of one project for all subscriptions.

    :param source: gives the client that the waits share
    :param clock: seconds of a clock that is never set
    """

    def __init__(
        self, source: ClientSource, project_id: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._project_id = project_id
        self._clock = clock
        self._scheduler = ReadScheduler()
        self._refused_pages = GatewayRefusals()
        #: Failed pages in a row; before the first page that is read, one more is enough.
        self._failed_pages = _FAILED_PAGES - 1
        self._in_flight: Counter[Bucket] = Counter()
        self._next_page_at = 0.0
        self._warned: set[str] = set()
        self._woken = asyncio.Event()
        self._sleeps_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def subscribe(self, agent_id: str, interval: float, deadline: float) -> Subscription:
        """
        Begin to poll an agent.

        :param interval: seconds between two polls
        :param deadline: when the wait ends, in seconds of the clock
        """
        subscription = Subscription(
            agent_id,
            interval,
            deadline,
            clock=self._clock,
            wake=self._wake,
            lead=lambda: self._scheduler.get_after,
        )
        self._scheduler.join(subscription)
        if not self._tasks:
            self._start(self._run(), None)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; with the last one the watcher ends, and takes no other."""
        self._scheduler.leave(subscription)
        if not self.is_watching:
            for task in self._tasks:
                task.cancel()

    async def ended(self) -> None:
        """Wait until nothing of the watcher runs any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def is_watching(self) -> bool:
        """Whether there is a subscription."""
        return len(self._scheduler) > 0

    def _wake(self, moment: float) -> None:
        """Make sure that the watcher is awake at a moment."""
        if moment < self._sleeps_until:
            self._woken.set()

    async def _run(self) -> None:
        await asyncio.sleep(_WAKE_DELAY)
        while True:
            permit_in = await self._send_reads()
            await self._sleep(min(permit_in, self._end_waits()))

    def _end_waits(self) -> float:
        """End the waits whose deadline has come; return the seconds until another is due or ends."""
        now, soonest = self._clock(), _LONGEST_READ
        for subscription in self._scheduler.subscriptions():
            if not subscription.is_waiting:
                continue
            # The response to a request that was sent in time may come after the deadline.
            grace = RESPONSE_GRACE if self._scheduler.is_in_flight(subscription.agent_id) else 0.0
            ends_in = subscription.deadline + grace - now
            if ends_in <= 0:
                subscription.publish(None, now)
                continue
            due_in = subscription.due - now
            soonest = min(soonest, ends_in, due_in if due_in > 0 else ends_in)
        return soonest

    async def _send_reads(self) -> float:
        """Send reads while permits are available; return the seconds until the next one may be."""
        while True:
            now = self._clock()
            waits = {bucket: self._permit_in(bucket, now) for bucket in _MAX_IN_FLIGHT}
            reads: dict[Bucket, Read] = {}
            if any(wait == 0 or SHORT_WAIT < wait < math.inf for wait in waits.values()):
                reads = self._scheduler.next_reads(now, self._rate(Bucket.GET))
            started: dict[Bucket, asyncio.Task[None]] = {}
            for bucket, read in reads.items():
                if waits[bucket] == 0:
                    started[bucket] = self._start(self._perform(read, bucket), read)
                else:
                    self._report_delay(read, bucket, waits[bucket])
            if started:
                # One turn of the loop, in which the reads take their permits.
                await asyncio.wait(started.values(), timeout=0)
            if Bucket.GET not in started:
                # Pages keep a pace, so only Gets may follow each other at once.
                longest = _RECHECK if self._in_flight.total() else _LONGEST_READ
                return min((min(wait, _RECHECK) for wait in waits.values() if wait > 0), default=longest)

    def _permit_in(self, bucket: Bucket, now: float) -> float:
        """Return the seconds until a read may be sent; infinite while as many as allowed are in flight."""
        if self._in_flight[bucket] >= _MAX_IN_FLIGHT[bucket]:
            return math.inf
        wait = self._source.client.limiter.expected_wait(bucket, background=True)
        return max(wait, self._next_page_at - now) if bucket is Bucket.LIST else wait

    def _rate(self, bucket: Bucket) -> float:
        """Return how many requests a second may be planned for; a page a minute is always planned."""
        rate = self._source.client.limiter.rate(bucket)
        # Without a known limit, unbounded reads could overload the service.
        return max(rate, 1 / 60) if math.isfinite(rate) else DOCUMENTED[bucket] / 60

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless a subscription or a response wakes the watcher."""
        self._sleeps_until = self._clock() + seconds
        timer = asyncio.ensure_future(asyncio.sleep(seconds))
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()
        if self._woken.is_set():
            await asyncio.sleep(_WAKE_DELAY)
        self._woken.clear()

    async def _perform(self, read: Read, bucket: Bucket) -> None:
        """Send one read, and publish the response."""
        self._in_flight[bucket] += 1
        if bucket is Bucket.LIST:
            # At an even pace, because a burst at the beginning of a window slows the rest of it down.
            self._next_page_at = self._clock() + 1.0 / self._rate(bucket)
        version, client = self._source.version, self._client(read)
        try:
            with self._scheduler.in_flight(read):
                if read.page is None:
                    await self._get(read, client, version)
                else:
                    await self._list(read, client, version)
        except ConnixError as error:
            self._failed(read, error, version)
        finally:
            self._in_flight[bucket] -= 1
            self._woken.set()

    async def _get(self, read: Read, client: AsyncClient, version: int) -> None:
        (agent_id,) = read.agent_ids
        agent = await client.agents.get(self._project_id, agent_id)
        self._scheduler.on_agent(agent_id, agent.status)
        self._publish([agent_id], agent, version)

    async def _list(self, read: Read, client: AsyncClient, version: int) -> None:
        page = await client.agents.list(
            self._project_id, status=read.status, limit=PAGE, offset=read.offset, sort="created_at"
        )
        self._scheduler.on_page(read, page)
        self._refused_pages.reset()
        self._failed_pages = 0
        for agent in page:
            self._publish([agent.id], agent, version)

    def _failed(self, read: Read, error: ConnixError, version: int) -> None:
        if read.page is None:
            self._publish(read.agent_ids, error, version)
        elif isinstance(error, ConnixAuthenticationError) or self._is_page_repeated(error):
            self._publish(self._scheduler.may_be_on(read), error, version)
        else:
            is_final = not (is_transient(error) or is_from_gateway(error))
            self._scheduler.avoid(read, self._clock(), _AVOID_REFUSED if is_final else _AVOID_FAILED)
            how = "by status" if read.status else "and its agents are read by id"
            if how not in self._warned:
                self._warned.add(how)
                log.warning("Project %s cannot be listed %s: %s", self._project_id, how, error)

    def _is_page_repeated(self, error: ConnixError) -> bool:
        """Count a failed page; return whether pages are read on, because the next one may succeed."""
        if is_from_gateway(error):
            # A gateway may refuse one page and pass the next.
            return not self._refused_pages.add(self._clock())
        if not is_transient(error):
            return False
        self._failed_pages += 1
        return self._failed_pages < _FAILED_PAGES

    def _client(self, read: Read) -> AsyncClient:
        """Bound a request by the time of the waits that it is for."""
        deadlines = (subscription.deadline for subscription in self._subscribed(read))
        # One attempt, because the waits repeat the poll at their intervals.
        return self._source.client.with_options(
            max_attempts=1,
            total_timeout=_LONGEST_READ,
            deadline=time.time() + max(deadlines, default=0.0) - self._clock(),
            background=True,
            response_grace=RESPONSE_GRACE,
        )

    def _report_delay(self, read: Read, bucket: Bucket, seconds: float) -> None:
        """Tell each wait whose poll is due that a rate limit delays it noticeably."""
        if not SHORT_WAIT < seconds < math.inf:
            return
        if read.page is None:
            (agent_id,) = read.agent_ids
            call: Call[Any] = get_agent(self._project_id, agent_id)
        else:
            call = list_agents(self._project_id)
        error = rate_limit_wait_error(call, seconds, time.time())
        now = self._clock()
        is_for_all = self._scheduler.is_by_id or bucket is Bucket.LIST
        for subscription in self._scheduler.subscriptions(None if is_for_all else read.agent_ids):
            subscription.delay(PollDelayed(error), now)

    def _publish(self, agent_ids: Iterable[str], polled: Agent | ConnixError, version: int) -> None:
        if isinstance(polled, ConnixAuthenticationError) and version != self._source.version:
            # The key was changed while the request was under way: it is sent again with the new one.
            return
        now = self._clock()
        for subscription in self._scheduler.subscriptions(agent_ids):
            subscription.publish(polled, now, version)

    def _subscribed(self, read: Read | None) -> list[Subscription]:
        return self._scheduler.subscriptions(read.agent_ids if read and read.page is None else None)

    def _start(self, work: Coroutine[Any, Any, None], read: Read | None) -> asyncio.Task[None]:
        """Start work in an empty context; should it die, the waits that it is for must not hang."""
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)

        def done(_: object) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()):
                for subscription in self._subscribed(read):
                    subscription.fail(error)

        task.add_done_callback(done)
        return task
