"""Write the table of docs/reliability.md from a tally; ``scripts/reliability`` runs this after the tests."""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

# Python finds only the modules beside the file that it runs.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "_pages"))

from marked_page import put

COUNTS = ("tried", "creates_lost", "creates_doubled", "unsafe_repeats", "secrets_found")
HEADER = (
    "what was tried",
    "times",
    "outcomes",
    "creates lost",
    "creates doubled",
    "unsafe repeats",
    "secrets found",
)
VERDICTS = {
    "right": "Every outcome was the right one.",
    "wrong": "**Not every outcome was the right one: tests failed.**",
}


class Row:
    """Add up the lines of one kind."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.outcomes: collections.Counter[str] = collections.Counter()

    def add(self, line: dict[str, Any]) -> None:
        """Add a line of the tally, as ``tests/support/tally.py`` writes it."""
        self.counts.update({name: line[name] for name in COUNTS})
        self.outcomes[line["outcome"]] += line["tried"]

    def cells(self, kind: str) -> str:
        """Return the row as a line of Markdown that begins with this kind."""
        outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in self.outcomes.most_common())
        tried, *found = (f"{self.counts[name]:,}" for name in COUNTS)
        return f"| {' | '.join((kind, tried, outcomes, *found))} |"


def read(tally: Iterable[str]) -> Iterator[dict[str, Any]]:
    """
    Parse the lines of a tally.

    :raises ValueError: for a line that is not one of a tally
    """
    for number, text in enumerate(tally, 1):
        try:
            line = json.loads(text)
            types = [type(line[name]) for name in ("kind", "outcome", *COUNTS)]
        except (KeyError, TypeError, ValueError) as problem:
            raise ValueError(f"line {number} is not one of a tally ({problem!r}): {text.strip()}") from None
        if types != [str, str] + [int] * len(COUNTS):
            raise ValueError(f"line {number} is not one of a tally (a field's type): {text.strip()}")
        yield line


def table(lines: Iterable[dict[str, Any]], verdict: str) -> str:
    """
    Return a table as Markdown, with a row for each kind and one of sums.

    :param lines: the parsed lines of a tally
    :param verdict: a key of ``VERDICTS``
    :raises ValueError: for an empty tally
    """
    rows: dict[str, Row] = collections.defaultdict(Row)
    total = Row()
    for line in lines:
        rows[line["kind"]].add(line)
        total.add(line)
    if not rows:
        raise ValueError("the tally is empty: no test has reported anything")
    return "\n".join(
        (
            VERDICTS[verdict],
            "",
            f"| {' | '.join(HEADER)} |",
            f"| --- |{' ---: | --- |' + ' ---: |' * 4}",
            *(rows[kind].cells(kind) for kind in sorted(rows)),
            total.cells("**all**"),
        )
    )


def main() -> int:
    """
    Run from the command line.

    :return: the exit code
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tally", type=pathlib.Path)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("verdict", choices=sorted(VERDICTS))
    options = parser.parse_args()
    try:
        new = table(read(options.tally.read_text("utf-8").splitlines()), options.verdict)
        options.page.write_text(put(options.page.read_text("utf-8"), new, "scripts/reliability"), "utf-8")
    except (OSError, ValueError) as problem:
        print(f"scripts/reliability: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
