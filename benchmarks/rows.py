"""Describe the rows of the table: who is measured, what the floor is, and what must be reached."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from benchmarks import restarts, waits
from benchmarks.process import Begin
from benchmarks.restarts import Restarted
from benchmarks.waits import Told, Waits

__all__ = ["Company", "Line", "Measured", "RestartsRow", "Row", "Run", "WaitsRow", "ratio"]

#: What was measured, by who was: ``connix``, ``http``, or ``all`` where one process measures all of them.
Measured = Mapping[str, Any]
#: Measures one of them, and returns a dataclass.
Run = Callable[[Begin], Any]

#: What the reference allows a key in each window: pages of the listing, agents on a page, Gets, and actions.
_PAGES, _PAGE, _GETS, _ACTIONS = 100, 100, 200, 50
#: Seconds of the service's window, with which all other times shrink in the quick form.
_WINDOW = 60.0


class Company(enum.Enum):
    """Say what may be measured at the same time: each needs its part of the processor."""

    MANY = "all that need little"
    PAIR = "the other provider"
    NONE = "nothing"


@dataclasses.dataclass(frozen=True)
class Line:
    """Hold the cells of one line of the table, as they are shown, and whether it reached what it must."""

    what: str
    floor: str
    must: str
    ours: str
    theirs: str
    to_floor: str
    to_theirs: str
    refused: str
    died: str
    reached: bool


class Row(Protocol):
    """Measure and judge one line of the table."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def company(self) -> Company:
        """What may be measured at the same time."""

    def runs(self) -> Mapping[str, Run]:
        """Return what has to be measured."""

    def read(self, measured: Mapping[str, Mapping[str, Any]]) -> Measured:
        """Make of saved fields what was measured."""

    def line(self, measured: Measured) -> Line:
        """Judge what was measured."""


def ratio(one: float, other: float) -> str:
    """
    Write how much one is of another.

    :param one: a number
    :param other: another
    :return: two digits after the point, or a dash where there is nothing to compare
    """
    return f"{one / other:.2f}" if other and math.isfinite(one) and math.isfinite(other) else "-"


@dataclasses.dataclass(frozen=True)
class WaitsRow:
    """
    Compare the lag from change to event of many waits.

    :param name: on the command line
    :param what: on the page
    :param case: what is measured
    :param window: seconds of the rate limits' windows
    :param http_interval: the interval of the HTTP provider's waits; ``None``: it is not measured
    :param sweeps: how many sweeps of all pages the floor is; none: Gets alone, each agent once an interval
    :param burst: whether the agents change faster than they can be looked at: the listing of those that are
        waited for only shows who left it, and a Get must tell what became of each
    :param at_most: how much of the floor the 95th percentile of the lags may be
    :param refused: the part of all requests that may be refused
    :param kibibytes: the memory that a wait may take
    """

    name: str
    what: str
    case: Waits
    window: float = _WINDOW
    http_interval: float | None = 30.0
    sweeps: int = 1
    burst: bool = False
    at_most: float = 1.3
    refused: float = 0.0
    kibibytes: float | None = None
    company: Company = Company.MANY

    @property
    def floor(self) -> float:
        """Seconds: what a change has to wait at most when the limits are used up and nothing is wasted."""
        if self.burst:
            # The later an agent changes, the more Gets are due before its own.
            return 0.95 * (self.case.waits / _GETS * self.window - self.case.spread)
        pages = math.ceil(self.case.waits / _PAGE)
        return max(self.sweeps * pages * self.window / _PAGES, self.case.interval)

    def runs(self) -> Mapping[str, Run]:
        """Return what has to be measured."""
        cases = {"connix": self.case}
        if self.http_interval is not None:
            interval = self.http_interval * self.window / _WINDOW
            cases["http"] = dataclasses.replace(self.case, interval=interval)

        def run(who: str) -> Run:
            return lambda begin: waits.measure(who, cases[who], window=self.window, begin=begin)

        return {who: run(who) for who in cases}

    def read(self, measured: Mapping[str, Mapping[str, Any]]) -> Measured:
        """Make of saved fields what was measured."""
        return {who: Told(**fields) for who, fields in measured.items()}

    def line(self, measured: Measured) -> Line:
        """Judge what was measured."""
        ours: Told = measured["connix"]
        theirs: Told | None = measured.get("http")
        reached = (
            self._lag(ours) <= self.at_most * self.floor
            and ours.refused <= self.refused * ours.requests
            and ours.died == 0
            and (bool(self.sweeps) or ours.listings == 0)
            and (self.kibibytes is None or ours.bytes_each <= 1024 * self.kibibytes)
        )
        both = [ours] if theirs is None else [ours, theirs]
        return Line(
            what=self.what,
            floor=self._floor(),
            must=self._must(),
            ours=self._told(ours),
            theirs="-" if theirs is None else self._told(theirs),
            to_floor=ratio(self._lag(ours), self.floor),
            to_theirs="-" if theirs is None else ratio(self._lag(ours), self._lag(theirs)),
            refused=" / ".join(f"{told.refused:,} of {told.requests:,}" for told in both),
            died=" / ".join(f"{told.died:,}" for told in both),
            reached=reached,
        )

    def _lag(self, told: Told) -> float:
        # Of a few, one in twenty may be none.
        return told.p95 if self.sweeps else max(told.lags, default=math.inf)

    def _told(self, told: Told) -> str:
        if not told.lags:
            return "nobody was told"
        lag = f"{'p95' if self.sweeps else 'most'} {self._lag(told):.1f} s"
        if not self.sweeps:
            return f"{lag}, {told.listings:,} pages of the listing"
        return f"{lag}, {told.bytes_each / 1024:.1f} KiB a wait"

    def _floor(self) -> str:
        if not self.sweeps:
            return f"{self.case.waits} Gets an interval of {self.case.interval:g} s"
        if self.burst:
            return f"{self.case.waits:,} Gets, {_GETS} a window: p95 {self.floor:.3g} s"
        each = "a sweep each" if self.sweeps == 1 else f"{self.sweeps} sweeps in"
        return f"{each} {self.floor:.3g} s"

    def _must(self) -> str:
        wanted = [f"p95 at most {self.at_most:g} x the floor ({self.at_most * self.floor:.3g} s)"]
        if not self.sweeps:
            wanted = ["no sweeps", f"lag at most {self.floor:g} s"]
        wanted += [f"refused at most {self.refused:.0%}" if self.refused else "0 refused", "0 died"]
        if self.kibibytes is not None:
            wanted.append(f"at most {self.kibibytes:g} KiB a wait")
        return "; ".join(wanted)


@dataclasses.dataclass(frozen=True)
class RestartsRow:
    """
    Compare how long many restarts on one key take.

    :param agents: how many
    :param window: seconds of the rate limits' windows
    """

    agents: int
    window: float = _WINDOW
    name: str = "restarts"
    company: Company = Company.MANY

    def runs(self) -> Mapping[str, Run]:
        """Return what has to be measured."""

        def run(who: str) -> Run:
            return lambda begin: restarts.measure(who, self.agents, window=self.window, begin=begin)

        return {who: run(who) for who in ("connix", "http")}

    def read(self, measured: Mapping[str, Mapping[str, Any]]) -> Measured:
        """Make of saved fields what was measured."""
        return {who: Restarted(**fields) for who, fields in measured.items()}

    def line(self, measured: Measured) -> Line:
        """Judge what was measured."""
        ours, theirs = measured["connix"], measured["http"]
        windows = self.agents / _ACTIONS
        floor = windows * self.window
        return Line(
            what=f"restart of {self.agents:,} agents, {_ACTIONS} actions a window",
            floor=f"{windows:g} windows ({floor:g} s)",
            must=f"at most 1.1 x the floor ({1.1 * floor:.4g} s); 0 refused",
            ours=f"{ours.seconds:.1f} s for {ours.executed:,}",
            theirs=f"{theirs.seconds:.1f} s for {theirs.executed:,}",
            to_floor=ratio(ours.seconds, floor),
            # Who gives up most of them is done sooner: each restart counts.
            to_theirs=ratio(ours.seconds * theirs.executed, theirs.seconds * ours.executed),
            refused=f"{ours.refused:,} / {theirs.refused:,}",
            died=f"{ours.agents - ours.executed:,} / {theirs.agents - theirs.executed:,}",
            reached=ours.seconds <= 1.1 * floor and not ours.refused and ours.executed == self.agents,
        )
