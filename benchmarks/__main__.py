"""The command line of the benchmarks; ``scripts/benchmark`` makes the environment and then runs this."""

from __future__ import annotations

import argparse
import os
import pathlib
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import connix_provider
from benchmarks import page
from benchmarks.row import Row, measure
from benchmarks.rows import ROWS


def main() -> int:
    """
    Measure rows and print them; all rows of the full form make the page anew.

    :return: the exit code: 1 when a row could not be measured; a missed aim is a result like any other
    """
    options = _options()
    # SystemExit lets multiprocessing end the processes that were started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    _set_environment()
    rows = [row for row in ROWS if row.name in options.rows or not options.rows]
    if options.quick:
        rows = [row.quick() for row in rows]
    results = _measure(rows, options.repeat)
    lines = [row.line(results[row.name]) for row in rows if row.name in results]
    page.print_table(lines, Console())
    if len(lines) == len(ROWS) and not options.quick:
        page.write(lines)
    return int(len(lines) < len(rows))


def _options() -> argparse.Namespace:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark",
        description="Measure the provider beside the HTTP provider and beside the service's rate limits. "
        "All rows together take about 50 minutes and write docs/performance.md.",
    )
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"measure only these, and print them: {', '.join(names)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small numbers and short windows, to see that it works"
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="measure our waits N times")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(names):
        parser.error(f"there is no row {' or '.join(sorted(unknown))}; there are {', '.join(names)}")
    return options


def _set_environment() -> None:
    """Keep the started processes to this environment and to loopback."""
    home = pathlib.Path(__file__).resolve().parents[1] / ".airflow" / "benchmark"
    # Connections come from the environment and nothing is scheduled, so Airflow needs no database.
    home.mkdir(parents=True, exist_ok=True)
    # Imports are measured as users have them: Python compiles a module at its first import only.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # A proxy between client and emulator would be measured too.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        # No started process finds the package in the working directory instead of the installed wheel.
        "PYTHONSAFEPATH": "1",
    }


def _measure(rows: Sequence[Row], repeat: int) -> dict[str, dict[str, list[Any]]]:
    """Return for each row without a failure the results of each provider, and print them as they come."""
    results: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    failed: set[str] = set()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        progress.add_task(f"Measuring {', '.join(row.name for row in rows)}", total=None)
        for row, provider, result in measure(rows, repeat):
            progress.console.print(f"{row.name}, {provider}: {result!s}", highlight=False, soft_wrap=True)
            if isinstance(result, Exception):
                failed.add(row.name)
            results[row.name][provider].append(result)
    return {name: found for name, found in results.items() if name not in failed}


def _assert_installed() -> None:
    """Exit when the imported package is not the installed wheel."""
    place = pathlib.Path(connix_provider.__file__).resolve()
    if not place.is_relative_to(pathlib.Path(sys.prefix).resolve()):
        sys.exit(f"scripts/benchmark: the package is not the installed one, but {place}")


if __name__ == "__main__":
    _assert_installed()
    sys.exit(main())
