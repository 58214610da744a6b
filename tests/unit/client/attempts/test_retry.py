"""Whether and when a failed call is sent again: pure functions, driven by hand."""

import dataclasses
import itertools
import math
import time
from email.utils import formatdate

import pytest
from attempts import AGENT, CALLS, NOW, Run, refusal, repeat, said
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.client import (
    ConnixAPIError,
    ConnixConflictError,
    ConnixConnectionError,
    ConnixError,
    ConnixNotFoundError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixServerError,
    ConnixTimeoutError,
    ConnixValidationError,
)
from connix_provider.client.attempts.flow import perform
from connix_provider.client.calls.steps import Response
from connix_provider.client.endpoints import update_agent
from connix_provider.client.ratelimit import Bucket, RateLimiter, retry_after_hint
from connix_provider.client.ratelimit.headers import parse_number
from connix_provider.client.ratelimit.server_clock import server_time
from connix_provider.client.retry import RetryPolicy, retry_delay
from connix_provider.client.transient import is_transient

ONCE = {"create", "restart"}


def test_each_call_has_its_bucket_and_repeat_rule():
    assert {name for name, call in CALLS.items() if not call.idempotent} == ONCE
    assert {name: call.bucket for name, call in CALLS.items()} == {
        "list": Bucket.LIST,
        "get": Bucket.GET,
        "create": Bucket.CREATE,
        "update": Bucket.UPDATE,
        "delete": Bucket.DELETE,
        "start": Bucket.ACTION,
        "pause": Bucket.ACTION,
        "stop": Bucket.ACTION,
        "restart": Bucket.ACTION,
        "logs": Bucket.LOGS,
        "metrics": Bucket.METRICS,
    }


def failure(kind, executed, hint):
    error = (
        kind("words")
        if not isinstance(kind, int)
        else {429: ConnixRateLimitError, 409: ConnixConflictError, 404: ConnixNotFoundError}.get(
            kind, ConnixServerError if kind >= 500 else ConnixAPIError
        )(kind, "c", "m")
    )
    error.may_have_executed = executed
    if isinstance(error, ConnixAPIError):
        error.retry_after = hint
    return error


FAILURES = st.builds(
    failure,
    st.sampled_from(
        [
            ConnixConnectionError,
            ConnixTimeoutError,
            ConnixResponseError,
            400,
            401,
            403,
            404,
            405,
            408,
            409,
            425,
            429,
            *range(500, 600),
        ]
    ),
    st.booleans(),
    st.none() | st.floats(0, 1e6),
)
POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 8),
    base_delay=st.floats(0.01, 5),
    max_delay=st.floats(0.01, 60),
    total_timeout=st.floats(0.1, 1000),
)
JITTER = st.floats(0, 1)
PASSING = {408, 425, 429, *range(500, 600)} - {501}


@given(FAILURES, st.booleans(), st.integers(1, 10_000), st.integers(0, 10_000), POLICIES, JITTER)
def test_the_decision_keeps_its_promises(error, idempotent, attempt, refusals, policy, jitter):
    delay = retry_delay(
        error, idempotent=idempotent, attempt=attempt, refusals=refusals, policy=policy, jitter=jitter
    )
    status = getattr(error, "status_code", None)
    passes = status is None or status in PASSING
    assert is_transient(error) is passes
    limited = status == 429
    allowed = (
        passes and (idempotent or not error.may_have_executed) and (limited or attempt < policy.max_attempts)
    )
    assert (delay is not None) is allowed
    if delay is not None:
        hint = getattr(error, "retry_after", None)
        if hint is not None and not limited:
            hint = min(hint, 60.0)
        assert delay >= (hint or 0.0)
        assert delay <= max(policy.max_delay, hint + min(5.0, 0.1 * hint + 0.1) if hint is not None else 0.0)
        if hint is None:
            assert delay >= min(policy.base_delay, policy.max_delay) / 2


@given(POLICIES, st.integers(1, 7))
def test_the_backoff_doubles_up_to_its_bound(policy, attempt):
    if attempt >= policy.max_attempts:
        return
    error = failure(503, False, None)
    most = min(policy.max_delay, policy.base_delay * 2 ** (attempt - 1))
    for jitter, expected in ((0.0, most / 2), (0.5, 0.75 * most), (1.0, most)):
        delay = retry_delay(error, idempotent=True, attempt=attempt, policy=policy, jitter=jitter)
        assert delay == pytest.approx(expected)


def test_a_limit_without_a_hint_backs_off():
    policy = RetryPolicy()
    delays = [
        retry_delay(
            failure(429, False, hint), idempotent=False, attempt=1, refusals=n, policy=policy, jitter=1.0
        )
        for n in range(1, 10)
        for hint in (None, 0.0, 0.001)
    ]
    assert delays[::3] == delays[1::3] == delays[2::3] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_an_unknown_failure_does_not_pass():
    assert not is_transient(ConnixError("odd"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": "5"},
        {"max_attempts": 1.5},
        {"total_timeout": 0},
        {"total_timeout": -1},
        {"total_timeout": math.nan},
        {"total_timeout": "300"},
    ],
)
def test_bounds_that_bound_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


OUTCOMES = st.sampled_from(
    [
        lambda: failure(ConnixConnectionError, True, None),
        lambda: failure(ConnixConnectionError, False, None),
        lambda: failure(ConnixTimeoutError, True, None),
        lambda: refusal(500),
        lambda: refusal(503, retry_after=7),
        lambda: refusal(429),
        lambda: refusal(429, retry_after=3),
        lambda: refusal(429, retry_after=0),
        lambda: refusal(404),
        lambda: refusal(409),
        lambda: Response(200, {}, b"not JSON"),
        lambda: Response(200, {}, AGENT),
    ]
)


@given(
    st.sampled_from(sorted(CALLS)),
    st.lists(OUTCOMES, max_size=30),
    POLICIES,
    st.floats(0, 3),
    JITTER,
    st.floats(0, 2),
)
def test_no_flow_breaks_its_bounds(name, outcomes, policy, took, jitter, oversleep):
    given_out = [outcome() for outcome in outcomes]

    def then_nothing():
        yield from given_out
        yield from repeat(lambda: failure(ConnixConnectionError, True, None))

    run = Run(CALLS[name], policy, then_nothing(), took=took, jitter=jitter, oversleep=oversleep)
    own = [step for step in run.sent if step.call is CALLS[name]]
    outcomes_of_own = [
        outcome for step, outcome in zip(run.sent, given_out, strict=False) if step.call is CALLS[name]
    ]
    limited = sum(isinstance(outcome, Response) and outcome.status_code == 429 for outcome in outcomes_of_own)
    assert len(own) <= policy.max_attempts + limited
    assert all(at < NOW + policy.total_timeout for at in run.sent_at)
    assert all(0 < step.timeout <= policy.total_timeout + 1e-6 for step in run.sent)
    assert len({step.request_id for step in run.sent}) == len(run.sent)
    assert (run.result is None) is (run.error is not None)
    if name in ONCE:
        doubtful = [
            outcome.may_have_executed
            if isinstance(outcome, ConnixError)
            else outcome.status_code == 200 or outcome.status_code >= 500
            for outcome in outcomes_of_own
        ]
        # Whatever may have been carried out is the last that is sent.
        assert True not in doubtful[:-1]
    if run.error is not None:
        assert run.error.request_id


@given(st.sampled_from(sorted(CALLS)), st.integers(1, 50), st.floats(0.5, 5))
def test_a_429_is_always_repeated_in_time(name, refusals, hint):
    policy = RetryPolicy(max_attempts=1, total_timeout=10_000)

    def outcomes():
        for _ in range(refusals):
            yield refusal(429, retry_after=hint)
        yield said(name)

    run = Run(CALLS[name], policy, outcomes())
    assert run.result is not None
    assert len(run.sent) == refusals + 1
    assert all(after - before >= hint for before, after in itertools.pairwise(run.sent_at))


def test_retry_after_beyond_the_deadline_fails_no_call():
    policy = RetryPolicy(total_timeout=math.inf, deadline=NOW + 10)
    run = Run(CALLS["get"], policy, repeat(lambda: refusal(429, retry_after=60)))
    assert isinstance(run.error, ConnixRateLimitError)
    assert run.error.retry_after == 60
    assert (len(run.sent), run.now) == (1, NOW + 10)
    # A call outside of a task has no such time: it is told at once.
    run = Run(CALLS["get"], RetryPolicy(total_timeout=10), repeat(lambda: refusal(429, retry_after=60)))
    assert (run.error.retry_after, len(run.sent), run.pauses) == (60, 1, [])
    # But who asked not to wait for long is told at once.
    policy = RetryPolicy(total_timeout=10, max_permit_wait=5)
    run = Run(CALLS["get"], policy, repeat(lambda: refusal(429, retry_after=60)))
    assert (len(run.sent), run.pauses) == (1, [])


@pytest.mark.parametrize("status", [500, 503, 599, 408])
@pytest.mark.parametrize("hint", [61, 900, 1e9])
def test_a_hint_of_a_failing_server_is_capped(hint, status):
    outcomes = iter([refusal(status, retry_after=hint), said("get")])
    run = Run(CALLS["get"], RetryPolicy(total_timeout=120), outcomes)
    assert run.result is not None
    assert 60 <= run.now - NOW <= 67


@pytest.mark.parametrize("hint", [301, 3600, 1e9])
def test_a_doubtful_hint_is_tested_after_a_minute(hint):
    outcomes = iter([refusal(429, retry_after=hint), said("create")])
    policy = RetryPolicy(total_timeout=math.inf, deadline=NOW + 300)
    run = Run(CALLS["create"], policy, outcomes)
    assert run.result.id == "a"
    assert 60 <= run.now - NOW <= 67
    run = Run(CALLS["create"], policy, repeat(lambda: refusal(429, retry_after=hint)))
    assert isinstance(run.error, ConnixRateLimitError)
    assert run.now == NOW + 300
    assert 4 <= len(run.sent) <= 5


def test_nothing_is_sent_after_the_deadline():
    run = Run(CALLS["create"], RetryPolicy(deadline=NOW - 1), repeat(AssertionError))
    assert isinstance(run.error, ConnixTimeoutError)
    assert "before POST /projects/p/agents was sent" in str(run.error)
    assert not run.error.may_have_executed
    assert run.sent == []


@pytest.mark.parametrize("step", [-3600, 3600])
def test_total_timeout_ignores_changes_of_the_wall_clock(step):
    outcomes = (repeat(refusal(503)), repeat(refusal(503)))
    runs = [
        Run(CALLS["get"], RetryPolicy(total_timeout=20, max_attempts=99), each, clock_step=by)
        for by, each in zip((0, step), outcomes, strict=True)
    ]
    assert runs[0].pauses == runs[1].pauses
    assert 10 < runs[1].now - NOW < 20


def test_deadline_follows_the_wall_clock():
    policy = RetryPolicy(total_timeout=math.inf, deadline=NOW + 20, max_attempts=99)
    run = Run(CALLS["get"], policy, repeat(refusal(503)), clock_step=3600)
    assert (len(run.sent), run.error.status_code) == (1, 503)


def test_the_nearer_of_deadline_and_total_timeout_counts():
    for policy in (RetryPolicy(deadline=NOW + 7, total_timeout=50), RetryPolicy(total_timeout=7)):
        run = Run(CALLS["get"], policy, iter([said("get")]))
        assert run.sent[0].timeout == 7


def test_an_overlong_pause_sends_no_further_request():
    outcomes = repeat(lambda: failure(ConnixConnectionError, False, None))
    run = Run(CALLS["get"], RetryPolicy(total_timeout=10), outcomes, oversleep=20)
    assert isinstance(run.error, ConnixConnectionError)
    assert len(run.sent) == 1


@pytest.mark.parametrize("name", sorted(set(CALLS) - ONCE))
def test_idempotent_calls_are_repeated(name):
    outcomes = [failure(ConnixTimeoutError, True, None), refusal(500), said(name)]
    run = Run(CALLS[name], RetryPolicy(), iter(outcomes))
    assert run.error is None
    assert len(run.sent) == 3
    assert run.pauses == [pytest.approx(0.375), pytest.approx(0.75)]


@pytest.mark.parametrize("name", sorted(ONCE))
def test_unsafe_calls_are_repeated_only_if_not_executed(name):
    doubtful = (failure(ConnixTimeoutError, True, None), refusal(502), refusal(408), Response(200, {}, b"[]"))
    for outcome in doubtful:
        run = Run(CALLS[name], RetryPolicy(), iter([outcome]))
        assert run.error.may_have_executed
        assert len(run.sent) == 1
    sure = [failure(ConnixConnectionError, False, None), refusal(429), said(name)]
    run = Run(CALLS[name], RetryPolicy(), iter(sure))
    assert run.result is not None
    assert len(run.sent) == 3


def test_doubt_about_an_execution_stays():
    outcomes = [failure(ConnixTimeoutError, True, None), refusal(403)]
    assert Run(CALLS["start"], RetryPolicy(), iter(outcomes)).error.may_have_executed
    assert not Run(CALLS["start"], RetryPolicy(), iter(outcomes[1:])).error.may_have_executed


LOST = failure(ConnixTimeoutError, True, None)


@pytest.mark.parametrize(
    ("name", "status", "settled"),
    [
        ("start", "running", True),
        ("start", "creating", False),
        ("start", "updating", False),
        ("start", "stopped", False),
        ("start", "error", False),
        ("pause", "paused", True),
        ("pause", "running", False),
        ("stop", "stopped", True),
        ("stop", "paused", False),
    ],
)
def test_a_get_decides_a_refused_repeat(name, status, settled):
    look = Response(200, {}, f'{{"id": "a", "status": "{status}"}}'.encode())
    run = Run(CALLS[name], RetryPolicy(), iter([LOST, refusal(409), look]))
    assert [step.call.method for step in run.sent] == ["POST", "POST", "GET"]
    if settled:
        assert (run.result.agent_id, run.result.status) == ("a", status)
        assert "was executed" in run.result.message
    else:
        assert isinstance(run.error, ConnixConflictError)
        assert run.error.may_have_executed


def test_a_refused_repeat_of_update_reads_the_agent():
    changes = {"name": "x", "config": {"temperature": 1, "new": {"a": [1, 2]}}, "description": None}
    call = update_agent("p", "a", changes)
    has = b'{"id":"a","status":"running","name":"x","config":{"temperature":1.0,"new":{"a":[1,2],"b":0}}}'
    run = Run(call, RetryPolicy(), iter([LOST, refusal(409), Response(200, {}, has)]))
    assert run.result.name == "x"
    for differs in (
        has.replace(b"1.0", b"0.9"),
        has.replace(b'"a":[1,2],', b""),
        has.replace(b'"x"', b'"y"'),
    ):
        run = Run(call, RetryPolicy(), iter([LOST, refusal(409), Response(200, {}, differs)]))
        assert isinstance(run.error, ConnixConflictError)


def test_a_delete_whose_repeat_finds_nothing_is_done():
    gone = refusal(404, code="agent_not_found")
    run = Run(CALLS["delete"], RetryPolicy(), iter([LOST, gone]))
    assert run.result.agent_id == "a"
    assert "response was lost" in run.result.message
    run = Run(CALLS["delete"], RetryPolicy(), iter([gone]))
    assert isinstance(run.error, ConnixNotFoundError)
    run = Run(CALLS["delete"], RetryPolicy(), iter([refusal(429), gone]))
    assert isinstance(run.error, ConnixNotFoundError)


@pytest.mark.parametrize(
    "other",
    [refusal(404, code="project_not_found"), refusal(404), Response(404, {}, b"<html>no route</html>")],
)
def test_another_404_confirms_no_repeated_delete(other):
    run = Run(CALLS["delete"], RetryPolicy(), itertools.chain([LOST], repeat(other)))
    assert isinstance(run.error, ConnixNotFoundError)
    assert not run.error.is_of_an_agent
    assert run.error.may_have_executed


def test_a_failed_check_leaves_the_refusal():
    run = Run(CALLS["start"], RetryPolicy(), iter([LOST, refusal(409), refusal(404)]))
    assert isinstance(run.error, ConnixConflictError)
    run = Run(CALLS["start"], RetryPolicy(total_timeout=10), iter([LOST, refusal(409)]), took=5)
    assert isinstance(run.error, ConnixConflictError)
    assert len(run.sent) == 2


def test_the_check_is_retried_like_any_get():
    look = Response(200, {}, AGENT)
    run = Run(CALLS["start"], RetryPolicy(), iter([LOST, refusal(409), refusal(503), look]))
    assert run.result.status == "running"
    assert len(run.sent) == 4


# What the service says of the time to come again


def headers(**values):
    return {name.replace("_", "-"): str(value) for name, value in values.items()}


DATE = formatdate(NOW, usegmt=True)
RESET = {"x_ratelimit_reset": NOW + 30}
ALL = headers(date=DATE, retry_after=20, **RESET)


def test_hints_count_in_their_order():
    assert retry_after_hint(ALL, {"retry_after": 10}) == 10
    assert retry_after_hint(ALL, {}) == 20
    assert retry_after_hint(headers(date=DATE, **RESET)) == 30
    assert retry_after_hint(headers(date=DATE)) is None
    assert retry_after_hint({}) is None


@pytest.mark.parametrize("skew", [-86_400, -45, 0, 45, 86_400])
def test_the_servers_clock_counts_and_not_ours(monkeypatch, skew):
    monkeypatch.setattr(time, "time", lambda: NOW + skew)
    assert retry_after_hint(headers(date=DATE, **RESET)) == 30
    assert retry_after_hint(headers(date=DATE, retry_after=formatdate(NOW + 12, usegmt=True))) == 12
    assert retry_after_hint(headers(date=DATE, retry_after=formatdate(NOW - 12, usegmt=True))) == 0
    # Without the server's clock its moments say nothing.
    for no_date in ({}, {"date": "garbage"}):
        assert retry_after_hint(headers(x_ratelimit_reset=NOW + 30, **no_date)) is None
        assert retry_after_hint(headers(retry_after=formatdate(NOW + 12, usegmt=True), **no_date)) is None
        assert retry_after_hint(headers(retry_after=12, **no_date)) == 12


@pytest.mark.parametrize("reset", [NOW * 1000, NOW + 86_500, 1e300])
def test_an_unparseable_reset_is_ignored(reset):
    told = headers(date=DATE, x_ratelimit_reset=reset)
    assert retry_after_hint(told) is None
    assert retry_after_hint(told | {"x-ratelimit-reset-requests": str(NOW + 40)}) == 40
    assert retry_after_hint(headers(date=DATE, x_ratelimit_reset=NOW + 86_400)) == 86_400


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 15 Jan 2024 16:00:00 GMT",
        "Mon, 15 Jan 2024 16:00:00 -0000",
        "Mon Jan 15 16:00:00 2024",
        "Monday, 15-Jan-24 16:00:00 GMT",
    ],
)
def test_dates_of_every_http_form_are_in_gmt(monkeypatch, date):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert server_time({"date": date}) == NOW
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        " ",
        "soon",
        "-5",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "0x10",
        "Thu, 99 Foo 2024 99:99:99",
        "\xa0",
        "5s",
    ],
)
def test_unreadable_hints_are_ignored(nonsense):
    assert retry_after_hint(headers(date=DATE, retry_after=nonsense, **RESET)) == 30
    assert retry_after_hint(headers(date=DATE, x_ratelimit_reset=nonsense)) is None
    assert retry_after_hint(ALL, {"retry_after": nonsense}) == 20
    assert server_time({"date": nonsense}) is None


@pytest.mark.parametrize("nonsense", [None, True, [], {}, -1, math.nan, math.inf, 10**400])
def test_unreadable_hints_in_the_body_are_ignored(nonsense):
    assert parse_number(nonsense) is None
    assert retry_after_hint(ALL, {"retry_after": nonsense}) == 20


def test_a_reset_counts_only_for_used_up_limits():
    assert retry_after_hint(headers(date=DATE, x_ratelimit_remaining=0, **RESET)) == 30
    assert retry_after_hint(headers(date=DATE, x_ratelimit_remaining=87, **RESET)) is None
    per_key = {"x_ratelimit_reset_requests": NOW + 50}
    assert retry_after_hint(headers(date=DATE, x_ratelimit_remaining_requests=0, **per_key, **RESET)) == 50
    both = headers(date=DATE, x_ratelimit_remaining=0, x_ratelimit_remaining_requests=5, **per_key, **RESET)
    assert retry_after_hint(both) == 30


def test_a_reset_counts_only_with_a_429():
    told = headers(date=DATE, **RESET)
    assert retry_after_hint(told, refused=False) is None
    assert retry_after_hint(ALL, refused=False) == 20
    for status, hint in ((429, 30), (500, None), (404, None)):
        policy = RetryPolicy(max_attempts=1, total_timeout=100, max_permit_wait=1)
        flow = perform(CALLS["get"], policy, limiter=RateLimiter())
        next(flow)
        with pytest.raises(ConnixAPIError) as caught:
            flow.send(Response(status, told, b""))
        assert caught.value.retry_after == hint


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_no_header_breaks_the_hint(date, retry_after, reset):
    hint = retry_after_hint({"date": date, "retry-after": retry_after, "x-ratelimit-reset": reset})
    assert hint is None or 0 <= hint < math.inf


def test_an_unreadable_redirect_is_an_error():
    run = Run(CALLS["get"], RetryPolicy(), iter([Response(302, {"location": "http://[::1"}, b"")]))
    assert "an address that cannot be read" in str(run.error)


@pytest.mark.parametrize("reply", [Response(204, {}, b""), Response(202, {}, b" ")])
def test_an_update_with_an_empty_response_is_checked(reply):
    run = Run(CALLS["update"], RetryPolicy(), iter([reply, refusal(503), Response(200, {}, AGENT)]))
    assert [step.call.method for step in run.sent] == ["PUT", "GET", "GET"]
    assert run.result.id == "a"


def test_an_update_with_an_unreadable_response_was_accepted():
    for outcomes in ([refusal(404)], [refusal(503)] * 5):
        policy = RetryPolicy(total_timeout=100, max_permit_wait=5)
        run = Run(CALLS["update"], policy, iter([Response(204, {}, b""), *outcomes]))
        assert type(run.error) is ConnixResponseError
        assert run.error.may_have_executed
        assert run.error.request_id == run.sent[-1].request_id
        assert "204 to PUT" in str(run.error)
        assert "could not be read either: Connix responded " in str(run.error)
        assert sum(step.call.method == "PUT" for step in run.sent) == 1
    run = Run(CALLS["update"], RetryPolicy(total_timeout=5), iter([Response(204, {}, b"")]), took=6)
    assert len(run.sent) == 1
    assert run.error.may_have_executed


def test_every_unreadable_result_is_a_response_error():
    def read(body):
        raise RecursionError("secret")

    call = dataclasses.replace(CALLS["create"], read=read)
    run = Run(call, RetryPolicy(), iter([Response(201, {}, b"{}")]))
    assert isinstance(run.error, ConnixResponseError)
    assert str(run.error).endswith("RecursionError")


def test_a_bad_request_is_never_repeated():
    run = Run(CALLS["get"], RetryPolicy(), iter([refusal(400)]))
    assert isinstance(run.error, ConnixValidationError)
