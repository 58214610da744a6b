"""Whether and when a failed call is sent again: pure functions, driven by hand."""

import itertools
import math

import pytest
from attempts import AGENT, CALLS, NOW, Run, failure, ok_response, refusal, repeat
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.client import (
    ConnixConnectionError,
    ConnixError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixTimeoutError,
    ConnixValidationError,
)
from connix_provider.client.calls.steps import Response
from connix_provider.client.ratelimit import Bucket
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
        yield ok_response(name)

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
    outcomes = iter([refusal(status, retry_after=hint), ok_response("get")])
    run = Run(CALLS["get"], RetryPolicy(total_timeout=120), outcomes)
    assert run.result is not None
    assert 60 <= run.now - NOW <= 67


@pytest.mark.parametrize("hint", [301, 3600, 1e9])
def test_a_doubtful_hint_is_tested_after_a_minute(hint):
    outcomes = iter([refusal(429, retry_after=hint), ok_response("create")])
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
        run = Run(CALLS["get"], policy, iter([ok_response("get")]))
        assert run.sent[0].timeout == 7


def test_an_overlong_pause_sends_no_further_request():
    outcomes = repeat(lambda: failure(ConnixConnectionError, False, None))
    run = Run(CALLS["get"], RetryPolicy(total_timeout=10), outcomes, oversleep=20)
    assert isinstance(run.error, ConnixConnectionError)
    assert len(run.sent) == 1


@pytest.mark.parametrize("name", sorted(set(CALLS) - ONCE))
def test_idempotent_calls_are_repeated(name):
    outcomes = [failure(ConnixTimeoutError, True, None), refusal(500), ok_response(name)]
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
    sure = [failure(ConnixConnectionError, False, None), refusal(429), ok_response(name)]
    run = Run(CALLS[name], RetryPolicy(), iter(sure))
    assert run.result is not None
    assert len(run.sent) == 3


def test_doubt_about_an_execution_stays():
    outcomes = [failure(ConnixTimeoutError, True, None), refusal(403)]
    assert Run(CALLS["start"], RetryPolicy(), iter(outcomes)).error.may_have_executed
    assert not Run(CALLS["start"], RetryPolicy(), iter(outcomes[1:])).error.may_have_executed


def test_a_bad_request_is_never_repeated():
    run = Run(CALLS["get"], RetryPolicy(), iter([refusal(400)]))
    assert isinstance(run.error, ConnixValidationError)
