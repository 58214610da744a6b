"""
Describe a row of the table, and measure rows.

A row measures one provider at a time, in processes of its own. The measurements of a group begin together,
because they wait most of the time, and one after another would take hours. Without a group, a measurement has
the machine for itself.
"""

from __future__ import annotations

import abc
import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

__all__ = ["WINDOW", "Begin", "Line", "Row", "measure", "ratio"]

#: Called when everything is prepared; returns when the measurement may begin.
Begin = Callable[[], None]

#: Seconds of a rate limit's window in the reference.
WINDOW = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """
    A line of the table.

    :param aims: each aim, and whether the result reached it
    """

    what: str
    floor: str = "nothing"
    aims: Sequence[tuple[str, bool]]
    ours: str
    theirs: str = "-"
    to_floor: str = "-"
    to_theirs: str = "-"
    refused: str = "-"
    failed: str = "-"

    def cells(self) -> Mapping[str, str]:
        """Return the cells by the head of their column."""
        missed = [aim for aim, is_reached in self.aims if not is_reached]
        return {
            "what": self.what,
            "floor": self.floor,
            "aim": "; ".join(aim for aim, _ in self.aims),
            "ours": self.ours,
            "HTTP provider's": self.theirs,
            "ours / floor": self.to_floor,
            "ours / HTTP's": self.to_theirs,
            "refused: ours / HTTP's": self.refused,
            "failed: ours / HTTP's": self.failed,
            "reached": f"**missed**: {'; '.join(missed)}" if missed else "reached",
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row(abc.ABC):
    """
    A row of the table.

    :param name: on the command line
    :param what: the first cell
    :param providers: ``connix``, and ``http`` where the HTTP provider is measured too
    :param group: measurements with the same group share the machine; default: none
    :param repeats: whether ``--repeat`` measures this row's ``connix`` several times
    """

    name: str
    what: str
    providers: Sequence[str] = ("connix", "http")
    group: str = ""
    repeats: bool = False

    @abc.abstractmethod
    def quick(self) -> Self:
        """Return the row with small numbers, which takes seconds and shows only that it works."""

    @abc.abstractmethod
    def measure(self, provider: str, begin: Begin) -> Any:
        """
        Measure one provider.

        :param provider: one of :attr:`providers`
        :param begin: to be called between preparation and measurement
        :return: anything that :meth:`line` takes
        """

    @abc.abstractmethod
    def line(self, measured: Mapping[str, Sequence[Any]]) -> Line:
        """
        Judge the results.

        :param measured: for each provider, the result of each run
        """


def ratio(one: float, other: float) -> str:
    """Return ``one / other`` as text, or a dash where that is no number."""
    return f"{one / other:.2f}" if other else "-"


def measure(rows: Sequence[Row], repeat: int) -> Iterator[tuple[Row, str, Any]]:
    """
    Measure rows, one group after another.

    :param rows: the rows
    :param repeat: how often to measure the rows that are repeated
    :return: for each measurement its row, its provider and its result or exception
    """
    groups: dict[str, list[tuple[Row, str]]] = {}
    for row in rows:
        for provider in row.providers:
            groups.setdefault(row.group or f"{row.name} {provider}", []).append((row, provider))
    repeated = (
        [pair for pair in group if pair[0].repeats and pair[1] == "connix"] for group in groups.values()
    )
    for group in (*groups.values(), *[group for group in repeated if group] * (repeat - 1)):
        yield from _measure_together(group)


def _measure_together(group: Sequence[tuple[Row, str]]) -> Iterator[tuple[Row, str, Any]]:
    results: queue.Queue[tuple[Row, str, Any]] = queue.Queue()
    # The preparation of one measurement must not slow down another.
    barrier = threading.Barrier(len(group))

    def begin() -> None:
        # Broken where another measurement failed before it could begin.
        with suppress(threading.BrokenBarrierError):
            barrier.wait()

    def run(row: Row, provider: str) -> None:
        try:
            results.put((row, provider, row.measure(provider, begin)))
        except Exception as error:
            barrier.abort()
            results.put((row, provider, error))

    for row, provider in group:
        # Daemons, so that Ctrl-C does not wait for them; their processes end with this one.
        threading.Thread(target=run, args=(row, provider), daemon=True).start()
    for _ in group:
        yield results.get()
