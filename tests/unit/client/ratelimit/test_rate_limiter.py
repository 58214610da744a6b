"""One limiter on a clock of the test: its permits, and what it learns from responses."""

import itertools
import math
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limiter_caller import EPOCH, Caller

from connix_provider.client.ratelimit import DOCUMENTED, Bucket, recheck_delay

# Before the first response


@pytest.mark.parametrize("bucket", DOCUMENTED)
def test_the_references_table_counts_before_the_first_response(caller, bucket):
    sent = []
    for _ in range(1500):
        with caller.limiter.permit(bucket) as permit:
            if permit.try_acquire() == 0:
                sent.append(caller.now)
                permit.on_response({}, is_success=False)
        caller.now += 0.1
    for begin in sent:
        assert sum(begin <= at < begin + 60 for at in sent) <= DOCUMENTED[bucket]
    assert len(sent) >= 2 * DOCUMENTED[bucket]


@pytest.mark.parametrize("bucket", [Bucket.CREATE, Bucket.ACTION, Bucket.GET])
@pytest.mark.parametrize("has_headers", [False, True])
def test_a_burst_of_two_windows_waits_for_one(caller, bucket, has_headers):
    if has_headers:
        caller.acquire(bucket).on_response(caller.headers(DOCUMENTED[bucket], DOCUMENTED[bucket] - 1))
    with ExitStack() as stack:
        permits = [
            stack.enter_context(caller.limiter.permit(bucket)) for _ in range(int(1.5 * DOCUMENTED[bucket]))
        ]
        waits = [permit.try_acquire() for permit in permits]
    assert waits[0] == 0
    assert 15 < max(waits) < 65


def test_the_table_is_the_references():
    assert [DOCUMENTED[bucket] for bucket in Bucket if bucket is not Bucket.PROJECTS] == [
        100, 10, 200, 20, 10, 50, 100, 50,
    ]  # fmt: skip


def test_the_first_requests_go_before_the_rest(caller):
    permits, wait = caller.drain(Bucket.LIST)
    assert len(permits) == 5
    assert wait < 0.1
    permits[0].on_response(caller.headers(100, 60))
    # A quarter of what is left may be in flight: other machines may use the key.
    permits, _ = caller.drain(Bucket.LIST)
    assert 5 < len(permits) < 30


def test_a_response_without_limit_headers_removes_the_limit(caller):
    caller.acquire(Bucket.CREATE).on_response({})
    for _ in range(500):
        caller.acquire(Bucket.CREATE)
    assert caller.limiter.rate(Bucket.CREATE) == math.inf
    assert caller.limiter.rate(Bucket.DELETE) == pytest.approx(9 / 60)
    # A failure that tells nothing proves nothing.
    caller.acquire(Bucket.DELETE).on_response({}, is_success=False)
    assert caller.limiter.rate(Bucket.DELETE) == pytest.approx(9 / 60)


def test_a_429_without_headers_restores_the_documented_limits(caller):
    caller.acquire(Bucket.CREATE).on_response({})
    caller.acquire(Bucket.CREATE).on_response({}, back_off=5)
    assert 5 <= caller.try_acquire(Bucket.CREATE)[1] < 5.1
    caller.now += 5.5
    for _ in range(10):
        caller.acquire(Bucket.CREATE).on_response({})
        caller.now += 0.1
    assert 55 < caller.try_acquire(Bucket.CREATE)[1] < 62


def test_headers_end_a_life_without_limits(caller):
    caller.acquire().on_response({})
    caller.receive(200, 0)
    assert 19 < caller.try_acquire()[1] <= 21


def test_listing_projects_has_no_default_limit(caller):
    for _ in range(1000):
        caller.acquire(Bucket.PROJECTS)
    assert caller.limiter.rate(Bucket.PROJECTS) == math.inf


@pytest.mark.parametrize("has_headers", [False, True])
@pytest.mark.parametrize(("share", "own"), [(0.05, 1), (0.1, 2), (0.2, 4)])
def test_actions_and_polls_starve_neither(share, own, has_headers):
    caller = Caller(share)
    if has_headers:
        caller.receive(20, 19, bucket=Bucket.UPDATE)
        caller.now += 61
    sent = {False: 0, True: 0}
    permits = {background: caller.limiter.permit(Bucket.UPDATE, background=background) for background in sent}
    for _ in range(3000):
        for background, permit in permits.items():
            if permit.try_acquire() == 0:
                sent[background] += 1
                permit.on_response(caller.headers(20, 19) if has_headers else {}, is_success=has_headers)
                permits[background] = caller.limiter.permit(Bucket.UPDATE, background=background)
        caller.now += 0.1
    # Five windows: the whole share is used, by polls and by actions.
    assert sum(sent.values()) >= 4 * own
    assert all(sent.values()) or own == 1


# Refused and lost requests


def test_a_refusal_backs_off_all(caller):
    caller.receive(200, 100)
    waiting = [caller.acquire(), caller.acquire()]
    waiting[0].on_response(caller.headers(200, 90), back_off=7)
    for background in (False, True):
        assert 7 <= caller.try_acquire(background=background)[1] < 7.1
    assert caller.try_acquire(Bucket.LIST)[1] == 0
    # A shorter word of another does not shorten it.
    waiting[1].on_response(caller.headers(200, 89), back_off=1)
    assert 6.9 <= caller.try_acquire()[1] < 7.1


def test_after_a_refusal_they_go_slowly(caller):
    for _ in range(8):
        caller.receive(200, 199)
        caller.now += 60
    caller.receive(200, 150)
    caller.acquire().on_response(caller.headers(200, 149), back_off=2)
    caller.now += 2.001
    permits, _ = caller.drain()
    assert 1 <= len(permits) <= 11
    permits[0].on_response(caller.headers(200, 148))
    assert len(caller.drain()[0]) > 20


def test_no_hint_keeps_others_away_for_ever(caller):
    caller.acquire().on_response({}, back_off=1e9)
    assert 60 <= caller.try_acquire()[1] < 67


def test_a_used_up_hourly_limit_lasts_an_hour(caller):
    hour = (EPOCH // 3600 + 1) * 3600
    caller.acquire().on_response(caller.headers(1000, 500, family="-requests", reset=hour), back_off=1800)
    assert caller.try_acquire()[1] < 67
    caller.now += 70
    caller.acquire().on_response(
        caller.headers(1000, 0, family="-requests", reset=hour), back_off=hour - EPOCH - 70
    )
    assert caller.try_acquire()[1] == pytest.approx(hour - EPOCH - 70, abs=2)


def test_a_request_that_never_left_is_given_back(caller):
    caller.receive(200, 3)
    for _ in range(100):
        caller.acquire().on_no_response(may_have_arrived=False)
    cold = Caller()
    for background in (False, True):
        for _ in range(100):
            cold.acquire(Bucket.CREATE, background=background).on_no_response(may_have_arrived=False)


def test_a_request_that_was_lost_is_counted(caller):
    caller.receive(200, 3)
    for _ in range(3):
        caller.acquire().on_no_response(may_have_arrived=True)
    assert caller.try_acquire()[1] > 15
    caller.now += 22
    with caller.limiter.permit(Bucket.GET) as permit:
        assert permit.try_acquire() == 0
    # Broken off: neither under way forever, nor forgotten.
    assert caller.limiter._state.buckets[Bucket.GET].limit.in_flight == 0
    assert caller.limiter._state.buckets[Bucket.GET].limit.remaining == 199


# Queues


def test_sleeping_callers_keep_their_order_and_permits(caller):
    caller.receive(200, 3)
    caller.drain()
    permits = [caller.limiter.permit(Bucket.GET) for _ in range(6)]
    waits = [permit.try_acquire() for permit in permits]
    assert all(waits)
    assert waits == sorted(waits)
    caller.now += 22
    # Each caller has a permit: the first to wake takes its own, and leaves the others theirs.
    assert [permit.try_acquire() for permit in reversed(permits)] == 6 * [0]


def test_no_caller_takes_an_earlier_callers_permit(caller):
    caller.receive(200, 0)
    permits = [caller.limiter.permit(Bucket.CREATE) for _ in range(3)]
    assert [permit.try_acquire() == 0 for permit in permits] == [True, False, False]
    permits[0].on_response(caller.headers(10, 1))
    assert permits[2].try_acquire() > 15
    assert permits[1].try_acquire() == 0


def test_an_abandoned_permit_is_given_to_the_next(caller):
    permits = [caller.limiter.permit(Bucket.CREATE) for _ in range(5)]
    assert [permit.try_acquire() == 0 for permit in permits] == [True, False, False, False, False]
    permits[0].on_response(caller.headers(10, 1))
    for permit in permits[1:4]:
        permit.__exit__()
    assert permits[4].try_acquire() == 0


def test_a_retried_call_keeps_its_place(caller):
    caller.receive(200, 150)
    first = caller.acquire()
    first.on_response(caller.headers(200, 0), back_off=30)
    later = caller.limiter.permit(Bucket.GET)
    assert later.try_acquire() > 29
    assert first.try_acquire() > 29
    assert caller.limiter._state.buckets[Bucket.GET].queues[0] == [first.number, later.number]


def test_polling_leaves_a_reserve_to_actions(caller):
    caller.receive(200, 12)
    assert caller.try_acquire(background=True)[1] > 15
    assert caller.try_acquire()[1] == 0


def test_polling_is_spread_and_bursts_after_idling(caller):
    for _ in range(8):
        caller.receive(200, 199)
        caller.now += 60
    caller.receive(200, 199)
    burst, _ = caller.drain(background=True)
    assert len(burst) in {9, 10}
    for number, permit in enumerate(burst):
        permit.on_response(caller.headers(200, 198 - number))
    sent = []
    while caller.now < 8 * 60 + 19:
        permit, wait = caller.try_acquire(background=True)
        if wait == 0:
            sent.append(caller.now)
            permit.on_response(caller.headers(200, 198 - len(burst) - len(sent)))
        caller.now += 0.01
    gaps = [b - a for a, b in itertools.pairwise(sent)]
    assert max(gaps) < 2 * min(gaps)


# Shares and rates


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_a_share_is_kept_to(share):
    caller = Caller(share)
    sent = []
    for _ in range(2400):
        permit, wait = caller.try_acquire()
        if wait == 0:
            sent.append(caller.now)
            permit.on_response(caller.headers(200, 199))
        caller.now += 0.1
    per_window = [sum(20 + 60 * n <= at < 80 + 60 * n for at in sent) for n in range(3)]
    assert all(0.8 * share * 200 <= count <= share * 200 for count in per_window), per_window


def test_the_smallest_share_is_one_request():
    caller = Caller(0.01)
    caller.receive(10, 9, bucket=Bucket.CREATE)
    caller.now = 25
    assert caller.try_acquire(Bucket.CREATE)[1] == 0
    assert caller.try_acquire(Bucket.CREATE)[1] > 50


def test_rates_are_those_of_polling_alone(caller):
    assert caller.limiter.rate(Bucket.GET) == pytest.approx(188 / 60)
    assert caller.limiter.rate(Bucket.LIST) == pytest.approx(94 / 60)
    assert Caller(0.5).limiter.rate(Bucket.GET) == pytest.approx(94 / 60)
    caller.acquire().on_response(caller.headers(200, 199) | caller.headers(60, 59, family="-requests"))
    assert caller.limiter.rate(Bucket.GET) == pytest.approx(57 / 60)


@given(st.floats(0, 1e6))
def test_a_recheck_comes_within_ten_seconds(wait):
    assert 0 < recheck_delay(wait) <= max(0.001, min(wait, 10))
