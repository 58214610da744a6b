"""The benchmarks' command line; ``scripts/benchmark`` makes the environment and then runs this."""

from __future__ import annotations

import argparse
import pathlib
import signal
import sys
import time
from collections.abc import Sequence

import connix_provider
from benchmarks import forms, report, schedule
from benchmarks.report import Results
from benchmarks.rows import Row


def main() -> int:
    """
    Run from the command line.

    :return: the exit code: 1 when a row could not be measured; a figure that missed its aim is a result, too
    """
    options = _options()
    # One that ends this process ends those that it has started, too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if options.saved:
            return _show(Results.read(options.saved))
        rows = forms.quick() if options.quick else forms.full()
        results = Results("quick" if options.quick else "full", report.machine())
        return _measure(rows, _chosen(rows, options.rows), results, options.save)
    except (OSError, ValueError) as problem:
        print(f"scripts/benchmark: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark",
        description="Measure the provider beside the HTTP provider and beside what the service's limits "
        "allow. All rows together take about 35 minutes and make docs/performance.md anew.",
        epilog=f"Rows: {_names(forms.full())}. Files are looked for in the project's folder.",
    )
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help="measure only these, and leave the page as it is"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small numbers and short windows, to see that the benchmark works",
    )
    parser.add_argument("--save", type=pathlib.Path, metavar="FILE", help="keep what was measured")
    parser.add_argument(
        "--from",
        dest="saved",
        nargs="+",
        type=pathlib.Path,
        metavar="FILE",
        help="measure nothing: show what was saved, and make the page anew if that is all of it",
    )
    options = parser.parse_args()
    if options.saved and (options.rows or options.quick or options.save):
        parser.error("--from measures nothing: it goes with no rows, --quick or --save")
    return options


def _chosen(rows: Sequence[Row], names: Sequence[str]) -> Sequence[Row]:
    unknown = set(names) - {row.name for row in rows}
    if unknown:
        raise ValueError(f"there is no row {' or '.join(sorted(unknown))}; there are {_names(rows)}")
    return [row for row in rows if not names or row.name in names]


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(row.name for row in rows)


def _show(results: Results) -> int:
    rows = forms.quick() if results.form == "quick" else forms.full()
    print(report.table(rows, results))
    if results.form == "full" and len(results.rows) == len(rows):
        report.write(rows, results)
    return 0


def _measure(rows: Sequence[Row], chosen: Sequence[Row], results: Results, save: pathlib.Path | None) -> int:
    began = time.monotonic()
    failed = False
    for row, found in schedule.measure(chosen):
        if isinstance(found, Exception):
            failed = True
            print(f"{row.name} failed: {found!r}", file=sys.stderr)
            continue
        results.rows[row.name] = found
        if save:
            # After each row: what comes after it may fail, or be ended.
            results.save(save)
        print(f"{report.describe(row.line(row.read(found)))}\n", flush=True)
    print(report.table(rows, results))
    print(f"\n{time.monotonic() - began:.0f} s", flush=True)
    if results.form == "full" and len(results.rows) == len(rows):
        report.write(rows, results)
    return int(failed)


def _assert_installed() -> None:
    """End when it is not the installed wheel that would be measured."""
    place = pathlib.Path(connix_provider.__file__).resolve()
    if not place.is_relative_to(pathlib.Path(sys.prefix).resolve()):
        sys.exit(f"scripts/benchmark: the package is not the installed one, but {place}")


if __name__ == "__main__":
    _assert_installed()
    sys.exit(main())
