"""Play a history and judge it: in its own mode, and for some seeds in every mode."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from hostile.expectations import is_comparable
from hostile.history import History
from hostile.invariants import Breach, agreement, breaches
from hostile.player import Played, Stage
from hostile.shrinking import shrink
from hostile.world import Line

__all__ = ["Verdict", "judge", "minimal"]

#: A history is played in all modes if this number divides its seed.
_COMPARED = 3
#: Lines of a story that are printed.
_LONGEST_STORY = 60


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A history that was played, and the invariants that it broke."""

    played: Played
    breaches: list[Breach]

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(breach.invariant for breach in self.breaches)

    def told(self) -> str:
        """Return a list of the decisions, of the events with their times, and of the breaches."""
        history = self.played.history
        return "\n".join(
            (
                f"seed {history.seed}",
                *(f"  {line}" for line in history.told()),
                "events:",
                *(f"  {line}" for line in _cut(list(_shortened(self.played.world.story)))),
                "breaches:",
                *(f"  {breach}" for breach in self.breaches),
            )
        )


def _cut(lines: list[str]) -> list[str]:
    """Leave the middle of a long story out."""
    if len(lines) <= _LONGEST_STORY:
        return lines
    half = _LONGEST_STORY // 2
    return [*lines[:half], f"{'':11}  … {len(lines) - 2 * half} lines left out", *lines[-half:]]


def _shortened(story: list[Line]) -> Iterator[str]:
    """Leave out repetitions of a line, but for the last one."""
    for _, same in itertools.groupby(story, key=lambda line: (line.actor, line.what)):
        lines = list(same)
        yield str(lines[0])
        if len(lines) > 3:
            yield f"{'':11}  … {len(lines) - 2} times the same"
        yield from map(str, lines[1:] if len(lines) <= 3 else lines[-1:])


def judge(stage: Stage, history: History) -> Verdict:
    """Play a history and check every invariant."""
    played = stage.play(history)
    found = breaches(played)
    if history.seed % _COMPARED == 0 and not found and is_comparable(history):
        modes = {mode: stage.play(history.with_mode(mode)).last for mode in history.modes}
        found += agreement(modes)
    return Verdict(played, found)


def minimal(stage: Stage, verdict: Verdict) -> Verdict:
    """Shrink a failing history while it breaks one of the same invariants."""
    kinds = verdict.kinds
    smallest = shrink(verdict.played.history, lambda smaller: bool(kinds & judge(stage, smaller).kinds))
    return judge(stage, smallest)
