"""Make the table of docs/performance.md out of what was measured."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from marked_page import put

from benchmarks.picture import draw
from benchmarks.rows import Line, Row
from benchmarks.schedule import Fields

__all__ = ["PAGE", "Results", "describe", "machine", "table", "write"]

#: Where the benchmarks are; they are run through a link to them.
PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "performance.md"

_HEADER = (
    "what",
    "floor",
    "must reach",
    "ours",
    "HTTP provider's",
    "ours / floor",
    "ours / HTTP's",
    "refused: ours / HTTP's",
    "died: ours / HTTP's",
    "reached",
)
_MEASURED_WITH = ("apache-airflow", "apache-airflow-providers-http", "httpx")


@dataclasses.dataclass
class Results:
    """
    Keep what was measured.

    :param form: ``full`` or ``quick``
    :param machine: on what
    :param rows: what was measured, by the row's name and by who was
    """

    form: str
    machine: str
    rows: dict[str, Fields] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, files: Sequence[pathlib.Path]) -> Results:
        """
        Read what was saved; of a row that several files hold, the last one counts.

        :param files: the files
        :return: what they hold together
        :raises ValueError: when they do not go together
        """
        saved = [cls(**json.loads(file.read_text("utf-8"))) for file in files]
        for facts in ({one.form for one in saved}, {one.machine for one in saved}):
            if len(facts) > 1:
                raise ValueError(f"these files are of different runs: {' and '.join(sorted(facts))}")
        together = cls(saved[0].form, saved[0].machine)
        for one in saved:
            together.rows |= one.rows
        return together

    def save(self, file: pathlib.Path) -> None:
        """
        Save it.

        :param file: where; what it held is lost
        """
        file.write_text(json.dumps(dataclasses.asdict(self)), "utf-8")


def machine() -> str:
    """
    Tell on what is measured.

    :return: half a sentence
    """
    versions = ", ".join(f"{name} {version(name)}" for name in _MEASURED_WITH)
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def describe(line: Line) -> str:
    """
    Write a line of the table for whoever waits for it.

    :param line: the line
    :return: some lines of text
    """
    facts = dict(zip(_HEADER, _cells(line), strict=True))
    what = facts.pop("what")
    return "\n".join((what, *(f"    {name}: {fact}" for name, fact in facts.items() if fact != "-")))


def table(rows: Sequence[Row], results: Results) -> str:
    """
    Write the table as Markdown.

    :param rows: the rows, in their order
    :param results: what was measured of them, or of some
    :return: the table
    """
    lines = [row.line(row.read(results.rows[row.name])) for row in rows if row.name in results.rows]
    return "\n".join(
        (
            f"Measured on {results.machine}.",
            "",
            f"| {' | '.join(_HEADER)} |",
            f"|{' --- |' * len(_HEADER)}",
            *(f"| {' | '.join(_cells(line))} |" for line in lines),
        )
    )


def write(rows: Sequence[Row], results: Results) -> None:
    """
    Write table and picture into docs/performance.md, and beside it.

    :param rows: the rows, in their order
    :param results: what was measured of all of them
    :raises ValueError: when rows are missing, or measured in the quick form; for a page without a place
    """
    missing = [row.name for row in rows if row.name not in results.rows]
    if results.form != "full" or missing:
        raise ValueError(f"the page shows all rows of the full form; missing: {', '.join(missing) or 'all'}")
    picture = PAGE.with_suffix(".svg")
    new = f"{table(rows, results)}\n\n![Lag against the number of waits]({picture.name})"
    page = put(PAGE.read_text("utf-8"), new, "scripts/benchmark")
    draw(_measured(rows, results.rows), picture)
    PAGE.write_text(page, "utf-8")


def _measured(rows: Sequence[Row], found: Mapping[str, Fields]) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    return {row.name: (row, row.read(found[row.name])) for row in rows}


def _cells(line: Line) -> Sequence[str]:
    *cells, reached = dataclasses.astuple(line)
    return (*cells, "reached" if reached else "**missed**")
