"""
Look at many agents with few requests, for all the waits of one event loop on one project.

Each wait takes a seat and asks it for the next look. The watcher looks at what is due: singly, or by pages of
the listing where that costs less (:mod:`connix_provider.waiting.sweep`). Whatever a page shows is shown to
everybody who waits for it, early where something has changed. What a listing misses is asked for singly
before anybody is told anything.

The watcher never judges. It hands on what it saw, agent or error, and each wait judges for itself in its own
task, with its own log. The watcher's requests run in an empty logging context: started in a wait's own, their
lines would land in that task's log, also after it had ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from connix_provider.client.calls import get_agent, list_agents
from connix_provider.client.failures import rate_limit_wait_error
from connix_provider.waiting.plan import PAGE, singly_up_to
from connix_provider.waiting.rate_limit_waits import SHORT_WAIT
from connix_provider.waiting.seat import Delayed, Seat
from connix_provider.waiting.survey import Survey
from connix_provider.waiting.sweep import Sweep
from connix_provider.waiting.wait import RESPONSE_GRACE

if TYPE_CHECKING:
    from connix_provider.client import Agent, AgentPage, AsyncClient, ConnixError
    from connix_provider.client.call import Call
    from connix_provider.waiting.line import Line

__all__ = ["Watcher"]

#: Seconds that one look may take at most: a whole window of the limiter, and half a minute for the answer.
LONGEST_LOOK = 90.0
#: Seconds between a call and the turn that it is for.
_TURN = 0.05
#: Single Gets under way at a time: enough to use the limiter, few enough not to storm the service.
_AT_ONCE = 10


class Watcher:
    """
    Look at the agents of one project for everybody who has a seat.

    :param line: the connection to Connix that the waits share
    :param project_id: the project
    """

    def __init__(self, line: Line, project_id: str) -> None:
        self._line = line
        self._project_id = project_id
        self._seats: dict[str, list[Seat]] = {}
        self._intervals: Counter[float] = Counter()
        self._survey = Survey()
        self._asked: set[str] = set()
        self._sweeping = False
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._called = asyncio.Event()
        self._sleeps_until = 0.0
        #: Agents with a longer interval than the first are listed, which takes the second, in seconds.
        self._up_to, self._sweep_seconds = math.inf, 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def join(self, agent_id: str, interval: float, deadline: float) -> Seat:
        """
        Take a seat.

        :param agent_id: the agent
        :param interval: seconds between two polls that the wait would like
        :param deadline: when the wait ends, in seconds of the monotonic clock
        :return: the seat
        """
        seat = Seat(self._call, agent_id, interval, deadline, lambda: self._lead(agent_id))
        before = self._interval(agent_id) if agent_id in self._seats else None
        self._seats.setdefault(agent_id, []).append(seat)
        self._recount(agent_id, before)
        if not self._tasks:
            self._start(self._run(), self._seats)
        return seat

    def leave(self, seat: Seat) -> None:
        """
        Give a seat up; with the last one the watcher ends, and is not to be joined again.

        :param seat: the seat
        """
        before = self._interval(seat.agent_id)
        seats = self._seats[seat.agent_id]
        seats.remove(seat)
        if not seats:
            del self._seats[seat.agent_id]
            self._survey.forget(seat.agent_id)
        self._recount(seat.agent_id, before)
        if not self._seats:
            for task in self._tasks:
                task.cancel()

    async def ended(self) -> None:
        """Wait until nothing of the watcher runs any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def is_watching(self) -> bool:
        """Whether anybody has a seat."""
        return bool(self._seats)

    def _call(self, moment: float) -> None:
        """Make sure that the watcher is awake at a given moment."""
        if moment < self._sleeps_until:
            self._called.set()

    async def _run(self) -> None:
        # Who begins to wait at the same moment shares the first look.
        await asyncio.sleep(_TURN)
        while True:
            now = time.monotonic()
            waiting = [seat for seats in self._seats.values() for seat in seats if seat.is_waiting]
            for seat in waiting:
                if self._gives_up_at(seat) <= now:
                    seat.show(None, now)
            due = {seat.agent_id for seat in waiting if seat.due <= now < seat.deadline}
            if due:
                self._ask(due, {seat.agent_id for seat in waiting if seat.is_nearly_due(now)})
            ends = (self._gives_up_at(seat) for seat in waiting)
            moments = (moment for moment in (*(seat.due for seat in waiting), *ends) if moment > now)
            await self._sleep(min(moments, default=now + LONGEST_LOOK) - now)

    def _gives_up_at(self, seat: Seat) -> float:
        """Return when a wait ends: a request that was sent in time may be answered a little later."""
        is_under_way = self._sweeping or seat.agent_id in self._asked
        return seat.deadline + (RESPONSE_GRACE if is_under_way else 0.0)

    def _lead(self, agent_id: str) -> float:
        """Return how many seconds before a deadline the last poll of an agent should begin."""
        is_listed = agent_id in self._seats and self._interval(agent_id) > self._up_to
        return self._sweep_seconds if is_listed else 0.0

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless somebody calls."""
        self._sleeps_until = time.monotonic() + seconds
        timer = asyncio.ensure_future(asyncio.sleep(seconds))
        call = asyncio.ensure_future(self._called.wait())
        try:
            await asyncio.wait({timer, call}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            call.cancel()
        if self._called.is_set():
            # Many call at the same moment: a turn for each would go through all seats each time.
            await asyncio.sleep(_TURN)
        self._called.clear()

    def _ask(self, due: set[str], nearly: set[str]) -> None:
        """Begin to look at what is due; a sweep takes along what nearly is."""
        up_to = self._up_to = self._singly_up_to()
        listed = {agent_id for agent_id in nearly - self._asked if self._interval(agent_id) > up_to}
        for agent_id in due - listed - self._asked:
            self._ask_singly(agent_id)
        if listed & due and not self._sweeping:
            self._sweeping = True
            self._start(self._sweep(listed), self._seats)

    def _singly_up_to(self) -> float:
        if not self._survey.can_list:
            return math.inf
        rates = self._line.rates()
        route = self._survey.route(self._seats, rates, time.monotonic(), besides=["singly"])
        self._sweep_seconds = route.seconds
        return singly_up_to(self._intervals, pages=route.pages, rates=rates)

    def _ask_singly(self, agent_id: str) -> None:
        self._asked.add(agent_id)
        self._start(self._get(agent_id), [agent_id])

    async def _get(self, agent_id: str) -> None:
        """Look at one agent."""
        from connix_provider.client import ConnixError

        try:
            async with self._gate:
                version, client = self._line.version, self._client([agent_id])
                self._log_delay(get_agent(self._project_id, agent_id))
                seen: Agent | ConnixError
                try:
                    seen = agent = await client.agents.get(self._project_id, agent_id)
                except ConnixError as error:
                    seen = error
                else:
                    if agent_id in self._seats:
                        self._survey.saw(agent_id, agent.status, created=agent.created_at)
            self._show([agent_id], seen, version)
        finally:
            self._asked.discard(agent_id)
            self._called.set()

    async def _sweep(self, wanted: set[str]) -> None:
        """Look for agents in the listing, and ask singly for whom it misses."""
        from connix_provider.client import ConnixAuthenticationError, ConnixError

        version = self._line.version
        sweep = Sweep(
            self._survey,
            self._project_id,
            read=self._page,
            rates=self._line.rates,
            miss=self._miss,
            waited=self._seats,
            asked=self._asked,
        )
        try:
            await sweep.look_for(wanted)
        except ConnixError as error:
            # Who is asked for singly will hear; unless the key is no good.
            others = set() if isinstance(error, ConnixAuthenticationError) else self._asked
            self._show(self._seats.keys() - others, error, version)
        finally:
            self._sweeping = False
            self._called.set()

    def _miss(self, agent_ids: set[str]) -> None:
        """Ask singly for whom the listing does not show: only a Get can tell what became of them."""
        for agent_id in agent_ids - self._asked:
            self._survey.forget(agent_id)
            self._ask_singly(agent_id)

    async def _page(self, status: str | None, offset: int) -> AgentPage:
        """Look at one page, and show it to everybody who waits for its agents."""
        version, client = self._line.version, self._client(self._seats)
        self._log_delay(list_agents(self._project_id))
        page = await client.agents.list(
            self._project_id, status=status, limit=PAGE, offset=offset, sort="created_at"
        )
        self._survey.counted(status, page.pagination.total, time.monotonic())
        for place, agent in enumerate(page, offset):
            if agent.id in self._seats:
                self._survey.saw(agent.id, agent.status, place if status is None else None, agent.created_at)
                self._show([agent.id], agent, version)
        return page

    def _client(self, agent_ids: Iterable[str]) -> AsyncClient:
        """Bound a request by the time that those have who wait for it."""
        deadlines = (seat.deadline for agent_id in agent_ids for seat in self._seats.get(agent_id, ()))
        left = max(deadlines, default=0.0) - time.monotonic()
        # One attempt: the waits are what repeats, at their own pace.
        return self._line.client.with_options(
            max_attempts=1,
            total_timeout=LONGEST_LOOK,
            deadline=time.time() + left,
            background=True,
            response_grace=RESPONSE_GRACE,
        )

    def _log_delay(self, call: Call[Any]) -> None:
        """Tell each wait whose poll is due that a rate limit delays it, if it does so noticeably."""
        seconds = self._line.client.limiter.expected_wait(call.bucket, background=True)
        if seconds <= SHORT_WAIT:
            return
        error = rate_limit_wait_error(call, seconds, time.time())
        error.bucket = call.bucket
        now = time.monotonic()
        for seats in self._seats.values():
            for seat in seats:
                seat.delay(Delayed(error), now)

    def _show(self, agent_ids: Iterable[str], seen: Agent | ConnixError, version: int) -> None:
        from connix_provider.client import ConnixAuthenticationError

        if isinstance(seen, ConnixAuthenticationError) and version != self._line.version:
            # The key was changed while the request was under way: it is asked again with the new one.
            return
        now = time.monotonic()
        for agent_id in agent_ids:
            for seat in self._seats.get(agent_id, ()):
                seat.show(seen, now, version)

    def _start(self, work: Coroutine[Any, Any, None], agent_ids: Iterable[str]) -> None:
        """Start work for some seats in an empty context; should it die, those waits must not hang."""
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)

        def done(_: object) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()):
                for agent_id in agent_ids:
                    for seat in self._seats.get(agent_id, ()):
                        seat.fail(error)

        task.add_done_callback(done)

    def _interval(self, agent_id: str) -> float:
        return min(seat.interval for seat in self._seats[agent_id])

    def _recount(self, agent_id: str, before: float | None) -> None:
        """Keep count of how many agents are to be looked at how often."""
        if before is not None:
            self._intervals[before] -= 1
            if not self._intervals[before]:
                del self._intervals[before]
        if agent_id in self._seats:
            self._intervals[self._interval(agent_id)] += 1
