"""The documents are whole: every record is listed, and every link leads to a file."""

from __future__ import annotations

import pathlib
import re

import pytest

pytestmark = pytest.mark.one_airflow

ROOT = pathlib.Path(__file__).parents[2]
RECORDS = sorted(path for path in (ROOT / "docs" / "decisions").glob("*.md") if path.name != "README.md")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_record_is_listed_dated_and_complete(record):
    text = record.read_text()
    assert f"({record.name})" in (record.parent / "README.md").read_text()
    assert re.match(r"# .+\n\n" + re.escape(record.name[:10]), text)
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Consequence"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_module_of_the_architecture_exists():
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", (ROOT / "docs" / "architecture.md").read_text()))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / "connix_provider" / name).exists()] == []
