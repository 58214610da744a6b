"""The table of verdicts, row by row, and what holds for any string a service may send."""

from __future__ import annotations

import enum
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.lifecycle import (
    GOALS,
    Evidence,
    Verdict,
    goal_for_statuses,
    has_changed,
    judge,
    restart_evidence,
)
from connix_provider.poll_state import PollState, Snapshot
from connix_provider.statuses import KNOWN, AgentStatus, parse_statuses

THEN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = THEN + timedelta(seconds=5)
DONE, WAITING, FAILED, GONE = Verdict.DONE, Verdict.WAITING, Verdict.FAILED, Verdict.GONE


OLD, NEW = ("a", "k:a"), ("b", "k:b")


def verdicts(goal, before, *polls, accepted_at=0.0):
    """
    Judge a row of polls.

    A poll is a status one second after the one before, with a later ``updated_at``; or a tuple of status,
    ``updated_at`` (seconds after the action, 0 for unmoved) and seconds after acceptance.
    """
    state = PollState(before=Snapshot(before, THEN) if before else None, accepted_at=accepted_at)
    found = []
    for number, poll in enumerate(polls, 1):
        status, moved, now = (*poll, number)[:3] if isinstance(poll, tuple) else (poll, number, number)
        seen = Snapshot(status, THEN + timedelta(seconds=moved) if moved is not None else None)
        found.append(judge(GOALS[goal], seen, state, now=now).verdict)
    return found


UNMOVED = 0
TABLE = [
    # create: done at running; waits at creating, updating, unknown; fails at error, paused, stopped
    ("create", None, ["creating", "updating", "hibernating", "running"], [WAITING, WAITING, WAITING, DONE]),
    ("create", None, ["error"], [FAILED]),
    ("create", None, ["paused"], [FAILED]),
    ("create", None, ["stopped"], [FAILED]),
    # a 404 means nothing within 15 s of the create
    ("create", None, [(None, None, 1), (None, None, 14.9), (None, None, 15)], [WAITING, WAITING, GONE]),
    ("create", None, [(None, None, 1), ("running", 1, 3)], [WAITING, DONE]),
    # start: the status before it is not final during the grace, moved or not; a new error is at once
    ("start", "stopped", [("stopped", UNMOVED), "creating", "updating", "running"], [WAITING] * 3 + [DONE]),
    ("start", "stopped", [("stopped", UNMOVED), "stopped", ("stopped", 2, 59.9)], [WAITING] * 3),
    ("start", "stopped", [("stopped", UNMOVED, 1), ("stopped", UNMOVED, 60)], [WAITING, FAILED]),
    ("start", "stopped", [("stopped", 1, 59), ("stopped", 1, 60)], [WAITING, FAILED]),
    ("start", "paused", [("paused", UNMOVED), "hibernating", "running"], [WAITING, WAITING, DONE]),
    ("start", "paused", ["error"], [FAILED]),
    ("start", "paused", [("error", UNMOVED)], [FAILED]),
    ("start", "error", [("error", UNMOVED), "error", ("error", 2, 60)], [WAITING, WAITING, FAILED]),
    ("start", "stopped", [("running", UNMOVED)], [DONE]),
    ("start", "hibernating", [("stopped", UNMOVED), "running"], [WAITING, DONE]),
    # restart: running counts only after a change, however long; down is part of the way during the grace
    ("restart", "running", [("running", UNMOVED)] * 3 + ["running"], [WAITING] * 3 + [DONE]),
    ("restart", "running", [("running", UNMOVED, 1), ("running", UNMOVED, 600)], [WAITING] * 2),
    ("restart", "running", [("running", UNMOVED), "stopped", "running"], [WAITING, WAITING, DONE]),
    ("restart", "running", ["stopped", "stopped", "stopped"], [WAITING] * 3),
    ("restart", "running", ["stopped", ("stopped", 1, 59), ("stopped", 1, 60)], [WAITING, WAITING, FAILED]),
    ("restart", "running", ["paused", "creating", "running"], [WAITING, WAITING, DONE]),
    ("restart", "running", [("stopped", UNMOVED), ("running", UNMOVED)], [WAITING, DONE]),
    ("restart", "running", [("stopped", None), ("running", None)], [WAITING, DONE]),
    ("restart", "running", ["error"], [FAILED]),
    ("restart", "running", [("error", UNMOVED)], [FAILED]),
    ("restart", "error", [("error", UNMOVED), "stopped", "running"], [WAITING, WAITING, DONE]),
    ("restart", "error", [("error", UNMOVED, 1), ("error", UNMOVED, 60)], [WAITING, FAILED]),
    ("restart", "stopped", [("stopped", UNMOVED), "stopped", "running"], [WAITING, WAITING, DONE]),
    # updating on the way is a sign of an update, not of a restart
    ("restart", "running", [("updating", UNMOVED), ("running", UNMOVED)], [WAITING, WAITING]),
    # pause: stopped is not final during the grace
    ("pause", "running", [("running", UNMOVED), "updating", "hibernating", "paused"], [WAITING] * 3 + [DONE]),
    ("pause", "running", ["stopped", ("stopped", 1, 59), ("stopped", 1, 60)], [WAITING, WAITING, FAILED]),
    ("pause", "running", ["error"], [FAILED]),
    # stop
    (
        "stop",
        "running",
        [("running", UNMOVED), "paused", "updating", "creating", "stopped"],
        [WAITING] * 4 + [DONE],
    ),
    ("stop", "running", ["hibernating", "error"], [WAITING, FAILED]),
    ("stop", "error", [("error", UNMOVED), "stopped"], [WAITING, DONE]),
    ("stop", "error", [("error", 1, 59), ("error", 1, 60)], [WAITING, FAILED]),
    # update: any settled status; an error only where there was one before
    ("update", "running", [("updating", UNMOVED), "running"], [WAITING, DONE]),
    ("update", "running", ["creating", "hibernating", "paused"], [WAITING, WAITING, DONE]),
    ("update", "running", ["stopped"], [DONE]),
    ("update", "running", ["updating", "error"], [WAITING, FAILED]),
    ("update", "error", ["updating", "error"], [WAITING, DONE]),
    ("update", None, ["running"], [DONE]),
    # delete: only a 404 ends it
    ("delete", None, ["running", "error", "stopped", "hibernating", (None, None)], [WAITING] * 4 + [DONE]),
    *((goal, "running", [(None, None, 20)], [GONE]) for goal in GOALS if goal != "delete"),
]


@pytest.mark.parametrize(("goal", "before", "polls", "expected"), TABLE)
def test_the_table_of_verdicts(goal, before, polls, expected):
    assert verdicts(goal, before, *polls) == expected


@pytest.mark.parametrize(("goal", "before", "polls", "expected"), TABLE)
def test_a_state_that_travels_changes_no_verdict(goal, before, polls, expected):
    state = PollState(before=Snapshot(before, THEN) if before else None, accepted_at=0.0)
    found = []
    for number, poll in enumerate(polls, 1):
        status, moved, now = (*poll, number)[:3] if isinstance(poll, tuple) else (poll, number, number)
        seen = Snapshot(status, THEN + timedelta(seconds=moved) if moved is not None else None)
        state = PollState.from_json(json.loads(json.dumps(state.to_json())))
        found.append(judge(GOALS[goal], seen, state, now=now).verdict)
    assert found == expected


def test_without_an_accepted_action_there_is_no_grace():
    assert verdicts("start", "stopped", ("stopped", UNMOVED), accepted_at=None) == [FAILED]
    assert verdicts("create", None, (None, None), accepted_at=None) == [GONE]


@pytest.mark.parametrize(("passed", "expected"), [(0, WAITING), (14, WAITING), (15, GONE)])
@pytest.mark.parametrize("goal", ["create", "start", "restart", "settle"])
def test_a_new_agent_may_be_missing_on_replicas(goal, passed, expected):
    state = PollState.from_json(json.loads(json.dumps(PollState(found_at=100.0).to_json())))
    assert judge(GOALS[goal], Snapshot(None), state, now=100.0 + passed).verdict is expected


BEFORE = Snapshot("running", THEN, None, OLD)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(Snapshot("running", THEN, None, OLD), Evidence.NONE, id="nothing moved"),
        pytest.param(Snapshot("running", LATER, None, OLD), Evidence.RESTARTED, id="moved"),
        pytest.param(Snapshot("running", LATER, None, NEW), Evidence.OTHER_CHANGE, id="moved with content"),
        pytest.param(
            Snapshot("running", LATER, None, ("a", "k:b")), Evidence.OTHER_CHANGE, id="moved with a variable"
        ),
        pytest.param(Snapshot("running", LATER, None, ("a", None)), Evidence.RESTARTED, id="moved, listed"),
        pytest.param(
            Snapshot("running", LATER, None, ("b", None)), Evidence.OTHER_CHANGE, id="renamed, listed"
        ),
        pytest.param(Snapshot("running", THEN, None, NEW), Evidence.NONE, id="other content, unmoved"),
        pytest.param(Snapshot("stopped", THEN, None, OLD), Evidence.RESTARTED, id="seen down"),
        pytest.param(Snapshot("error", LATER, None, NEW), Evidence.OTHER_CHANGE, id="an update that failed"),
        pytest.param(Snapshot("creating", None, None, NEW), Evidence.RESTARTED, id="seen coming up"),
        pytest.param(Snapshot("updating", LATER, None, OLD), Evidence.NONE, id="updating tells nothing"),
        pytest.param(Snapshot("hibernating", LATER, None, OLD), Evidence.NONE, id="unknown tells nothing"),
        pytest.param(Snapshot("running", None, None, OLD), Evidence.NONE, id="no time"),
        pytest.param(Snapshot("running", None, "soon", OLD), Evidence.RESTARTED, id="another text"),
        pytest.param(Snapshot(None), Evidence.NONE, id="404"),
    ],
)
def test_the_evidence_of_a_restart(seen, expected):
    assert restart_evidence(BEFORE, seen) is expected


def test_unparseable_times_are_compared_as_text():
    before = Snapshot("running", None, "yesterday", OLD)
    assert restart_evidence(before, Snapshot("running", None, "yesterday", OLD)) is Evidence.NONE
    assert restart_evidence(before, Snapshot("running", None, "today", OLD)) is Evidence.RESTARTED


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (14.9, Evidence.EARLIER_CHANGE),
        # The clocks of a gateway and of the service may differ.
        (15.1, Evidence.OTHER_CHANGE),
        (19.9, Evidence.OTHER_CHANGE),
        (20, Evidence.RESTARTED),
    ],
)
def test_a_change_before_the_request_is_no_restart(seconds, expected):
    seen = Snapshot("running", THEN + timedelta(seconds=seconds), None, OLD)
    requested_at = (THEN + timedelta(seconds=20.7)).timestamp()
    assert restart_evidence(BEFORE, seen, requested_at=requested_at) is expected


def test_a_foreign_update_does_not_end_a_restart():
    state = PollState(before=BEFORE, accepted_at=0.0)
    updated = Snapshot("running", LATER, None, NEW)
    assert judge(GOALS["restart"], updated, state, now=1).verdict is WAITING
    assert judge(GOALS["restart"], updated, state, now=2).verdict is WAITING
    restarted = Snapshot("running", LATER + timedelta(seconds=1), None, NEW)
    assert judge(GOALS["restart"], restarted, state, now=3).verdict is DONE


def test_a_stale_replica_is_not_a_change():
    state = PollState(before=Snapshot("running", LATER), accepted_at=0.0)
    stale = judge(GOALS["restart"], Snapshot("stopped", THEN), state)
    assert stale.verdict is WAITING
    assert not state.changed


@pytest.mark.parametrize("interval", [1, 5, 60])
def test_stale_responses_are_believed_after_a_while(interval):
    state = PollState(last=Snapshot("running", LATER), newest=LATER)
    goal, stale = goal_for_statuses("paused"), Snapshot("paused", THEN)
    polls = range(0, 600, interval)
    believed = next(now for now in polls if judge(goal, stale, state, now=now).verdict is DONE)
    # A replica may lag for 15 s, and three polls are no evidence.
    assert believed == max(15, 3 * interval)


def test_a_stale_replica_ends_no_update():
    state = PollState(before=Snapshot("running", THEN), newest=LATER)
    assert judge(GOALS["update"], Snapshot("running", THEN), state).verdict is WAITING
    assert judge(GOALS["update"], Snapshot("running", LATER), state).verdict is DONE


@pytest.mark.parametrize(
    ("goal", "before", "seen"),
    [
        pytest.param("start", ("stopped", 5), [("running", 3)], id="it ran before it was stopped"),
        pytest.param("restart", ("running", 5), [("updating", 6), ("running", 5)], id="it has not gone down"),
        pytest.param("start", ("stopped", 5), [("updating", 6), ("stopped", 5)], id="it has not come up"),
        pytest.param("stop", ("running", 5), [("running", 6), ("stopped", 4)], id="it was started since"),
    ],
)
def test_a_stale_response_ends_no_wait(goal, before, seen):
    status, moment = before
    state = PollState(before=Snapshot(status, THEN + timedelta(seconds=moment)))
    for status, moment in seen:
        judgement = judge(GOALS[goal], Snapshot(status, THEN + timedelta(seconds=moment)), state)
        assert judgement.verdict is WAITING
    assert "older" in judgement.reason


@given(st.text(), st.sampled_from(sorted(GOALS)), st.sampled_from([None, *sorted(KNOWN)]))
def test_an_unknown_status_ends_no_wait(status, goal, before):
    if status in KNOWN:
        return
    assert verdicts(goal, before, status) == [WAITING]


@given(
    st.lists(st.sampled_from([*sorted(KNOWN), "hibernating"]), max_size=8),
    st.sampled_from(sorted(GOALS)),
    st.sampled_from(sorted(KNOWN)),
)
def test_every_history_has_a_verdict_with_a_reason(history, goal, before):
    state = PollState(before=Snapshot(before, THEN))
    for number, status in enumerate(history):
        judgement = judge(GOALS[goal], Snapshot(status, THEN + timedelta(seconds=number)), state)
        assert judgement.reason
        may_be_done = status in GOALS[goal].done or (goal == "update" and status == before == "error")
        assert judgement.verdict is not DONE or may_be_done


def stability(stable_for, *looks):
    goal = goal_for_statuses("running", [], stable_for=stable_for)
    state = PollState()
    return [judge(goal, Snapshot(status, moment), state, now=at).verdict for at, status, moment in looks]


def test_stability_counts_from_the_first_matching_poll():
    assert stability(3, *((at, "running", THEN) for at in range(5))) == [WAITING] * 3 + [DONE] * 2


def test_flapping_is_not_stable():
    looks = [(0, "running", THEN), (2, "error", LATER), (3, "running", LATER), (5, "running", LATER)]
    assert stability(3, *looks) == [WAITING] * 4
    assert stability(3, *looks, (6, "running", LATER))[-1] is DONE


def test_updated_at_shows_a_dip_between_polls():
    assert stability(3, (0, "running", THEN), (2, "running", LATER), (4, "running", LATER)) == [WAITING] * 3


def test_a_target_is_not_a_failure_by_default():
    assert goal_for_statuses("error").failed == frozenset()
    assert goal_for_statuses("running").failed == {"error"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"target": "runing"},
            ["target_statuses", "'runing'", "Did you mean 'running'?", "creating, error, paused"],
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


class Wanted(str, enum.Enum):  # noqa: UP042 - its text is its name
    PAUSED = "paused"


def test_statuses_are_taken_as_people_write_them():
    assert parse_statuses("Running, paused", "x") == {AgentStatus.RUNNING, AgentStatus.PAUSED}
    assert parse_statuses({"error"}, "x") == {AgentStatus.ERROR}
    assert parse_statuses([Wanted.PAUSED], "x") == {AgentStatus.PAUSED}


def test_without_times_the_status_shows_a_change():
    assert has_changed(Snapshot("running"), Snapshot("stopped"))
    assert not has_changed(Snapshot("running"), Snapshot("running"))
    assert not has_changed(Snapshot("running", THEN), Snapshot("running"))
