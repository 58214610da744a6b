"""The benchmarks in their quick form, which shows that every row can be measured."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
#: The rows, and whether the HTTP provider is measured too.
ROWS = {
    "waits-1000": True,
    "waits-2s": False,
    "waits-30s": False,
    "waits-5000": True,
    "waits-10000": True,
    "waits-few": True,
    "waits-scattered": False,
    "waits-burst": False,
    "waits-split": True,
    "waits-interleaved": True,
    "restarts": True,
    "restarts-fresh": False,
    "get": False,
    "imports": False,
    "logs": True,
    "heartbeat": False,
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts" / "benchmark", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)


def test_every_row_is_measured():
    page = PAGE.read_text()
    done = run("--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = re.findall(r"^ *reached  +(?:reached|\*\*missed\*\*: )", done.stdout, re.MULTILINE)
    assert len(verdicts) == len(ROWS)
    for name, has_http in ROWS.items():
        assert re.search(rf"^{name}, connix: .*\d", done.stderr, re.MULTILINE), name
        assert bool(re.search(rf"^{name}, http: .*\d", done.stderr, re.MULTILINE)) == has_http, name
    assert PAGE.read_text() == page, "figures of the quick form are no figures for the page"


def test_an_unknown_row_is_named():
    done = run("nothing")
    assert done.returncode == 2
    assert "there is no row nothing; there are waits-1000, " in done.stderr
