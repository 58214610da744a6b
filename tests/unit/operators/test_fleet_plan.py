"""Which agents of a fleet are acted on next: every rule holds, whatever agents do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.operators._fleet.plan import (
    FleetLimits,
    FleetMember,
    Progress,
    decide,
    fleet_result,
    least_minutes,
)

pytestmark = pytest.mark.one_airflow


def fleet(available, unavailable=0):
    members = [FleetMember(f"agent_{number}") for number in range(available + unavailable)]
    for member in members[available:]:
        member.is_available = False
    return members


def act(step):
    for member in step.act_on:
        member.progress, member.was_acted_on = Progress.UNDER_WAY, True
    return [member.agent_id for member in step.act_on]


def end(member, *, is_good=True):
    member.progress = Progress.DONE if is_good else Progress.FAILED
    member.is_available = is_good


@st.composite
def fleets(draw):
    members = fleet(draw(st.integers(0, 30)), draw(st.integers(0, 10)))
    total = len(members)
    limits = FleetLimits(
        draw(st.integers(1, total + 2)), draw(st.integers(0, total)), draw(st.integers(0, total + 1))
    )
    return draw(st.permutations(members)), limits


@given(fleets(), st.data())
def test_no_history_of_agents_breaks_a_rule(made, data):
    members, limits = made
    broken_before = sum(not member.is_available for member in members)
    order = [member.agent_id for member in members]
    sent, failed = [], 0
    for _ in range(4 * len(members) + 4):
        step = decide(members, limits)
        unavailable_before = {member.agent_id for member in members if not member.is_available}
        tried = len(sent) - sum(member.progress is Progress.UNDER_WAY for member in members)
        now = act(step)
        # Each agent at most once, and none after too many failures.
        assert not set(now) & set(sent)
        assert not (now and failed > limits.max_failures)
        sent += now
        under_way = [member for member in members if member.progress is Progress.UNDER_WAY]
        unavailable = {member.agent_id for member in members if not member.is_available}
        unavailable |= {member.agent_id for member in under_way}
        assert len(under_way) <= limits.max_unavailable
        if set(now) - unavailable_before:
            assert len(unavailable) <= limits.max_unavailable
        # Canaries first, and alone.
        if tried < limits.canary:
            assert len(sent) <= limits.canary
        # The unavailable ones first, then in the order given.
        assert now == sorted(now, key=lambda each: (each not in unavailable_before, order.index(each)))
        if step.is_over:
            break
        assert under_way
        some = data.draw(st.sets(st.sampled_from(range(len(under_way))), min_size=1))
        for number in some:
            is_good = data.draw(st.booleans())
            failed += not is_good
            end(under_way[number], is_good=is_good)
    else:
        raise AssertionError("the run does not end")
    untouched = [member for member in members if member.progress is Progress.UNTOUCHED]
    assert bool(untouched) <= bool(step.stop)
    assert len(unavailable) <= max(limits.max_unavailable, broken_before + failed)


@given(fleets())
def test_a_run_without_failures_acts_on_every_agent(made):
    members, limits = made
    # Each step ends at least one member, so a run of more steps would never end.
    for _ in range(len(members) + 1):
        if (step := decide(members, limits)).is_over:
            break
        act(step)
        for member in members:
            if member.progress is Progress.UNDER_WAY:
                end(member)
    assert step.is_over
    assert step.stop is None
    assert all(member.progress is Progress.DONE and member.was_acted_on for member in members)


def test_unavailable_agents_count_and_come_first():
    members = fleet(10, 3)
    assert act(decide(members, FleetLimits(5))) == [
        *(member.agent_id for member in members[10:]),
        "agent_0",
        "agent_1",
    ]


def test_unavailable_agents_count_toward_max_unavailable():
    members = fleet(10, 6)
    limits = FleetLimits(4)
    first = act(decide(members, limits))
    assert first == [member.agent_id for member in members[10:14]]
    for member in members[10:14]:
        end(member)
    # Two are still unavailable, so two that are available may be taken away.
    assert act(decide(members, limits)) == ["agent_14", "agent_15", "agent_0", "agent_1"]


def test_canaries_are_tried_before_others():
    members, limits = fleet(10), FleetLimits(5, canary=2, max_failures=1)
    assert act(decide(members, limits)) == ["agent_0", "agent_1"]
    end(members[0])
    step = decide(members, limits)
    assert (step.act_on, step.is_over) == ([], False)
    end(members[1], is_good=False)
    assert len(act(decide(members, limits))) == 4


def test_a_failed_canary_ends_the_run():
    members, limits = fleet(10), FleetLimits(5, canary=2)
    act(decide(members, limits))
    end(members[0], is_good=False)
    step = decide(members, limits)
    assert (step.act_on, step.stop, step.is_over) == ([], "1 agent failed, and max_failures is 0", False)
    end(members[1])
    assert decide(members, limits).is_over


def test_agents_that_failed_use_up_max_unavailable():
    members, limits = fleet(3), FleetLimits(1, max_failures=2)
    act(decide(members, limits))
    end(members[0], is_good=False)
    step = decide(members, limits)
    assert step.is_over
    assert step.stop == "1 agent is unavailable, and max_unavailable is 1"


def test_agents_that_were_done_already_are_no_canaries():
    members, limits = fleet(4), FleetLimits(4, canary=1)
    members[0].progress = Progress.DONE
    assert act(decide(members, limits)) == ["agent_1"]


def test_a_halt_touches_nothing_and_awaits_the_rest():
    members, limits = fleet(4), FleetLimits(2)
    act(decide(members, limits))
    end(members[0])
    step = decide(members, limits, halt="no progress")
    assert (step.act_on, step.stop, step.is_over) == ([], "no progress", False)


@pytest.mark.parametrize(
    ("given", "total", "limits"),
    [
        (("10%", 2, 2), 200, FleetLimits(20, 2, 2)),
        (("10%", "1%", "1%"), 7, FleetLimits(1, 1, 0)),
        (("25%", "10%", "50%"), 15, FleetLimits(3, 2, 7)),
        (("100%", "0%", 0), 3, FleetLimits(3, 0, 0)),
        ((5, 3, "100%"), 3, FleetLimits(5, 3, 3)),
        (("7", "1", "2"), 3, FleetLimits(7, 1, 2)),
        (("10%", 0, 0), 0, FleetLimits(1, 0, 0)),
    ],
)
def test_percentages_are_rounded_to_the_safe_side(given, total, limits):
    assert FleetLimits.of(*given, total=total) == limits


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("101%", 0, 0), "max_unavailable must be a whole number, or a percentage"),
        ((0, 0, 0), "max_unavailable must be more than 0"),
        (("0%", 0, 0), "max_unavailable must be more than 0"),
        ((-1, 0, 0), "max_unavailable must be"),
        ((1.5, 0, 0), "max_unavailable must be"),
        ((True, 0, 0), "max_unavailable must be"),
        ((None, 0, 0), "max_unavailable must be"),
        ((1, 4, 0), "canary is 4, but the fleet has only 3 agents"),
        ((1, "200%", 0), "canary must be"),
        ((1, 0, "-5%"), "max_failures must be"),
        ((1, 0, "many"), "max_failures must be"),
    ],
)
def test_limits_that_make_no_sense_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        FleetLimits.of(*given, total=3)


def test_a_result_lists_each_agent():
    members = fleet(3)
    end(members[0])
    end(members[1], is_good=False)
    members[1].name, members[1].reason = "b", "it is in error"
    assert fleet_result("stop", "proj", members) == {
        "action": "stop",
        "project_id": "proj",
        "summary": {"done": 1, "failed": 1, "not_touched": 1},
        "agents": {
            "agent_0": {"name": None, "result": "done", "reason": None},
            "agent_1": {"name": "b", "result": "failed", "reason": "it is in error"},
            "agent_2": {"name": None, "result": "not_touched", "reason": None},
        },
    }


@pytest.mark.parametrize(("requests", "minutes"), [(0, 0), (1, 0), (50, 0), (51, 1), (500, 9)])
def test_a_rate_limit_tells_the_least_time(requests, minutes):
    assert least_minutes(requests, 50) == minutes
