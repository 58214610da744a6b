"""Write the table of ``docs/performance.md``, or print it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from marked_page import put
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.row import Line

__all__ = ["print_table", "write"]

# The environment has a link to this package.
_PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
_MEASURED_WITH = ("apache-airflow", "apache-airflow-providers-http", "httpx")


def print_table(lines: Sequence[Line], console: Console) -> None:
    """Print the table, with a block for each line, because it has more columns than a terminal is wide."""
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for line in lines:
        for name, cell in line.cells().items():
            if cell != "-":
                table.add_row(name, cell, style="bold" if name == "what" else None)
        table.add_section()
    console.print(table)


def write(lines: Sequence[Line]) -> None:
    """
    Replace the table of the page.

    :raises ValueError: when the page has no place for it
    """
    versions = ", ".join(f"{name} {version(name)}" for name in _MEASURED_WITH)
    new = (
        f"Measured on {os.cpu_count()} cores, Python {platform.python_version()}, {versions}.",
        "",
        f"| {' | '.join(lines[0].cells())} |",
        f"|{' --- |' * len(lines[0].cells())}",
        *(f"| {' | '.join(line.cells().values())} |" for line in lines),
    )
    page = put(_PAGE.read_text("utf-8"), "\n".join(new), "scripts/benchmark")
    _PAGE.write_text(page, "utf-8")
