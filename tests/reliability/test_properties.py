"""What holds for anything that a service or a database may hand over."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connix_provider.client import ConnixError, models
from connix_provider.lifecycle import GOALS, Verdict, goal_for_statuses, judge
from connix_provider.poll_state import GRACE, PollState, Snapshot
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.statuses import DOWN, KNOWN

pytestmark = pytest.mark.heavy

THEN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
GOAL_OF_A_SENSOR = goal_for_statuses({"running"}, {"error", "stopped"})
goals = st.sampled_from([*GOALS.values(), GOAL_OF_A_SENSOR])
statuses = st.one_of(st.sampled_from(sorted(KNOWN)), st.text(max_size=20))
moments = st.one_of(st.none(), st.integers(-5, 5).map(lambda seconds: THEN + dt.timedelta(seconds=seconds)))
looks = st.builds(Snapshot, st.one_of(st.none(), statuses), moments)
#: JSON as RFC 8259 has it: no NaN, and text that UTF-8 can write.
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, anything, max_size=5)


@given(
    goal=goals,
    earlier=st.lists(looks, max_size=5),
    status=st.text(),
    moment=moments,
    before=st.none() | looks,
)
def test_an_unknown_status_is_no_verdict(goal, earlier, status, moment, before):
    assume(status not in KNOWN)
    state = PollState(before=before)
    for number, look in enumerate(earlier):
        judge(goal, look, state, now=float(number))
    assert judge(goal, Snapshot(status, moment), state, now=99.0).verdict is Verdict.WAITING


@given(
    goal=goals, seen=st.lists(looks, min_size=1, max_size=8), before=st.none() | looks, gap=st.floats(0, 1e6)
)
def test_the_same_polls_have_the_same_verdicts(goal, seen, before, gap):
    # Without an accepted action there is no grace; where nothing must stay for a while, no clock matters.
    here, there = PollState(before=before), PollState(before=before)
    for number, look in enumerate(seen):
        one = judge(goal, look, here, now=float(number))
        other = judge(goal, look, there, now=1e9 + number * gap)
        assert one == other
        assert one.reason
        assert one.verdict in allowed(goal, look)


def allowed(goal: Any, look: Snapshot) -> set[Verdict]:
    """What a look may mean at most, however the agent came there."""
    if look.status is None:
        return {Verdict.DONE} if goal.done_when_gone else {Verdict.GONE}
    if look.status in goal.done:
        return {Verdict.DONE, Verdict.WAITING}
    if look.status not in goal.failed:
        return {Verdict.WAITING}
    old_error = {Verdict.DONE} if goal.allow_old_error else set()
    return {Verdict.FAILED, Verdict.WAITING} | old_error


@given(goal=goals, status=st.sampled_from(sorted(KNOWN - {"error"})), word=texts, moment=moments)
def test_an_unknown_earlier_status_is_no_failure(goal, status, word, moment):
    assume(word not in KNOWN and moment is not None)
    state = PollState(before=Snapshot(word, moment), accepted_at=0.0)
    assert judge(goal, Snapshot(status, moment), state, now=GRACE - 1).verdict is not Verdict.FAILED


@given(seen=st.lists(st.sampled_from(sorted(DOWN)), min_size=1, max_size=8), every=st.floats(1, 300))
def test_a_restart_that_stays_down_fails_after_grace(seen, every):
    state = PollState(before=Snapshot("running", THEN), accepted_at=0.0)
    for number, status in enumerate(seen):
        now = number * every
        poll = Snapshot(status, THEN + dt.timedelta(seconds=1))
        expected = Verdict.WAITING if now < GRACE else Verdict.FAILED
        assert judge(GOALS["restart"], poll, state, now=now).verdict is expected


MODELS = {
    models.Agent: {"id": "agent_1", "status": "running"},
    models.AgentPage: {"agents": [{"id": "agent_1", "status": "running"}]},
    models.ActionResult: {},
    models.DeleteResult: {},
    models.LogPage: {"logs": [{"timestamp": "2026-01-01T00:00:00Z"}]},
    models.AgentMetrics: {"metrics": {}},
    models.ProjectPage: {"projects": [{"id": "proj_1"}]},
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@given(more=objects)
def test_unknown_fields_are_kept(model, more):
    assume(not more.keys() & model.model_fields.keys())
    sent = {**MODELS[model], **more}
    kept = model.model_validate_json(json.dumps(sent)).model_dump(mode="json")
    assert {name: kept[name] for name in more} == more
    assert model.model_validate(kept).model_dump(mode="json") == kept
    assert repr(model.model_validate(kept))


@given(metadata=objects, config=objects, word=texts)
def test_metadata_round_trips_unchanged(metadata, config, word):
    assume(not config.keys() & models.AgentConfig.model_fields.keys())
    sent = {"id": "agent_1", "status": word, "metadata": metadata, "config": config, "description": word}
    agent = models.Agent.model_validate_json(json.dumps(sent))
    kept = agent.model_dump(mode="json", exclude_unset=True)
    assert kept == sent
    assert agent.snapshot().status == word


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@given(
    sent=st.one_of(
        anything, st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "status", "agents"), anything))
    )
)
def test_any_json_is_a_model_or_value_error(model, sent):
    try:
        read = model.model_validate_json(json.dumps(sent))
    except ValueError:
        return
    assert isinstance(read, model)


outcomes = st.sampled_from([str(outcome) for outcome in Outcome])
described = st.fixed_dictionaries(
    {"class": st.sampled_from(["ConnixAPIError", "ConnixServerError", "ConnixError", "Any", "ValueError"])},
    optional=dict.fromkeys(
        ("status_code", "code", "message", "details", "request_id", "request"), st.one_of(plain, anything)
    ),
)
#: Events as triggers send them, but for what a release before or after this one may put into them.
likely = st.fixed_dictionaries(
    {
        "outcome": outcomes,
        "agent_id": texts.filter(bool),
        "message": texts,
        "status": st.none() | texts,
        "error": st.none() | described,
    },
    optional={"later": anything},
)
#: The same with one field that may be anything, or missing.
spoilt = st.builds(
    lambda event, name, value: {**event, name: value},
    likely,
    st.sampled_from(["outcome", "agent_id", "message", "status"]),
    anything,
) | st.builds(
    lambda event, name: {key: value for key, value in event.items() if key != name},
    likely,
    st.sampled_from(["outcome", "agent_id", "message", "status", "error"]),
)


@given(event=st.one_of(anything, likely, spoilt))
def test_any_event_is_a_result_or_value_error(event):
    try:
        poll_result = PollResult.from_event(event)
    except ValueError:
        return
    assert isinstance(poll_result.outcome, Outcome)
    assert isinstance(poll_result.agent_id, str)
    assert poll_result.agent_id
    # What is believed can also be raised, told, and sent on.
    error = poll_result.rebuild_error()
    assert isinstance(error, (ConnixError, ValueError))
    assert isinstance(str(error), str)
    assert PollResult.from_event(json.loads(json.dumps(poll_result.to_event()))) == poll_result


@given(event=likely)
def test_an_event_of_a_trigger_is_believed(event):
    poll_result = PollResult.from_event(event)
    assert (poll_result.outcome, poll_result.agent_id) == (event["outcome"], event["agent_id"])
