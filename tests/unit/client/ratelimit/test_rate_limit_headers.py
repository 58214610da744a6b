"""A limiter learns limits and windows from the headers of responses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limiter_caller import EPOCH, Caller

from connix_provider.client.ratelimit import Bucket


def test_nothing_is_sent_that_would_be_refused(caller):
    caller.receive(200, 7)
    sent = 0
    for _ in range(50):
        permit, wait = caller.try_acquire()
        if wait == 0:
            sent += 1
            permit.on_response(caller.headers(200, 7 - sent))
        caller.now += 0.1
    assert sent == 7
    assert 14 < caller.try_acquire()[1] <= 16


@pytest.mark.parametrize("skew", [-86_400.0 * 400, -3600, 0, 3600, 86_400.0 * 400])
@pytest.mark.parametrize("start", [0.0, 12_345.6, 1e9])
def test_the_servers_clock_counts_and_not_ours(start, skew):
    caller = Caller(start=start)
    caller.receive(200, 0, skew=skew)
    wait = caller.try_acquire()[1]
    left = 60 - (EPOCH + skew) % 60
    assert left - 0.1 <= wait <= left + 1
    caller.now += left - 0.5
    assert caller.try_acquire()[1] > 0
    caller.now += 1.5
    assert caller.try_acquire()[1] == 0


def test_whole_seconds_reach_the_reset(caller):
    # A response just after a full second says more precisely when the window ends.
    for second in (0.9, 1.5, 2.0, 3.7):
        caller.now = second
        caller.receive(200, 0 if second > 3 else 100)
    assert caller.try_acquire()[1] == pytest.approx(16.3, abs=0.01)


def test_a_server_clock_set_back_is_followed(caller):
    caller.receive(200, 50)
    for _ in range(5):
        caller.now += 40
        caller.receive(200, 3, skew=-3600)
    caller.receive(200, 0, skew=-3600)
    wait = caller.try_acquire()[1]
    left = 60 - (EPOCH - 3600 + caller.now) % 60
    assert left - 0.1 <= wait <= left + 1


def test_responses_out_of_order_raise_no_limit(caller):
    first, second, third = (caller.acquire() for _ in range(3))
    late = caller.headers(200, 9)
    third.on_response(caller.headers(200, 0))
    second.on_response(late)
    first.on_response(caller.headers(200, 5))
    assert caller.try_acquire()[1] > 15


def test_a_late_response_changes_no_new_window(caller):
    slow = caller.acquire()
    before = caller.headers(200, 190)
    caller.now = 25.0
    caller.receive(200, 0)
    slow.on_response(before)
    assert caller.try_acquire()[1] > 50
    # Nor does one that says the old one was used up.
    caller.now = 85.0
    slow = caller.acquire()
    before = caller.headers(200, 0)
    caller.now = 145.0
    caller.receive(200, 150)
    slow.on_response(before)
    assert caller.try_acquire()[1] == 0


@pytest.mark.parametrize(("new", "left"), [(400, 250), (60, 0)])
def test_a_limit_that_changes_is_followed(caller, new, left):
    caller.receive(200, 50)
    caller.receive(new, left)
    assert (caller.try_acquire()[1] == 0) is (left > 0)
    caller.now = 21.5
    caller.receive(new, new - 1)
    assert caller.limiter._state.buckets[Bucket.GET].limit.limit == new


def test_another_window_length_is_detected(caller):
    # The service's windows are of ten seconds.
    for second in range(0, 40, 2):
        caller.now = float(second)
        end = ((EPOCH + caller.now) // 10 + 1) * 10
        caller.receive(20, 15, reset=end)
    assert caller.limiter._state.buckets[Bucket.GET].limit.length == 10
    assert caller.limiter.rate(Bucket.GET) <= 2


NONSENSE = ["", "soon", "-5", "nan", "inf", "1e999", "0", "0x10", "5, 5", " ", "9" * 400]


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("name", ["date", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"])
def test_unreadable_headers_are_ignored(caller, name, nonsense):
    for _ in range(3):
        caller.receive(200, 100)
        caller.now += 1
        permit = caller.acquire()
        permit.on_response(caller.headers(200, 99) | {name: nonsense})
        caller.now += 61
    assert caller.try_acquire()[1] < 61


@pytest.mark.parametrize("ahead", [-3600.0, -1.0, 0.0, 366 * 86_400.0])
def test_an_absurd_reset_blocks_at_most_a_minute(caller, ahead):
    for _ in range(3):
        caller.receive(200, 0, reset=EPOCH + caller.now + ahead)
        assert caller.try_acquire()[1] <= 61
        caller.now += 61
        for permit in (caller.limiter.permit(Bucket.GET),):
            assert permit.try_acquire() == 0
            permit.on_response({}, is_success=False)


def test_more_left_than_the_limit_is_the_limit(caller):
    caller.receive(10, 1_000_000)
    sent = 0
    for _ in range(100):
        permit, wait = caller.try_acquire()
        if wait == 0:
            permit.on_response({})
            sent += 1
        caller.now += 0.1
    assert sent <= 10


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["limit", "remaining", "reset", "date"]),
            st.text(max_size=12) | st.integers(-(10**12), 10**12).map(str) | st.floats().map(str),
            st.booleans(),
            st.floats(0, 100),
        ),
        max_size=30,
    )
)
def test_no_headers_break_the_limiter(responses):
    caller = Caller()
    for name, value, refused, pause in responses:
        for background in (False, True):
            with caller.limiter.permit(Bucket.GET, background=background) as permit:
                wait = permit.try_acquire()
                assert 0 <= wait < math.inf
                if wait == 0:
                    header = "date" if name == "date" else f"x-ratelimit-{name}"
                    for family in ("", "-requests"):
                        given = caller.headers(family=family) | {
                            header + (family if name != "date" else ""): value
                        }
                        permit.on_response(given, back_off=3.0 if refused else None)
        caller.now += pause
        assert caller.limiter.rate(Bucket.GET) >= 0


@pytest.mark.parametrize("form", ["{}", "{};w=60", "{}, {};w=3600", " {} ;w=1", "{},{}"])
def test_limits_are_read_from_headers_with_additions(caller, form):
    headers = caller.headers(200, 3)
    for name in ("limit", "remaining", "reset"):
        value = headers[f"x-ratelimit-{name}"]
        headers[f"x-ratelimit-{name}"] = form.replace("{}", value)
    caller.acquire().on_response(headers)
    permits, wait = 0, 0.0
    for _ in range(50):
        permit, wait = caller.try_acquire()
        if wait == 0:
            permits += 1
            permit.on_response({})
    assert permits == 3
    assert 15 < wait <= 21


def test_an_unreadable_limit_is_still_a_limit(caller):
    for _ in range(10):
        caller.acquire(Bucket.CREATE).on_response(
            {"x-ratelimit-limit": "ten", "x-ratelimit-remaining": "some"}
        )
        caller.now += 0.1
    assert caller.try_acquire(Bucket.CREATE)[1] > 50


# Both families


def test_the_stricter_of_both_families_counts(caller):
    own = caller.headers(200, 150)
    caller.acquire().on_response(own | caller.headers(100, 0, family="-requests"))
    assert 19 < caller.try_acquire()[1] <= 21
    # The second family counts all calls of the key.
    assert 19 < caller.try_acquire(Bucket.LIST)[1] <= 21
    caller.now = 22.0
    caller.acquire().on_response(caller.headers(200, 0) | caller.headers(100, 99, family="-requests"))
    assert caller.try_acquire()[1] > 50
    assert caller.try_acquire(Bucket.LIST)[1] == 0


def test_alternating_hour_and_minute_limits_both_count(caller):
    hour = (EPOCH // 3600 + 1) * 3600
    caller.acquire().on_response(caller.headers(1000, 3, family="-requests", reset=hour))
    caller.acquire().on_response(caller.headers(100, 50, family="-requests"))
    sent = 0
    for _ in range(600):
        caller.now += 1
        permit, wait = caller.try_acquire()
        if wait == 0:
            sent += 1
            permit.on_response(caller.headers(100, 50, family="-requests"))
    # The limit of the hour still counts, although later headers have only the minute.
    assert sent <= 3
    assert caller.try_acquire()[1] > 60
    caller.now = hour - EPOCH + 2
    assert caller.try_acquire()[1] == 0


def test_the_second_family_is_not_assumed(caller):
    caller.receive(200, 150)
    assert caller.limiter._state.key_windows == {}
