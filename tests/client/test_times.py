"""Times that services write in other forms than the reference's are read, or kept as text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from connix_provider.client.models import Agent

HALF_PAST = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


def agent(written: object) -> Agent:
    return Agent.model_validate({"id": "a", "status": "running", "updated_at": written})


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("2026-01-15T10:30:00Z", 0),
        ("2026-01-15T10:30:00.123+00:00", 123),
        ("2026-01-15 10:30:00.123+00", 123),
        ("2026-01-15 10:30:00.123456+00", 123),
        ("2026-01-15 12:30:00.5 +0200", 500),
        ("2026-01-15 10:30:00 UTC", 0),
        ("2026-01-15 10:30:00.123 GMT", 123),
        ("2026-01-15 10:30:00", 0),
        ("20260115T103000Z", 0),
        ("20260115T123000.5+0200", 500),
        ("2026-W03-4T10:30", 0),
    ],
)
def test_a_time_is_read_in_any_form_of_iso_and_of_databases(written, milliseconds):
    read = agent(written).updated_at
    assert read is not None
    assert read.replace(microsecond=0) == HALF_PAST
    assert read.microsecond // 1000 == milliseconds


@pytest.mark.parametrize("written", ["yesterday", "revision 5", "UTC", "2026-13-45 10:30:00 UTC"])
def test_a_time_that_cannot_be_read_is_compared_as_text(written):
    one = agent(written)
    assert one.updated_at is None
    assert one.snapshot().updated_at_text == written
    assert agent(f"{written} later").snapshot().has_later_update(one.snapshot())
