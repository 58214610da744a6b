"""What becomes of deletes of orphaned agents: rate limits, lost responses, refusals and retries."""

from __future__ import annotations

import pytest
from orphans import clean_up, deletes, deployment, outcomes, seed, task_run
from rendered_fields import masker

from connix_provider.client.errors import (
    ConnixAuthenticationError,
    ConnixConflictError,
    ConnixPermissionError,
    ConnixRateLimitError,
)
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentFailedError

__all__ = ["clean_up", "deletes", "deployment", "masker", "seed", "task_run"]

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]


def test_many_deletes_keep_to_the_rate_limit(clean_up, task_run, seed, emulator, warp):
    key = task_run()
    ids = [seed(key) for _ in range(25)]
    emulator.journal.clear()
    ran = clean_up()
    assert outcomes(ran) == dict.fromkeys(ids, "deleted"), ran.log
    assert {entry.status for entry in emulator.journal.entries()} == {200}
    assert 60 <= warp.slept <= 180
    # A run may be cleared while the task waits, so each agent was read after its wait.
    read = {entry.agent_id: entry.at for entry in emulator.journal.executed("get_agent")}
    for entry in emulator.journal.executed("delete_agent"):
        assert (entry.at - read[entry.agent_id]).total_seconds() <= 2


def test_a_task_ends_at_its_timeout(clean_up, task_run, seed, deletes, emulator, warp):
    key = task_run()
    ids = [seed(key) for _ in range(21)]
    emulator.journal.clear()
    ran = clean_up(timeout=20)
    assert isinstance(ran.error, ConnixRateLimitError), ran.log
    # At most one window of the limit ends meanwhile.
    assert deletes() in (ids[:10], ids[:20])
    assert warp.slept < 20


@pytest.mark.parametrize("hints", ["body", "header"])
@pytest.mark.parametrize("times", [1, None])
def test_a_long_rate_limit_fails_nothing_early(
    times, hints, clean_up, task_run, seed, deletes, emulator, warp
):
    agent_id = seed(task_run())
    emulator.faults.add(Fault.rate_limited(100_000, hints), on="delete_agent", times=times)
    began = warp.time()
    ran = clean_up(timeout=600)
    if times is None:
        assert warp.time() - began >= 590
        assert isinstance(ran.error, ConnixRateLimitError), ran.log
        assert agent_id in str(ran.error)
    else:
        assert outcomes(ran) == {agent_id: "deleted"}, ran.log


def test_a_busy_agent_is_deleted_by_a_retry(clean_up, task_run, seed, emulator):
    agent_id = seed(task_run())
    emulator.faults.add(Fault.status(409), on="delete_agent")
    ran = clean_up()
    assert type(ran.error) is ConnixConflictError, ran.log
    assert outcomes(clean_up()) == {agent_id: "deleted"}


@pytest.mark.parametrize(
    "fault",
    [Fault.reset_after(), Fault.status(502, executed=True), Fault.bad_json()],
    ids=lambda fault: fault.name,
)
def test_a_delete_with_a_lost_response_succeeds(fault, clean_up, task_run, seed, emulator, warp):
    agent_id = seed(task_run())
    emulator.faults.add(fault, on="delete_agent")
    ran = clean_up()
    assert (ran.state, outcomes(ran)) == ("success", {agent_id: "deleted"}), ran.log
    emulator.clock.advance(60)
    with pytest.raises(KeyError):
        emulator.agent(agent_id)


def test_a_retry_goes_on_after_a_failure(clean_up, task_run, seed, emulator, warp):
    key = task_run()
    first, second = seed(key), seed(key)
    emulator.faults.add(Fault.reset_after(), on="delete_agent", agent_id=first, times=None)
    emulator.faults.add(Fault.status(403), on="delete_agent", agent_id=second, times=1)
    assert clean_up().state == "failed"
    emulator.faults.clear()
    emulator.clock.advance(60)
    assert outcomes(clean_up()) == {second: "deleted"}


def test_a_refused_delete_does_not_stop_the_others(clean_up, task_run, seed, deletes, emulator):
    key = task_run()
    ids = [seed(key, name=f"orphan-{number}") for number in range(3)]
    emulator.faults.add(Fault.status(403), on="delete_agent", agent_id=ids[1], times=None)
    emulator.journal.clear()
    ran = clean_up()
    assert ran.state == "failed"
    assert type(ran.error) is ConnixPermissionError
    assert f"Could not delete agent 'orphan-1' ({ids[1]})" in str(ran.error)
    assert deletes() == ids
    for number, outcome in enumerate(("deleted", "failed", "deleted")):
        line = next(line for line in ran.log.splitlines() if f"'orphan-{number}' ({ids[number]}) of" in line)
        assert "age 2 days, 0:00:" in line
        assert outcome in line


def test_several_refused_deletes_are_all_named(clean_up, task_run, seed, emulator):
    key = task_run()
    ids = [seed(key, name=f"orphan-{number}") for number in range(3)]
    for agent_id in ids[:2]:
        emulator.faults.add(Fault.status(403), on="delete_agent", agent_id=agent_id, times=None)
    ran = clean_up()
    assert type(ran.error) is ConnixAgentFailedError
    assert str(ran.error).startswith("2 orphaned agents could not be deleted.")
    assert all(agent_id in str(ran.error) for agent_id in ids[:2])


def test_a_refused_key_ends_the_task(clean_up, task_run, seed, deletes, emulator):
    key = task_run()
    ids = [seed(key), seed(key)]
    emulator.faults.add(Fault.status(401), on="delete_agent", times=None)
    emulator.journal.clear()
    ran = clean_up()
    assert type(ran.error) is ConnixAuthenticationError
    assert deletes() == ids[:1]
