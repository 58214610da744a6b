"""One limiter, on a clock of the test's: what it lets through, and what it learns."""

import itertools
import math
from contextlib import ExitStack
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.client.ratelimit import DOCUMENTED, Bucket, RateLimiter, recheck_delay

#: The server's clock when a test's own clock is 0; a window of a minute begins 20 s later.
EPOCH = 1_705_334_440.0


class Desk:
    """One budget with a clock that the test moves."""

    def __init__(self, share=1.0, start=0.0):
        self.now = self._start = start
        self.limiter = RateLimiter(share, clock=lambda: self.now)

    def ask(self, bucket=Bucket.GET, *, background=False):
        """Ask once, and do not stay in the line."""
        permit = self.limiter.permit(bucket, background=background)
        if wait := permit.try_acquire():
            permit.__exit__()
        return permit, wait

    def take(self, bucket=Bucket.GET, *, background=False):
        permit, wait = self.ask(bucket, background=background)
        assert wait == 0, wait
        return permit

    def headers(self, limit=200, remaining=100, *, reset=None, date=0.0, family="", skew=0.0):
        passed = self.now - self._start
        server = EPOCH + skew + passed
        end = (server // 60 + 1) * 60 if reset is None else reset
        return {
            "date": formatdate(server + date, usegmt=True),
            f"x-ratelimit-limit{family}": str(limit),
            f"x-ratelimit-remaining{family}": str(remaining),
            f"x-ratelimit-reset{family}": str(int(end)),
        }

    def told(self, *args, bucket=Bucket.GET, **kwargs):
        """Send one request, and have its answer tell."""
        self.take(bucket).on_response(self.headers(*args, **kwargs))

    def drain(self, bucket=Bucket.GET, *, background=False):
        """Take all there is at this moment, each request answered without a word."""
        taken = []
        while True:
            permit, wait = self.ask(bucket, background=background)
            if wait:
                return taken, wait
            taken.append(permit)
            assert len(taken) < 10_000


@pytest.fixture
def desk():
    return Desk()


# Before anything is told


@pytest.mark.parametrize("bucket", DOCUMENTED)
def test_the_references_table_counts_until_the_service_tells(desk, bucket):
    sent = []
    for _ in range(1500):
        with desk.limiter.permit(bucket) as permit:
            if permit.try_acquire() == 0:
                sent.append(desk.now)
                permit.on_response({}, is_success=False)
        desk.now += 0.1
    for begin in sent:
        assert sum(begin <= at < begin + 60 for at in sent) <= DOCUMENTED[bucket]
    assert len(sent) >= 2 * DOCUMENTED[bucket]


@pytest.mark.parametrize("bucket", [Bucket.CREATE, Bucket.ACTION, Bucket.GET])
@pytest.mark.parametrize("is_told", [False, True])
def test_a_burst_of_two_windows_waits_for_one(desk, bucket, is_told):
    if is_told:
        desk.take(bucket).on_response(desk.headers(DOCUMENTED[bucket], DOCUMENTED[bucket] - 1))
    with ExitStack() as stack:
        permits = [
            stack.enter_context(desk.limiter.permit(bucket)) for _ in range(int(1.5 * DOCUMENTED[bucket]))
        ]
        waits = [permit.try_acquire() for permit in permits]
    assert waits[0] == 0
    assert 15 < max(waits) < 65


def test_the_table_is_the_references():
    assert [DOCUMENTED[bucket] for bucket in Bucket if bucket is not Bucket.PROJECTS] == [
        100, 10, 200, 20, 10, 50, 100, 50,
    ]  # fmt: skip


def test_the_first_requests_go_before_the_rest(desk):
    taken, wait = desk.drain(Bucket.LIST)
    assert len(taken) == 5
    assert wait < 0.1
    taken[0].on_response(desk.headers(100, 60))
    # A quarter of what is left may be in flight: other machines may use the key.
    taken, _ = desk.drain(Bucket.LIST)
    assert 5 < len(taken) < 30


def test_a_response_without_limit_headers_removes_the_limit(desk):
    desk.take(Bucket.CREATE).on_response({})
    for _ in range(500):
        desk.take(Bucket.CREATE)
    assert desk.limiter.rate(Bucket.CREATE) == math.inf
    assert desk.limiter.rate(Bucket.DELETE) == pytest.approx(9 / 60)
    # A failure that tells nothing proves nothing.
    desk.take(Bucket.DELETE).on_response({}, is_success=False)
    assert desk.limiter.rate(Bucket.DELETE) == pytest.approx(9 / 60)


def test_a_429_without_headers_restores_the_documented_limits(desk):
    desk.take(Bucket.CREATE).on_response({})
    desk.take(Bucket.CREATE).on_response({}, back_off=5)
    assert 5 <= desk.ask(Bucket.CREATE)[1] < 5.1
    desk.now += 5.5
    for _ in range(10):
        desk.take(Bucket.CREATE).on_response({})
        desk.now += 0.1
    assert 55 < desk.ask(Bucket.CREATE)[1] < 62


def test_headers_end_a_life_without_limits(desk):
    desk.take().on_response({})
    desk.told(200, 0)
    assert 19 < desk.ask()[1] <= 21


def test_listing_projects_has_no_default_limit(desk):
    for _ in range(1000):
        desk.take(Bucket.PROJECTS)
    assert desk.limiter.rate(Bucket.PROJECTS) == math.inf


# What the service tells


def test_nothing_is_sent_that_would_be_refused(desk):
    desk.told(200, 7)
    sent = 0
    for _ in range(50):
        permit, wait = desk.ask()
        if wait == 0:
            sent += 1
            permit.on_response(desk.headers(200, 7 - sent))
        desk.now += 0.1
    assert sent == 7
    assert 14 < desk.ask()[1] <= 16


@pytest.mark.parametrize("skew", [-86_400.0 * 400, -3600, 0, 3600, 86_400.0 * 400])
@pytest.mark.parametrize("start", [0.0, 12_345.6, 1e9])
def test_the_servers_clock_counts_and_not_ours(start, skew):
    desk = Desk(start=start)
    desk.told(200, 0, skew=skew)
    wait = desk.ask()[1]
    left = 60 - (EPOCH + skew) % 60
    assert left - 0.1 <= wait <= left + 1
    desk.now += left - 0.5
    assert desk.ask()[1] > 0
    desk.now += 1.5
    assert desk.ask()[1] == 0


def test_whole_seconds_reach_the_reset(desk):
    # An answer just after a full second says more precisely when the window ends.
    for second in (0.9, 1.5, 2.0, 3.7):
        desk.now = second
        desk.told(200, 0 if second > 3 else 100)
    assert desk.ask()[1] == pytest.approx(16.3, abs=0.01)


def test_a_server_clock_set_back_is_followed(desk):
    desk.told(200, 50)
    for _ in range(5):
        desk.now += 40
        desk.told(200, 3, skew=-3600)
    desk.told(200, 0, skew=-3600)
    wait = desk.ask()[1]
    left = 60 - (EPOCH - 3600 + desk.now) % 60
    assert left - 0.1 <= wait <= left + 1


def test_responses_out_of_order_raise_no_limit(desk):
    first, second, third = (desk.take() for _ in range(3))
    late = desk.headers(200, 9)
    third.on_response(desk.headers(200, 0))
    second.on_response(late)
    first.on_response(desk.headers(200, 5))
    assert desk.ask()[1] > 15


def test_a_late_response_changes_no_new_window(desk):
    slow = desk.take()
    before = desk.headers(200, 190)
    desk.now = 25.0
    desk.told(200, 0)
    slow.on_response(before)
    assert desk.ask()[1] > 50
    # Nor does one that says the old one was used up.
    desk.now = 85.0
    slow = desk.take()
    before = desk.headers(200, 0)
    desk.now = 145.0
    desk.told(200, 150)
    slow.on_response(before)
    assert desk.ask()[1] == 0


@pytest.mark.parametrize(("new", "left"), [(400, 250), (60, 0)])
def test_a_limit_that_changes_is_followed(desk, new, left):
    desk.told(200, 50)
    desk.told(new, left)
    assert (desk.ask()[1] == 0) is (left > 0)
    desk.now = 21.5
    desk.told(new, new - 1)
    assert desk.limiter._state.endpoints[Bucket.GET].limit.limit == new


def test_windows_of_another_length_are_found_out(desk):
    # The service's windows are of ten seconds.
    for second in range(0, 40, 2):
        desk.now = float(second)
        end = ((EPOCH + desk.now) // 10 + 1) * 10
        desk.told(20, 15, reset=end)
    assert desk.limiter._state.endpoints[Bucket.GET].limit.length == 10
    assert desk.limiter.rate(Bucket.GET) <= 2


NONSENSE = ["", "soon", "-5", "nan", "inf", "1e999", "0", "0x10", "5, 5", " ", "9" * 400]


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("name", ["date", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"])
def test_nonsense_is_survived(desk, name, nonsense):
    for _ in range(3):
        desk.told(200, 100)
        desk.now += 1
        permit = desk.take()
        permit.on_response(desk.headers(200, 99) | {name: nonsense})
        desk.now += 61
    assert desk.ask()[1] < 61


@pytest.mark.parametrize("ahead", [-3600.0, -1.0, 0.0, 366 * 86_400.0])
def test_an_absurd_reset_blocks_at_most_a_minute(desk, ahead):
    for _ in range(3):
        desk.told(200, 0, reset=EPOCH + desk.now + ahead)
        assert desk.ask()[1] <= 61
        desk.now += 61
        for permit in (desk.limiter.permit(Bucket.GET),):
            assert permit.try_acquire() == 0
            permit.on_response({}, is_success=False)


def test_more_left_than_the_limit_is_the_limit(desk):
    desk.told(10, 1_000_000)
    sent = 0
    for _ in range(100):
        permit, wait = desk.ask()
        if wait == 0:
            permit.on_response({})
            sent += 1
        desk.now += 0.1
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
def test_no_headers_break_the_limiter(answers):
    desk = Desk()
    for name, value, refused, pause in answers:
        for background in (False, True):
            with desk.limiter.permit(Bucket.GET, background=background) as permit:
                wait = permit.try_acquire()
                assert 0 <= wait < math.inf
                if wait == 0:
                    header = "date" if name == "date" else f"x-ratelimit-{name}"
                    for family in ("", "-requests"):
                        told = desk.headers(family=family) | {
                            header + (family if name != "date" else ""): value
                        }
                        permit.on_response(told, back_off=3.0 if refused else None)
        desk.now += pause
        assert desk.limiter.rate(Bucket.GET) >= 0


@pytest.mark.parametrize("form", ["{}", "{};w=60", "{}, {};w=3600", " {} ;w=1", "{},{}"])
def test_limits_are_read_from_headers_with_additions(desk, form):
    headers = desk.headers(200, 3)
    for name in ("limit", "remaining", "reset"):
        value = headers[f"x-ratelimit-{name}"]
        headers[f"x-ratelimit-{name}"] = form.replace("{}", value)
    desk.take().on_response(headers)
    taken, wait = 0, 0.0
    for _ in range(50):
        permit, wait = desk.ask()
        if wait == 0:
            taken += 1
            permit.on_response({})
    assert taken == 3
    assert 15 < wait <= 21


def test_an_unreadable_limit_is_still_a_limit(desk):
    for _ in range(10):
        desk.take(Bucket.CREATE).on_response({"x-ratelimit-limit": "ten", "x-ratelimit-remaining": "some"})
        desk.now += 0.1
    assert desk.ask(Bucket.CREATE)[1] > 50


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(("share", "own"), [(0.05, 1), (0.1, 2), (0.2, 4)])
def test_actions_and_polls_starve_neither(share, own, told):
    desk = Desk(share)
    if told:
        desk.told(20, 19, bucket=Bucket.UPDATE)
        desk.now += 61
    sent = {False: 0, True: 0}
    lines = {background: desk.limiter.permit(Bucket.UPDATE, background=background) for background in sent}
    for _ in range(3000):
        for background, permit in lines.items():
            if permit.try_acquire() == 0:
                sent[background] += 1
                permit.on_response(desk.headers(20, 19) if told else {}, is_success=told)
                lines[background] = desk.limiter.permit(Bucket.UPDATE, background=background)
        desk.now += 0.1
    # Five windows: all that is ours is used, and where there is something to share, both get of it.
    assert sum(sent.values()) >= 4 * own
    assert all(sent.values()) or own == 1


# Both families


def test_the_stricter_of_both_families_counts(desk):
    own = desk.headers(200, 150)
    desk.take().on_response(own | desk.headers(100, 0, family="-requests"))
    assert 19 < desk.ask()[1] <= 21
    # The second family counts all calls of the key.
    assert 19 < desk.ask(Bucket.LIST)[1] <= 21
    desk.now = 22.0
    desk.take().on_response(desk.headers(200, 0) | desk.headers(100, 99, family="-requests"))
    assert desk.ask()[1] > 50
    assert desk.ask(Bucket.LIST)[1] == 0


def test_alternating_hour_and_minute_limits_both_count(desk):
    hour = (EPOCH // 3600 + 1) * 3600
    desk.take().on_response(desk.headers(1000, 3, family="-requests", reset=hour))
    desk.take().on_response(desk.headers(100, 50, family="-requests"))
    sent = 0
    for _ in range(600):
        desk.now += 1
        permit, wait = desk.ask()
        if wait == 0:
            sent += 1
            permit.on_response(desk.headers(100, 50, family="-requests"))
    # What was told of the hour counts, although only the minute is told since.
    assert sent <= 3
    assert desk.ask()[1] > 60
    desk.now = hour - EPOCH + 2
    assert desk.ask()[1] == 0


def test_the_second_family_is_not_assumed(desk):
    desk.told(200, 150)
    assert desk.limiter._state.key_windows == {}


# Refusals, losses, ways back


def test_a_refusal_backs_off_all(desk):
    desk.told(200, 100)
    waiting = [desk.take(), desk.take()]
    waiting[0].on_response(desk.headers(200, 90), back_off=7)
    for background in (False, True):
        assert 7 <= desk.ask(background=background)[1] < 7.1
    assert desk.ask(Bucket.LIST)[1] == 0
    # A shorter word of another does not shorten it.
    waiting[1].on_response(desk.headers(200, 89), back_off=1)
    assert 6.9 <= desk.ask()[1] < 7.1


def test_after_a_refusal_they_go_slowly(desk):
    for _ in range(8):
        desk.told(200, 199)
        desk.now += 60
    desk.told(200, 150)
    desk.take().on_response(desk.headers(200, 149), back_off=2)
    desk.now += 2.001
    taken, _ = desk.drain()
    assert 1 <= len(taken) <= 11
    taken[0].on_response(desk.headers(200, 148))
    assert len(desk.drain()[0]) > 20


def test_no_hint_keeps_others_away_for_ever(desk):
    desk.take().on_response({}, back_off=1e9)
    assert 60 <= desk.ask()[1] < 67


def test_a_used_up_hourly_limit_lasts_an_hour(desk):
    hour = (EPOCH // 3600 + 1) * 3600
    desk.take().on_response(desk.headers(1000, 500, family="-requests", reset=hour), back_off=1800)
    assert desk.ask()[1] < 67
    desk.now += 70
    desk.take().on_response(desk.headers(1000, 0, family="-requests", reset=hour), back_off=hour - EPOCH - 70)
    assert desk.ask()[1] == pytest.approx(hour - EPOCH - 70, abs=2)


def test_a_request_that_never_left_is_given_back(desk):
    desk.told(200, 3)
    for _ in range(100):
        desk.take().on_no_response(may_have_arrived=False)
    cold = Desk()
    for background in (False, True):
        for _ in range(100):
            cold.take(Bucket.CREATE, background=background).on_no_response(may_have_arrived=False)


def test_a_request_that_was_lost_is_counted(desk):
    desk.told(200, 3)
    for _ in range(3):
        desk.take().on_no_response(may_have_arrived=True)
    assert desk.ask()[1] > 15
    desk.now += 22
    with desk.limiter.permit(Bucket.GET) as permit:
        assert permit.try_acquire() == 0
    # Broken off: neither under way forever, nor forgotten.
    assert desk.limiter._state.endpoints[Bucket.GET].limit.in_flight == 0
    assert desk.limiter._state.endpoints[Bucket.GET].limit.remaining == 199


# Lines


def test_sleeping_callers_keep_their_order_and_permits(desk):
    desk.told(200, 3)
    desk.drain()
    permits = [desk.limiter.permit(Bucket.GET) for _ in range(6)]
    waits = [permit.try_acquire() for permit in permits]
    assert all(waits)
    assert waits == sorted(waits)
    desk.now += 22
    # Each caller has a permit: the first to wake takes its own, and leaves the others theirs.
    assert [permit.try_acquire() for permit in reversed(permits)] == 6 * [0]


def test_nobody_takes_what_is_for_those_ahead(desk):
    desk.told(200, 0)
    permits = [desk.limiter.permit(Bucket.CREATE) for _ in range(3)]
    assert [permit.try_acquire() == 0 for permit in permits] == [True, False, False]
    permits[0].on_response(desk.headers(10, 1))
    assert permits[2].try_acquire() > 15
    assert permits[1].try_acquire() == 0


def test_who_gives_up_leaves_no_hole(desk):
    permits = [desk.limiter.permit(Bucket.CREATE) for _ in range(5)]
    assert [permit.try_acquire() == 0 for permit in permits] == [True, False, False, False, False]
    permits[0].on_response(desk.headers(10, 1))
    for permit in permits[1:4]:
        permit.__exit__()
    assert permits[4].try_acquire() == 0


def test_a_retried_call_keeps_its_place(desk):
    desk.told(200, 150)
    first = desk.take()
    first.on_response(desk.headers(200, 0), back_off=30)
    later = desk.limiter.permit(Bucket.GET)
    assert later.try_acquire() > 29
    assert first.try_acquire() > 29
    assert desk.limiter._state.endpoints[Bucket.GET].queues[0] == [first.number, later.number]


def test_polling_leaves_a_reserve_to_actions(desk):
    desk.told(200, 12)
    assert desk.ask(background=True)[1] > 15
    assert desk.ask()[1] == 0


def test_polling_is_spread_and_bursts_after_idling(desk):
    for _ in range(8):
        desk.told(200, 199)
        desk.now += 60
    desk.told(200, 199)
    burst, _ = desk.drain(background=True)
    assert len(burst) in {9, 10}
    for number, permit in enumerate(burst):
        permit.on_response(desk.headers(200, 198 - number))
    sent = []
    while desk.now < 8 * 60 + 19:
        permit, wait = desk.ask(background=True)
        if wait == 0:
            sent.append(desk.now)
            permit.on_response(desk.headers(200, 198 - len(burst) - len(sent)))
        desk.now += 0.01
    gaps = [b - a for a, b in itertools.pairwise(sent)]
    assert max(gaps) < 2 * min(gaps)


# Shares and rates


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_a_share_is_kept_to(share):
    desk = Desk(share)
    sent = []
    for _ in range(2400):
        permit, wait = desk.ask()
        if wait == 0:
            sent.append(desk.now)
            permit.on_response(desk.headers(200, 199))
        desk.now += 0.1
    per_window = [sum(20 + 60 * n <= at < 80 + 60 * n for at in sent) for n in range(3)]
    assert all(0.8 * share * 200 <= count <= share * 200 for count in per_window), per_window


def test_the_smallest_share_is_one_request():
    desk = Desk(0.01)
    desk.told(10, 9, bucket=Bucket.CREATE)
    desk.now = 25
    assert desk.ask(Bucket.CREATE)[1] == 0
    assert desk.ask(Bucket.CREATE)[1] > 50


def test_rates_are_what_is_left_to_polling(desk):
    assert desk.limiter.rate(Bucket.GET) == pytest.approx(188 / 60)
    assert desk.limiter.rate(Bucket.LIST) == pytest.approx(94 / 60)
    assert Desk(0.5).limiter.rate(Bucket.GET) == pytest.approx(94 / 60)
    desk.take().on_response(desk.headers(200, 199) | desk.headers(60, 59, family="-requests"))
    assert desk.limiter.rate(Bucket.GET) == pytest.approx(57 / 60)


@given(st.floats(0, 1e6))
def test_a_recheck_comes_within_ten_seconds(wait):
    assert 0 < recheck_delay(wait) <= max(0.001, min(wait, 10))
