"""An agent's log, computed from its life.

Nothing is stored: while an agent runs it works at a steady pace, and the kind of its n-th piece of work is
looked up in a repeating pattern. So the lines of any level within any time are counted without making one,
and a page costs no more at line 100,000 than at the first.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

from connix_provider.emulator.agent import Agent
from connix_provider.emulator.clock import iso
from connix_provider.emulator.transitions import ERROR, RUNNING

LEVELS: Final = ("debug", "info", "warn", "error")

_BEAT, _DONE, _SLOW, _FAILED = range(4)
_LEVEL_OF: Final = dict(zip((_BEAT, _DONE, _SLOW, _FAILED), LEVELS, strict=True))
_KIND_OF: Final = {level: kind for kind, level in _LEVEL_OF.items()}
_RARE: Final = {13: _FAILED, 37: _FAILED, 7: _SLOW, 23: _SLOW, 44: _SLOW}
_PATTERN: Final = tuple(_RARE.get(n, _BEAT if n % 10 == 5 else _DONE) for n in range(50))
_CYCLE: Final = len(_PATTERN)
_PLACES: Final = {kind: [n for n in range(_CYCLE) if _PATTERN[n] == kind] for kind in _LEVEL_OF}

Line = dict[str, Any]


def fraction(*of: object) -> float:
    """
    Return a number in [0, 1) that is always the same for the same values.

    :param of: what it depends on.
    """
    return crc32(repr(of).encode()) / 2**32


def _before(kind: int, n: int) -> int:
    """Count a kind among the first n places of the repeating pattern."""
    whole, rest = divmod(n, _CYCLE)
    places = _PLACES[kind]
    return whole * len(places) + sum(place < rest for place in places)


def _place(kind: int, rank: int) -> int:
    """Find the place at which a kind appears for the rank-th time, from 0."""
    places = _PLACES[kind]
    whole, rest = divmod(rank, len(places))
    return whole * _CYCLE + places[rest]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """
    A stretch of lines: ``at``, ``at + step`` and so on.

    ``event`` is the one line of a status change. ``level`` marks lines that were added in bulk. With neither,
    these are pieces of work, of which ``first`` is the number of the first.
    """

    at: int
    step: int
    lines: int
    first: int = 0
    event: tuple[str, str] | None = None
    level: str | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """A time in which the agent was running: work number ``first`` is done one pace after ``since``."""

    since: int
    first: int
    works: int


class Timeline:
    """
    Compute what an agent has done up to now.

    :param agent: its life so far.
    :param now: the time in microseconds.
    """

    def __init__(self, agent: Agent, now: int) -> None:
        self._agent = agent
        self._now = now
        seed = crc32(agent.id.encode())
        self.pace = (5 + seed % 7) * 1_000_000
        self._shift = seed % _CYCLE
        self._runs: list[_Run] = []
        ends = [at for at, _ in agent.history[1:]] + [now]
        first = 0
        for (since, status), end in zip(agent.history, ends, strict=True):
            if status == RUNNING:
                works = max(end - since, 0) // self.pace
                self._runs.append(_Run(since, first, works))
                first += works
        self.works = first

    # Numbers

    def works_before(self, at: int) -> int:
        """
        Count the pieces of work up to a time.

        :param at: the time in microseconds.
        """
        index = bisect_right(self._runs, at, key=lambda run: run.since) - 1
        if index < 0:
            return 0
        run = self._runs[index]
        return run.first + min((at - run.since) // self.pace, run.works)

    def completed(self, begin: int, end: int) -> int:
        """
        Count the tasks completed among pieces of work.

        :param begin: the number of the first piece.
        :param end: the number after the last.
        """
        return self._count(_DONE, begin, end) + self._count(_SLOW, begin, end)

    def failed(self, begin: int, end: int) -> int:
        """
        Count the tasks failed among pieces of work.

        :param begin: the number of the first piece.
        :param end: the number after the last.
        """
        return self._count(_FAILED, begin, end)

    def in_progress(self) -> int:
        """Count the tasks being worked on: one while the agent runs."""
        return int(self._agent.status == RUNNING)

    def response_time(self) -> float:
        """Return the agent's usual response time in seconds."""
        return round(1.5 + 1.5 * fraction(self._agent.id, "response"), 2)

    def stats(self) -> dict[str, Any]:
        """Return the statistics that Get shows."""
        completed, failed = self.completed(0, self.works), self.failed(0, self.works)
        total = completed + failed + self.in_progress()
        return {
            "total_tasks": total,
            "completed_tasks": completed,
            "failed_tasks": failed,
            "success_rate": round(completed / total, 3) if total else 0.0,
            "avg_response_time": self.response_time() if completed else 0.0,
        }

    def last_activity(self) -> int | None:
        """Return when the last task ended, in microseconds."""
        for run in reversed(self._runs):
            for n in range(run.works - 1, -1, -1):
                if self._kind(run.first + n) != _BEAT:
                    return run.since + (n + 1) * self.pace
        return None

    # Lines

    def page(
        self, level: str | None, start: int | None, end: int | None, offset: int, limit: int
    ) -> tuple[list[Line], int]:
        """
        Return one page of lines, newest first, and how many there are in all.

        :param level: only lines of just this level.
        :param start: none before this time, in microseconds.
        :param end: none after this time.
        :param offset: how many to pass over.
        :param limit: how many to return at most.
        """
        lines: list[Line] = []
        total = 0
        for stretch in reversed(list(self._stretches())):
            low, high = self._within(stretch, start, end)
            before, matching = self._matching(stretch, level, low, high)
            newest = matching - 1 - max(offset - total, 0)
            total += matching
            oldest = max(newest - (limit - len(lines)), -1)
            lines += [
                self._line(stretch, self._nth(stretch, level, low, before + rank))
                for rank in range(newest, oldest, -1)
            ]
        return lines, total

    def _stretches(self) -> Iterator[_Stretch]:
        """Yield the whole log, oldest first."""
        extras = sorted(self._agent.extra_logs)
        runs = iter(self._runs)
        told = 0
        previous = None
        ends = [at for at, _ in self._agent.history[1:]] + [self._now]
        for (since, status), end in zip(self._agent.history, ends, strict=True):
            yield _Stretch(since, 0, 1, event=_event(previous, status))
            previous = status
            run = next(runs) if status == RUNNING else None
            done = 0
            while told < len(extras) and (extras[told][0] < end or end == self._now):
                at, lines, level = extras[told]
                told += 1
                if run is not None and (works := min((at - run.since) // self.pace, run.works)) > done:
                    yield self._work(run, done, works)
                    done = works
                yield _Stretch(at, 0, lines, level=level)
            if run is not None and run.works > done:
                yield self._work(run, done, run.works)

    def _work(self, run: _Run, begin: int, end: int) -> _Stretch:
        return _Stretch(run.since + (begin + 1) * self.pace, self.pace, end - begin, run.first + begin)

    def _within(self, stretch: _Stretch, start: int | None, end: int | None) -> tuple[int, int]:
        """Return the first line of a stretch that is within the times, and the one after the last."""
        if stretch.step == 0:
            outside = (start is not None and stretch.at < start) or (end is not None and stretch.at > end)
            return (0, 0) if outside else (0, stretch.lines)
        low = 0 if start is None else -(-(start - stretch.at) // stretch.step)
        high = stretch.lines if end is None else (end - stretch.at) // stretch.step + 1
        low = min(max(low, 0), stretch.lines)
        return low, min(max(high, low), stretch.lines)

    def _matching(self, stretch: _Stretch, level: str | None, low: int, high: int) -> tuple[int, int]:
        """Return a level's rank at the low end, and how many lines of it there are up to the high end."""
        if level is None:
            return 0, high - low
        if stretch.step == 0:
            own = stretch.event[0] if stretch.event else stretch.level
            return 0, high - low if own == level else 0
        kind = _KIND_OF[level]
        begin = self._shift + stretch.first
        before = _before(kind, begin + low)
        return before, _before(kind, begin + high) - before

    def _nth(self, stretch: _Stretch, level: str | None, low: int, rank: int) -> int:
        if level is None or stretch.step == 0:
            return low + rank
        return _place(_KIND_OF[level], rank) - self._shift - stretch.first

    def _line(self, stretch: _Stretch, n: int) -> Line:
        line: Line = {"timestamp": iso(stretch.at + n * stretch.step)}
        if stretch.event is not None:
            level, message = stretch.event
            return line | {"level": level, "message": message, "context": {}}
        if stretch.level is not None:
            number = {"line": n + 1, "of": stretch.lines}
            return line | {"level": stretch.level, "message": f"Line {n + 1}", "context": number}
        work = stretch.first + n
        kind = self._kind(work)
        message, context = self._told(kind, work)
        return line | {"level": _LEVEL_OF[kind], "message": message, "context": context}

    def _told(self, kind: int, work: int) -> tuple[str, dict[str, Any]]:
        chance = fraction(self._agent.id, work)
        if kind == _BEAT:
            return "Waiting for tasks", {"queue_length": int(chance * 5)}
        if kind == _FAILED:
            endpoint = "https://api.example.com/data"
            context = {"error": "Connection timeout", "endpoint": endpoint, "retry_count": 3}
            return "Failed to connect to external API", context
        factor = 4.0 if kind == _SLOW else 0.5 + chance
        context = {
            "task_id": f"task_{crc32(self._agent.id.encode()):08x}{work:08x}",
            "duration": round(self.response_time() * factor, 2),
            "tokens_used": 50 + int(chance * 400),
        }
        return "Task took long" if kind == _SLOW else "Task completed successfully", context

    def _kind(self, work: int) -> int:
        return _PATTERN[(work + self._shift) % _CYCLE]

    def _count(self, kind: int, begin: int, end: int) -> int:
        return _before(kind, self._shift + end) - _before(kind, self._shift + begin)


def _event(before: str | None, status: str) -> tuple[str, str]:
    if before is None:
        return "info", f"Agent created with status '{status}'"
    if status == ERROR:
        return "error", f"Agent encountered an error; its status was '{before}'"
    return "info", f"Agent status changed from '{before}' to '{status}'"
