"""Search for the first seed that finds each former fault."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from hostile.drawing import draw
from hostile.old_faults import OLD_FAULTS
from hostile.player import stage
from hostile.verdicts import judge

__all__ = ["look_for_old_faults"]


def look_for_old_faults(most: int, processes: int) -> str:
    """
    Return a table in Markdown: which seed finds which fault.

    :param most: seeds tried at most for each fault
    :param processes: how many processes share the faults
    """
    with ProcessPoolExecutor(processes) as pool:
        rows = list(pool.map(_row, range(len(OLD_FAULTS)), repeat(most)))
    return "\n".join(("| | fault put back | first seed | invariant |", "| --- | --- | ---: | --- |", *rows))


def _row(number: int, most: int) -> str:
    fault = OLD_FAULTS[number]
    with stage() as playing:
        for seed in range(most):
            with fault.installed():
                found = judge(playing, draw(seed)).breaches
            if found and not judge(playing, draw(seed)).breaches:
                return f"| {fault.line} | {fault.what} | {seed:,} | {found[0].invariant} |"
    return f"| {fault.line} | {fault.what} | not within {most:,} | |"
