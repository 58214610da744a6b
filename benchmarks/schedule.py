"""Measure rows, at the same time where they leave each other room."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.process import Begin
from benchmarks.rows import Company, Row

__all__ = ["Fields", "measure"]

#: What was measured in a row, by who was, as fields that can be saved.
Fields = dict[str, Any]

_Task = tuple[Row, str]


class _Start:
    """Let measurements begin together: what one prepares is not to slow another that has begun."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)

    def wait(self) -> None:
        # When another has failed before it could begin, the rest begins without it.
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait()

    def leave(self) -> None:
        self._barrier.abort()


def measure(rows: Sequence[Row]) -> Iterator[tuple[Row, Fields | Exception]]:
    """
    Measure rows.

    :param rows: the rows
    :return: each as soon as it is done, with what was measured or why it was not
    """
    for batch in _batches(rows):
        yield from _measure(batch)


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Sequence[_Task]]]:
    """Divide the rows into batches, one after another; in each, those of a group are measured together."""
    many = [(row, who) for row in rows if row.company is Company.MANY for who in row.runs()]
    if many:
        yield [many]
    for row in rows:
        tasks = [(row, who) for who in row.runs()]
        if row.company is Company.PAIR:
            yield [tasks]
        elif row.company is Company.NONE:
            yield [[task] for task in tasks]


def _measure(groups: Sequence[Sequence[_Task]]) -> Iterator[tuple[Row, Fields | Exception]]:
    left = {row.name: set(row.runs()) for group in groups for row, _ in group}
    found: dict[str, Fields] = {name: {} for name in left}
    failed: dict[str, Exception] = {}
    for group in groups:
        start = _Start(len(group))
        with concurrent.futures.ThreadPoolExecutor(len(group)) as pool, _ended_with_this():
            running = {pool.submit(_run, row, who, start): (row, who) for row, who in group}
            for done in concurrent.futures.as_completed(running):
                row, who = running[done]
                left[row.name].discard(who)
                try:
                    found[row.name][who] = done.result()
                except Exception as problem:  # whatever it was: the other rows have nothing to do with it
                    failed[row.name] = problem
                if not left[row.name]:
                    # In the order in which they are shown, whoever was done first.
                    fields = {who: found[row.name].get(who) for who in row.runs()}
                    yield row, failed.get(row.name, fields)


def _run(row: Row, who: str, start: _Start) -> Fields:
    begin: Begin = start.wait
    try:
        return _fields(row.runs()[who](begin))
    except BaseException:
        start.leave()
        raise


def _fields(result: Any) -> Fields:
    if isinstance(result, Mapping):
        return {name: _fields(value) for name, value in result.items()}
    return dataclasses.asdict(result)


@contextlib.contextmanager
def _ended_with_this() -> Iterator[None]:
    """End all processes when this one is to end: the threads that wait for them would keep it for minutes."""
    try:
        yield
    except BaseException:
        # A thread that was just about to start the next process notices only at the one after.
        for _ in range(20):
            for child in multiprocessing.active_children():
                child.terminate()
            time.sleep(0.1)
        raise
