"""The benchmarks as their users start them, in the form that shows that they work; how fast is not asked."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
BENCHMARK = ROOT / "scripts" / "benchmark"
PAGE = ROOT / "docs" / "performance.md"
#: The table's first column in the quick form.
ROWS = [
    "100 waits",
    "200 waits",
    "300 waits",
    "5 waits among 500 agents",
    "50 waits among 500 agents",
    "400 waits among 800 agents",
    "2 processes x 50 waits",
    "2 processes x 50 waits, every second agent",
    "restart of 100 agents, 50 actions a window",
    "one Get through the hook, keep-alive, loopback",
    "importing operators, sensors and triggers after `airflow.sdk`",
    "3,000 log lines read",
    "20 waits in one event loop, every tenth answer a fault",
]
#: Rows that the HTTP provider has no part in.
ALONE = {
    "50 waits among 500 agents",
    "400 waits among 800 agents",
    "20 waits in one event loop, every tenth answer a fault",
}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BENCHMARK, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=1200
    )


def cells(output: str) -> list[list[str]]:
    table = [line for line in output.splitlines() if line.startswith("| ")]
    # Without the header and the line below it.
    return [line.strip("| ").split(" | ") for line in table[2:]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Measure once for all tests."""
    page = PAGE.read_text()
    file = tmp_path_factory.mktemp("benchmark") / "saved.json"
    done = run("--quick", "--save", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert PAGE.read_text() == page, "figures of the quick form are no figures for the page"
    return done.stdout, file


def test_every_row_is_there_with_numbers(saved):
    rows = cells(saved[0])
    assert [row[0] for row in rows] == ROWS
    for what, _, must, ours, theirs, *_, reached in rows:
        assert re.search(r"\d", must), what
        assert re.search(r"\d", ours), what
        assert theirs == "-" if what in ALONE else re.search(r"\d", theirs), what
        assert reached in {"reached", "**missed**"}


def test_a_table_is_made_of_what_was_saved(saved):
    output, file = saved
    done = run("--from", file)
    assert done.returncode == 0, done.stderr
    assert cells(done.stdout) == cells(output)


def test_a_row_that_there_is_not_is_named_in_one_line():
    done = run("--quick", "nothing")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "scripts/benchmark: there is no row nothing; there are waits-"
    )
