"""The table of verdicts, row by row, and what holds for any string a service may send."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.lifecycle import (
    GOALS,
    KNOWN,
    AgentStatus,
    Memory,
    Snapshot,
    Verdict,
    goal_for_statuses,
    has_changed,
    judge,
    parse_statuses,
)

THEN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = THEN + timedelta(seconds=5)
DONE, WAITING, FAILED, GONE = Verdict.DONE, Verdict.WAITING, Verdict.FAILED, Verdict.GONE


def verdicts(goal, before, *seen):
    """Judge a row of looks; each is a status, or a status and whether updated_at moved with it."""
    memory = Memory(before=Snapshot(before, THEN) if before else None)
    found = []
    for number, look in enumerate(seen):
        status, moment = look if isinstance(look, tuple) else (look, LATER + timedelta(seconds=number))
        found.append(judge(GOALS[goal], Snapshot(status, moment), memory).verdict)
    return found


OLD = THEN  # a look that shows the same updated_at as before the action

TABLE = [
    # create: done at running; waits at creating, updating, unknown; fails at error, paused, stopped
    ("create", None, ["creating", "updating", "hibernating", "running"], [WAITING, WAITING, WAITING, DONE]),
    ("create", None, ["error"], [FAILED]),
    ("create", None, ["paused"], [FAILED]),
    ("create", None, ["stopped"], [FAILED]),
    # start: waits at the old status until updated_at moves, fails at it afterwards
    ("start", "stopped", [("stopped", OLD), "creating", "updating", "running"], [WAITING] * 3 + [DONE]),
    ("start", "stopped", [("stopped", OLD), "stopped"], [WAITING, FAILED]),
    ("start", "paused", [("paused", OLD), "hibernating", "running"], [WAITING, WAITING, DONE]),
    ("start", "paused", ["error"], [FAILED]),
    ("start", "error", [("error", OLD), "error"], [WAITING, FAILED]),
    ("start", "stopped", [("running", OLD)], [DONE]),
    # a status that nobody knows proves no change: only updated_at does then
    ("start", "hibernating", [("stopped", OLD), "running"], [WAITING, DONE]),
    ("start", "hibernating", ["stopped"], [FAILED]),
    ("start", "stopped", [("hibernating", OLD), ("stopped", OLD), "running"], [WAITING, WAITING, DONE]),
    # restart: running counts only after a change; down is part of the way for one look after it
    ("restart", "running", [("running", OLD)] * 3 + ["running"], [WAITING] * 3 + [DONE]),
    ("restart", "running", [("running", OLD), "stopped", "running"], [WAITING, WAITING, DONE]),
    ("restart", "running", ["stopped", "stopped", "stopped"], [WAITING, WAITING, FAILED]),
    ("restart", "running", ["paused", "creating", "running"], [WAITING, WAITING, DONE]),
    ("restart", "running", [("stopped", OLD), ("running", OLD)], [WAITING, DONE]),
    ("restart", "running", ["error"], [FAILED]),
    ("restart", "error", [("error", OLD), "stopped", "running"], [WAITING, WAITING, DONE]),
    ("restart", "stopped", [("stopped", OLD), ("stopped", OLD), "running"], [WAITING, WAITING, DONE]),
    # pause
    ("pause", "running", [("running", OLD), "updating", "hibernating", "paused"], [WAITING] * 3 + [DONE]),
    ("pause", "running", ["stopped"], [FAILED]),
    ("pause", "running", ["error"], [FAILED]),
    # stop
    (
        "stop",
        "running",
        [("running", OLD), "paused", "updating", "creating", "stopped"],
        [WAITING] * 4 + [DONE],
    ),
    ("stop", "running", ["hibernating", "error"], [WAITING, FAILED]),
    ("stop", "error", [("error", OLD), "stopped"], [WAITING, DONE]),
    # update: the wait begins at the reply, which shows the agent updating
    ("update", "updating", [("updating", OLD), "running"], [WAITING, DONE]),
    ("update", "updating", ["creating", "hibernating", "paused"], [WAITING, WAITING, DONE]),
    ("update", "updating", ["stopped"], [DONE]),
    ("update", "updating", ["error"], [FAILED]),
    ("update", None, ["running"], [DONE]),
    # delete: only a 404 ends it
    ("delete", None, ["running", "error", "stopped", "hibernating", (None, None)], [WAITING] * 4 + [DONE]),
    *((goal, None, [(None, None)], [GONE]) for goal in GOALS if goal != "delete"),
]


@pytest.mark.parametrize(("goal", "before", "seen", "expected"), TABLE)
def test_the_table_of_what_a_wait_means(goal, before, seen, expected):
    assert verdicts(goal, before, *seen) == expected


def test_a_stale_replica_is_not_a_change():
    memory = Memory(before=Snapshot("running", LATER))
    stale = judge(GOALS["restart"], Snapshot("stopped", THEN), memory)
    assert stale.verdict is WAITING
    assert not memory.moved


def test_an_update_that_a_stale_replica_has_not_heard_of_is_not_done():
    memory = Memory(before=Snapshot("updating", LATER))
    assert judge(GOALS["update"], Snapshot("running", THEN), memory).verdict is WAITING
    assert judge(GOALS["update"], Snapshot("running", LATER), memory).verdict is DONE


@pytest.mark.parametrize(
    ("goal", "before", "seen"),
    [
        pytest.param("start", ("stopped", 5), [("running", 3)], id="it ran before it was stopped"),
        pytest.param("restart", ("running", 5), [("updating", 6), ("running", 5)], id="it has not gone down"),
        pytest.param("start", ("stopped", 5), [("updating", 6), ("stopped", 5)], id="it has not come up"),
        pytest.param("stop", ("running", 5), [("running", 6), ("stopped", 4)], id="it was started since"),
    ],
)
def test_old_news_ends_no_wait(goal, before, seen):
    status, moment = before
    memory = Memory(before=Snapshot(status, THEN + timedelta(seconds=moment)))
    for status, moment in seen:
        judgement = judge(GOALS[goal], Snapshot(status, THEN + timedelta(seconds=moment)), memory)
        assert judgement.verdict is WAITING
    assert "older" in judgement.reason


def test_what_keeps_on_being_answered_is_believed_however_old():
    memory = Memory()
    goal = goal_for_statuses("running")
    looks = [Snapshot("paused", LATER), *[Snapshot("running", THEN)] * 4]
    assert [judge(goal, look, memory).verdict for look in looks] == [WAITING] * 4 + [DONE]


@given(st.text(), st.sampled_from(sorted(GOALS)), st.sampled_from([None, *sorted(KNOWN)]))
def test_a_status_nobody_knows_is_never_an_ending(status, goal, before):
    if status in KNOWN:
        return
    assert verdicts(goal, before, status) == [WAITING]


@given(
    st.lists(st.sampled_from([*sorted(KNOWN), "hibernating"]), max_size=8),
    st.sampled_from(sorted(GOALS)),
    st.sampled_from(sorted(KNOWN)),
)
def test_every_history_has_a_verdict_with_a_reason(history, goal, before):
    memory = Memory(before=Snapshot(before, THEN))
    for number, status in enumerate(history):
        judgement = judge(GOALS[goal], Snapshot(status, THEN + timedelta(seconds=number)), memory)
        assert judgement.reason
        assert judgement.verdict is not DONE or status in GOALS[goal].done


def stability(stable_for, *looks):
    goal = goal_for_statuses("running", [], stable_for=stable_for)
    memory = Memory()
    return [judge(goal, Snapshot(status, moment), memory, now=at).verdict for at, status, moment in looks]


def test_stable_counts_from_the_first_look_that_shows_it():
    assert stability(3, *((at, "running", THEN) for at in range(5))) == [WAITING] * 3 + [DONE] * 2


def test_flapping_is_not_stable():
    looks = [(0, "running", THEN), (2, "error", LATER), (3, "running", LATER), (5, "running", LATER)]
    assert stability(3, *looks) == [WAITING] * 4
    assert stability(3, *looks, (6, "running", LATER))[-1] is DONE


def test_a_dip_between_two_looks_is_seen_by_updated_at():
    assert stability(3, (0, "running", THEN), (2, "running", LATER), (4, "running", LATER)) == [WAITING] * 3


def test_a_target_is_not_a_failure_by_default():
    assert goal_for_statuses("error").failed == frozenset()
    assert goal_for_statuses("running").failed == {"error"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"target": "runing"},
            ["target_statuses", "'runing'", "Did you mean 'running'?", "creating, running"],
        ),
        ({"target": "xyz"}, ["'xyz' is not a status", "Known: creating"]),
        ({"target": []}, ["target_statuses is empty"]),
        ({"target": 3}, ["target_statuses must be a status or a list of them", "not 3"]),
        ({"target": [None]}, ["None is not a status"]),
        ({"target": "running", "failure": ["eror"]}, ["failure_statuses", "Did you mean 'error'?"]),
        ({"target": "running", "failure": ["running"]}, ["'running' cannot be both"]),
        ({"target": "running", "stable_for": -1}, ["stable_for", "not -1"]),
        ({"target": "running", "stable_for": float("nan")}, ["stable_for"]),
        ({"target": "running", "stable_for": "10"}, ["stable_for", "'10'"]),
    ],
)
def test_bad_statuses_are_refused_by_name(arguments, words):
    with pytest.raises(ValueError, match=r"status|stable_for") as refused:
        goal_for_statuses(**arguments)
    assert all(word in str(refused.value) for word in words)


def test_statuses_are_taken_as_people_write_them():
    assert parse_statuses("Running, paused", "x") == {AgentStatus.RUNNING, AgentStatus.PAUSED}
    assert parse_statuses({"error"}, "x") == {AgentStatus.ERROR}


def test_a_change_without_times_is_told_by_the_status():
    assert has_changed(Snapshot("running"), Snapshot("stopped"))
    assert not has_changed(Snapshot("running"), Snapshot("running"))
    assert not has_changed(Snapshot("running", THEN), Snapshot("running"))
