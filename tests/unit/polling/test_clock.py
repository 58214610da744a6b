"""The clock of a wait, which no step of the system's clock moves."""

from __future__ import annotations

import time

import pytest

from connix_provider.polling.clock import SteadyClock


def test_a_clock_set_back_between_processes_counts_on():
    later = time.time() + 3600
    clock = SteadyClock(not_before=later)
    assert later <= clock.now() <= later + 1
    assert clock.to_system(later + 60) == pytest.approx(time.time() + 60, abs=1)


def test_a_moment_that_has_passed_changes_nothing():
    assert SteadyClock(not_before=time.time() - 3600).now() == pytest.approx(time.time(), abs=1)


@pytest.mark.parametrize("step", [2, 3600, 86_400])
@pytest.mark.parametrize("known", ["began_at", "last_seen_at"])
async def test_a_wait_outlasts_its_deadline_on_no_clock(known, step, emulator, warp, wait):
    (agent_id,) = emulator.seed(status="paused")
    began = warp.time()
    # Another process, whose clock was ahead, set these moments.
    moments = {"began_at": began + step, known: began + step, "deadline": began + step + 60}
    event = await wait(agent_id, **moments)
    assert event["outcome"] == "timeout"
    assert warp.time() - began == pytest.approx(60, abs=6)
