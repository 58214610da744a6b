"""The table of docs/reliability.md, made from an invented tally."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
from tally import record

ROOT = pathlib.Path(__file__).parents[2]
GENERATOR = ROOT / "scripts" / "_reliability" / "table.py"
COUNTS = ("tried", "creates_lost", "creates_doubled", "unsafe_repeats", "secrets_found")
PAGE = ROOT / "docs" / "reliability.md"


@pytest.fixture
def tally(tmp_path, monkeypatch):
    path = tmp_path / "tally.jsonl"
    monkeypatch.setenv("CONNIX_TALLY", str(path))
    return path


@pytest.fixture
def page(tmp_path):
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text())
    return copy


def generate(tally, page, verdict="right"):
    return subprocess.run(
        [sys.executable, GENERATOR, tally, page, verdict], capture_output=True, text=True, check=False
    )


def test_the_table_adds_up_the_tally(tally, page):
    record("operators: status", "succeeded")
    record("operators: status", "succeeded")
    record("operators: status", "timed out", unsafe_repeats=2)
    record("crash: triggerer killed", "succeeded", creates_lost=1, creates_doubled=3, tried=1050)
    record("canary", "found", secrets_found=4, tried=8)
    done = generate(tally, page, "wrong")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line for line in page.read_text().splitlines() if line.startswith(("| c", "| o", "| **"))]
    assert rows[:4] == [
        "| canary | 8 | 8 found | 0 | 0 | 0 | 4 |",
        "| crash: triggerer killed | 1,050 | 1,050 succeeded | 1 | 3 | 0 | 0 |",
        "| operators: status | 3 | 2 succeeded, 1 timed out | 0 | 0 | 2 | 0 |",
        "| **all** | 1,061 | 1,052 succeeded, 8 found, 1 timed out | 1 | 3 | 2 | 4 |",
    ]
    assert "**Not every outcome was the right one: tests failed.**" in page.read_text()


def test_a_table_replaces_only_the_table_before(tally, page):
    before, _, rest = PAGE.read_text().partition("<!-- table")
    after = rest.partition("<!-- end of table -->")[2]
    record("client: hang", "failed")
    assert generate(tally, page, "wrong").returncode == 0
    once = page.read_text()
    assert generate(tally, page, "wrong").returncode == 0
    assert page.read_text() == once
    assert generate(tally, page).returncode == 0
    assert "Every outcome was the right one." in page.read_text()
    assert page.read_text().startswith(before)
    assert page.read_text().endswith(after)


def test_without_a_tally_nothing_is_recorded(tmp_path, monkeypatch):
    monkeypatch.delenv("CONNIX_TALLY", raising=False)
    monkeypatch.chdir(tmp_path)
    record("client: hang", "failed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the tally is empty"),
        ("{", "line 1 is not one of a tally"),
        ("[]", "line 1 is not one of a tally"),
        (json.dumps({"kind": "x", "outcome": "y"}), "KeyError('tried')"),
        (json.dumps({"kind": "x", "outcome": 5} | dict.fromkeys(COUNTS, 1)), "a field's type"),
    ],
)
def test_an_invalid_tally_leaves_the_page_unchanged(text, says, tally, page):
    tally.write_text(text)
    done = generate(tally, page)
    assert done.returncode == 1
    assert says in done.stderr
    assert page.read_text() == PAGE.read_text()


def test_a_page_without_markers_is_refused(tally, page):
    record("client: hang", "failed")
    page.write_text("# Nothing\n")
    done = generate(tally, page)
    assert done.returncode == 1
    assert "the page needs one line" in done.stderr
    assert page.read_text() == "# Nothing\n"
