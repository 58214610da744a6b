"""The pause before a poll is never so short that clocks and sleeps cannot tell it from none."""

from __future__ import annotations

import pytest

from connix_provider.polling.poll_schedule import PollSchedule


@pytest.mark.parametrize("last_poll", [0.0, 0.05, 0.1, 10.0])
@pytest.mark.parametrize("beyond", [-1e-3, -1e-7, 0.0, 1e-7, 4e-7, 1e-6, 1e-3])
def test_the_last_pause_lasts_until_the_deadline(last_poll, beyond, monkeypatch):
    schedule = PollSchedule(10.0, deadline=1000.0, began_at=0.0)
    monkeypatch.setattr(schedule.clock, "now", lambda: 1000.0 - last_poll - beyond)
    assert schedule.sleep_seconds(last_poll) == pytest.approx(max(0.0, last_poll + beyond), abs=1e-9)


@pytest.mark.parametrize("last_poll", [0.05, 10.0])
def test_the_last_poll_is_before_the_deadline(last_poll, monkeypatch):
    schedule = PollSchedule(10.0, deadline=1000.0, began_at=0.0)
    monkeypatch.setattr(schedule.clock, "now", lambda: 995.0 - last_poll)
    assert schedule.sleep_seconds(last_poll) == pytest.approx(5.0)
