"""Describe the rows that tell what the provider costs: a Get, an import, a long log, the event loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from benchmarks import heartbeat, hook, imports, logs
from benchmarks.heartbeat import LONG_STEP, Beats
from benchmarks.hook import Gets
from benchmarks.imports import Imported
from benchmarks.logs import Read
from benchmarks.rows import Company, Line, Measured, Run, ratio

__all__ = ["HeartbeatRow", "HookRow", "ImportsRow", "LogsRow"]


@dataclasses.dataclass(frozen=True)
class HookRow:
    """
    Compare what one Get costs.

    :param times: how many Gets, each way
    """

    times: int
    name: str = "hook"
    company: Company = Company.NONE

    def runs(self) -> Mapping[str, Run]:
        """Return what has to be measured."""
        return {"all": lambda _: hook.measure(self.times)}

    def read(self, measured: Mapping[str, Mapping[str, Any]]) -> Measured:
        """Make of saved fields what was measured."""
        return {who: Gets(**fields) for who, fields in measured.items()}

    def line(self, measured: Measured) -> Line:
        """Judge what was measured."""
        gets: Gets = measured["all"]
        return Line(
            what="one Get through the hook, keep-alive, loopback",
            floor=f"httpx.Client and json(): {1e6 * gets.raw:.0f} µs",
            must="at most 1.2 x the floor; at most 0.55 x HttpHook.run",
            ours=f"{1e6 * gets.connix:.0f} µs",
            theirs=f"{1e6 * gets.http:.0f} µs",
            to_floor=ratio(gets.connix, gets.raw),
            to_theirs=ratio(gets.connix, gets.http),
            refused="-",
            died="-",
            reached=gets.connix <= 1.2 * gets.raw and gets.connix <= 0.55 * gets.http,
        )


@dataclasses.dataclass(frozen=True)
class ImportsRow:
    """
    Compare what importing operators, sensors and triggers costs.

    :param times: how often each provider is imported
    """

    times: int
    name: str = "imports"
    company: Company = Company.NONE

    def runs(self) -> Mapping[str, Run]:
        """Return what has to be measured."""
        return {"all": lambda _: imports.measure(self.times)}

    def read(self, measured: Mapping[str, Mapping[str, Any]]) -> Measured:
        """Make of saved fields what was measured."""
        return {
            who: {provider: Imported(**fields) for provider, fields in found.items()}
            for who, found in measured.items()
        }

    def line(self, measured: Measured) -> Line:
        """Judge what was measured."""
        found: dict[str, Imported] = dict(measured["all"])
        ours, http = found.pop("connix"), found.pop("http")
        others = "; ".join(f"{provider}: {_imported(cost)}" for provider, cost in found.items())
        return Line(
            what="importing operators, sensors and triggers after `airflow.sdk`",
            floor="nothing",
            must="at most 30 modules and 30 ms",
            ours=_imported(ours),
            theirs=f"{_imported(http)} ({others})",
            to_floor="-",
            to_theirs=f"{ratio(ours.modules, http.modules)}, {ratio(ours.seconds, http.seconds)}",
            refused="-",
            died="-",
            reached=ours.modules <= 30 and ours.seconds <= 0.03,
        )


def _imported(cost: Imported) -> str:
    return f"{cost.modules:,} modules, {1000 * cost.seconds:,.0f} ms"


@dataclasses.dataclass(frozen=True)
class LogsRow:
    """
    Compare what reading a long log takes.

    :param lines: how many lines it has
    :param window: seconds of the rate limits' windows
    """

    lines: int
    window: float = 60.0
    name: str = "logs"
    company: Company = Company.NONE

    def runs(self) -> Mapping[str, Run]:
        """Return what has to be measured."""

        def run(who: str) -> Run:
            return lambda _: logs.measure(who, self.lines, window=self.window)

        return {who: run(who) for who in ("connix", "http")}

    def read(self, measured: Mapping[str, Mapping[str, Any]]) -> Measured:
        """Make of saved fields what was measured."""
        return {who: Read(**fields) for who, fields in measured.items()}

    def line(self, measured: Measured) -> Line:
        """Judge what was measured."""
        ours, theirs = measured["connix"], measured["http"]
        # What the service takes for it in production is not known, but its limits are.
        paced = self.lines / 1000 / 100 * self.window
        return Line(
            what=f"{self.lines:,} log lines read",
            floor=f"{self.lines // 1000} pages at 100 a minute: {paced:g} s",
            must="under 20 MiB more; client under 10 % of the service's time",
            ours=self._read(ours),
            theirs=self._read(theirs),
            to_floor=ratio(ours.client, paced),
            to_theirs=ratio(ours.client, theirs.client),
            refused=f"{ours.refused:,} / {theirs.refused:,}",
            died=f"{self.lines - ours.lines:,} / {self.lines - theirs.lines:,}",
            reached=ours.lines == self.lines and ours.megabytes < 20 and ours.client < 0.1 * paced,
        )

    def _read(self, read: Read) -> str:
        return (
            f"{read.client:.2f} s of processor time ({ratio(read.client, read.server)} x the emulator's), "
            f"{read.seconds:.1f} s in all; {read.megabytes:.1f} MiB more"
        )


@dataclasses.dataclass(frozen=True)
class HeartbeatRow:
    """
    Tell how long waits keep the event loop from other work.

    :param waits: how many waits
    :param first: seconds until the first agent changes
    """

    waits: int
    first: float
    name: str = "heartbeat"
    company: Company = Company.NONE

    def runs(self) -> Mapping[str, Run]:
        """Return what has to be measured."""
        return {"connix": lambda _: heartbeat.measure(self.waits, first=self.first)}

    def read(self, measured: Mapping[str, Mapping[str, Any]]) -> Measured:
        """Make of saved fields what was measured."""
        return {who: Beats(**fields) for who, fields in measured.items()}

    def line(self, measured: Measured) -> Line:
        """Judge what was measured."""
        beats: Beats = measured["connix"]
        return Line(
            what=f"{self.waits} waits in one event loop, every tenth answer a fault",
            floor="nothing",
            must=f"no step of the loop over {1000 * LONG_STEP:.0f} ms of processor time; 0 died",
            ours=f"longest of {beats.steps:,} steps {1000 * beats.longest:.0f} ms; heartbeat late "
            f"{1000 * beats.late:.1f} ms, at most {1000 * beats.latest:.0f} ms",
            theirs="-",
            to_floor="-",
            to_theirs="-",
            refused="-",
            died=f"{beats.died:,}",
            reached=not beats.long and not beats.died,
        )
