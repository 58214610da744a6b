"""``scripts/simulate``: play histories by their seeds, and print those that break an invariant."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from hostile.drawing import draw
from hostile.player import stage
from hostile.searching import look_for_old_faults
from hostile.tally import Tally
from hostile.verdicts import judge, minimal

#: Seeds that one process plays in one go.
_PORTION = 250


def portion(seeds: range) -> Tally:
    """Play the seeds of one process."""
    tally = Tally()
    with stage() as playing:
        for seed in seeds:
            tally.count(judge(playing, draw(seed)))
    return tally


def simulate(first: int, count: int, processes: int) -> Tally:
    """Play many histories in several processes."""
    portions = [
        range(begin, min(begin + _PORTION, first + count)) for begin in range(first, first + count, _PORTION)
    ]
    total = Tally()
    done: Iterable[Tally]
    if processes <= 1:
        done = map(portion, portions)
        for tally in done:
            total.add(tally)
        return total
    with ProcessPoolExecutor(processes) as pool:
        for tally in pool.map(portion, portions):
            total.add(tally)
    return total


def replay(seed: int, *, whole: bool) -> int:
    """Play one seed and print it; a failing one is shrunk first."""
    with stage() as playing:
        verdict = judge(playing, draw(seed))
        if verdict.breaches and not whole:
            verdict = minimal(playing, verdict)
        print(verdict.told())
    return 1 if verdict.breaches else 0


def write(page: pathlib.Path, new: str, script: str) -> None:
    """Replace the table of a page."""
    from marked_page import put

    page.write_text(put(page.read_text("utf-8"), new, script), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this seed, shrink it if it fails, and print it")
    parser.add_argument("--whole", action="store_true", help="with --seed: do not shrink it")
    parser.add_argument("--first", type=int, default=0, help="the first seed, default 0")
    parser.add_argument("--histories", type=int, default=5000, help="how many, default 5000")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="default: one for each core"
    )
    parser.add_argument("--report", type=pathlib.Path, help="a page to write the table into")
    parser.add_argument(
        "--old-faults", action="store_true", help="put former faults back, and find a seed for each"
    )
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed, whole=options.whole)
    if options.old_faults:
        table = look_for_old_faults(options.histories, options.processes)
        print(table)
        if options.report:
            write(options.report, table, "scripts/simulate --old-faults")
        return int("not within" in table)
    began = time.perf_counter()
    tally = simulate(options.first, options.histories, options.processes)
    seconds = time.perf_counter() - began
    for (operator, invariant), seeds in sorted(tally.failed.items(), key=lambda kind: -len(kind[1])):
        seed, how = seeds[0]
        print(f"{len(seeds)} x {operator}: {invariant}; seed {seed}: {how[:300]}")
    count = f"{options.histories:,} histories"
    print(f"{count} in {seconds:.0f} s, {tally.failures} of them broke an invariant")
    if options.report:
        verdict = (
            "no invariant was broken" if not tally.failures else f"**{tally.failures} broke an invariant**"
        )
        new = f"{count} from seed {options.first} on: {verdict}.\n\n{tally.table()}"
        write(options.report, new, "scripts/simulate")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
