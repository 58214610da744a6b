"""Count the outcomes of histories, and write the tables of docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hostile.history import History
from hostile.verdicts import Verdict

__all__ = ["Tally"]

_OUTCOMES = ("green", "red", "ended by others", "broken")
_HEADER = ("histories", "green", "red", "ended by a user or a kill", "invariants broken")


class Tally:
    """
    Count histories.

    :ivar rows: outcomes by task and mode, and by each hostility of the history
    :ivar failed: seed and description of each breach, by task and invariant
    """

    def __init__(self) -> None:
        self.rows: Counter[tuple[str, str, str]] = Counter()
        self.failed: dict[tuple[str, str], list[tuple[int, str]]] = {}

    def count(self, verdict: Verdict) -> None:
        """Count one history."""
        history, outcome = verdict.played.history, verdict.played.last.outcome
        seen = ["broken"] if verdict.breaches else []
        seen += ["histories", outcome if outcome in {"green", "red"} else "ended by others"]
        for what in seen:
            self.rows[history.operator, history.mode, what] += 1
            for hostility in hostilities(history):
                self.rows["", hostility, what] += 1
        for breach in verdict.breaches:
            found = self.failed.setdefault((history.operator, breach.invariant), [])
            found.append((history.seed, breach.how))

    def add(self, other: Tally) -> None:
        """Add the counts of another process."""
        self.rows.update(other.rows)
        for kind, seeds in other.failed.items():
            self.failed.setdefault(kind, []).extend(seeds)

    @property
    def failures(self) -> int:
        """Return how many histories broke an invariant."""
        return len({seed for seeds in self.failed.values() for seed, _ in seeds})

    def table(self) -> str:
        """Return two tables in Markdown: by task and mode, and by service_behaviour and other hostility."""
        tasks = sorted({key[:2] for key in self.rows if key[0]})
        traits = sorted({key[:2] for key in self.rows if not key[0]})
        lines = ["| task | mode | " + " | ".join(_HEADER) + " |", "| --- | --- |" + " ---: |" * len(_HEADER)]
        lines += [f"| {operator} | {mode} | {self._cells(operator, mode)} |" for operator, mode in tasks]
        lines += [
            "",
            "| the history has | " + " | ".join(_HEADER) + " |",
            "| --- |" + " ---: |" * len(_HEADER),
        ]
        lines += [f"| {trait} | {self._cells('', trait)} |" for _, trait in traits]
        return "\n".join(lines)

    def _cells(self, *key: str) -> str:
        first, second = key
        return " | ".join(f"{self.rows[first, second, what]:,}" for what in ("histories", *_OUTCOMES))


def hostilities(history: History) -> Iterator[str]:
    """Yield the names of the hostilities of a history."""
    traits = history.behaviour.differences()
    if not traits:
        yield "service: calm"
    for name in traits:
        yield f"service: `{name}`"
    if history.one_machine:
        yield "Airflow: processes that share what they know of limits"
    for kind in {fault.kind.split()[0] for fault in history.faults}:
        yield f"gateway: `{kind}`"
    for what in {other.what for other in history.others}:
        yield f"others: {what}"
    for kind in {run.kind for run in history.runs[1:]}:
        yield f"Airflow: a run that is a {kind}" if kind != "same" else "Airflow: the same try again"
    for what in {what.what for run in history.runs for what in run.interruptions}:
        yield f"Airflow: {what}"
