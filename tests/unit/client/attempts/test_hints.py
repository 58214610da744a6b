"""No hint delays the next poll by more than a minute, and no limit hides what made a call fail."""

import itertools
import json
from email.utils import formatdate

import pytest
from attempts import CALLS, NOW, Run, ok_response, refusal, repeat
from timewarp import Timewarp

from connix_provider.client import ConnixAPIError, ConnixRateLimitError, ConnixServerError
from connix_provider.client.attempts.flow import perform
from connix_provider.client.calls.steps import Response, Sleep
from connix_provider.client.ratelimit import Bucket, RateLimiter
from connix_provider.client.retry import RetryPolicy
from connix_provider.emulator import Fault

HINTS = {
    "Retry-After 61": {"retry-after": "61"},
    "Retry-After 3600": {"retry-after": "3600"},
    "Retry-After 1e9": {"retry-after": "1e9"},
    "Retry-After date": {"retry-after": formatdate(NOW + 3600, usegmt=True)},
    "Retry-After far date": {"retry-after": formatdate(NOW + 10**9, usegmt=True)},
    "reset in an hour": {
        "x-ratelimit-limit": "200",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(NOW + 3600),
    },
    "reset of the key in an hour": {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": str(NOW + 3600),
    },
    "reset tomorrow": {
        "x-ratelimit-limit": "200",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(NOW + 86_000),
    },
    "reset in milliseconds": {
        "x-ratelimit-limit": "200",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(1000 * (NOW + 60)),
    },
    "nothing left, no reset": {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0"},
    "none": {},
}
BODY_HINTS = (None, 61, 3600, 10**9)
STATUSES = (429, 503, 500, 529)


def refused(status, headers, hint):
    stated = {"code": "c", "message": "m"} | ({} if hint is None else {"retry_after": hint})
    return Response(
        status, {"date": formatdate(NOW, usegmt=True)} | headers, json.dumps({"error": stated}).encode()
    )


class Process:
    """One process's limiter on a clock that is moved by hand."""

    def __init__(self):
        self.now = NOW
        self.limiter = RateLimiter(clock=lambda: self.now)

    def call(self, name, *outcomes, background=True, **bounds):
        """Carry out one call at once; the seconds that it would sleep are not slept."""
        policy = RetryPolicy(max_attempts=1, **{"total_timeout": 60.0, "max_permit_wait": 0.0, **bounds})
        clocks = {"clock": lambda: self.now, "epoch": lambda: self.now}
        flow = perform(CALLS[name], policy, limiter=self.limiter, background=background, **clocks)
        outcomes, outcome = iter(outcomes), None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration:
                return True
            except ConnixRateLimitError as error:
                return error
            except ConnixServerError as error:
                return error
            assert not isinstance(step, Sleep)
            outcome = next(outcomes)


@pytest.mark.parametrize("name", ["get", "list"])
@pytest.mark.parametrize("headers", HINTS.values(), ids=HINTS)
def test_a_poll_goes_a_minute_after_a_refusal(name, headers):
    for status, hint in itertools.product(STATUSES, BODY_HINTS):
        process = Process()
        assert process.call(name, refused(status, headers, hint)) is not True, (status, hint)
        process.now += 60
        assert process.call(name, ok_response(name)) is True, (status, hint)


@pytest.mark.parametrize("headers", HINTS.values(), ids=HINTS)
def test_a_429_of_one_endpoint_delays_no_other(headers):
    for hint in BODY_HINTS:
        process = Process()
        process.call("list", refused(429, headers, hint))
        process.now += 60
        assert process.call("get", ok_response("get")) is True, hint
        assert process.call("list", ok_response("list")) is True, hint


@pytest.mark.parametrize("headers", HINTS.values(), ids=HINTS)
def test_endless_refusals_are_met_once_a_minute(headers):
    process = Process()
    for _ in range(5):
        assert process.call("get", refused(429, headers, 3600)).status_code == 429
        waiting = process.call("get")
        assert 0 < waiting.retry_after <= 60
        process.now += 60


def test_one_of_many_polls_tests_a_hint():
    process = Process()
    process.call("get", refused(429, HINTS["reset in an hour"], 3600))
    process.now += 60
    with process.limiter.permit(Bucket.GET, background=True) as first:
        assert first.try_acquire() == 0
        with process.limiter.permit(Bucket.GET, background=True) as second:
            assert 0 < second.try_acquire() <= 60


@pytest.mark.parametrize("status", [404, 409, 422])
def test_only_transient_errors_shorten_a_hint(status):
    process = Process()
    headers = {"date": formatdate(NOW, usegmt=True), **HINTS["reset in an hour"]}
    with pytest.raises(ConnixAPIError):
        process.call("get", refused(status, headers, None))
    process.now += 60
    assert process.call("get").retry_after > 3000


def test_only_polls_shorten_a_hint():
    process = Process()
    process.call("start", refused(429, HINTS["reset in an hour"], None), background=False)
    process.now += 60
    waiting = process.call("start", background=False)
    assert waiting.retry_after > 3000


def test_a_success_can_announce_a_used_up_limit():
    process = Process()
    headers = {"date": formatdate(NOW, usegmt=True), **HINTS["reset in an hour"]}
    assert process.call("get", Response(200, headers, ok_response("get").body)) is True
    process.now += 60
    assert process.call("get").retry_after > 3000


@pytest.mark.parametrize("status", [503, 529])
def test_no_poll_sleeps_over_a_minute(status):
    policy = RetryPolicy(total_timeout=100_000)
    outcomes = iter([refused(status, {}, 3600), ok_response("get")])
    run = Run(CALLS["get"], policy, outcomes, background=True)
    assert run.error is None
    assert run.now - NOW <= 60


@pytest.mark.parametrize("hint", [None, 0.5, 60, 3600])
def test_a_refused_poll_is_left_to_its_wait(hint):
    run = Run(CALLS["get"], RetryPolicy(), iter([refused(429, {}, hint)]), background=True)
    assert isinstance(run.error, ConnixRateLimitError)
    assert run.now == NOW


@pytest.mark.parametrize("hints", ["body", "header", "reset"])
async def test_both_clients_poll_again_after_a_minute(driver, emulator, project, monkeypatch, hints):
    warp = Timewarp(emulator.clock)
    warp.install(monkeypatch)
    client = driver.to(emulator, max_attempts=1).with_options(background=True, total_timeout=60)
    agent_id = (await driver.run(client, "create", project, {"name": "x"})).id
    emulator.faults.add(Fault.rate_limited(3600, hints), "get_agent", times=1)
    with pytest.raises(ConnixRateLimitError):
        await driver.run(client, "get", project, agent_id)
    emulator.clock.advance(60 - warp.slept)
    slept = warp.slept
    assert (await driver.run(client, "get", project, agent_id)).id == agent_id
    assert warp.slept == slept


# A limit that a call's own attempts used up does not hide what made it fail


@pytest.mark.parametrize("name", CALLS)
def test_a_permanent_5xx_ends_with_its_own_error(name):
    # Nothing is left of the minute after each attempt.
    used_up = {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW + 60)}
    for status, headers, bounds in itertools.product(
        (500, 502, 503, 599),
        ({}, {"date": formatdate(NOW, usegmt=True), **used_up}),
        ({}, {"total_timeout": 20}, {"max_permit_wait": 2}, {"deadline": NOW + 30}),
    ):
        response = Response(status, headers, refusal(status).body)
        run = Run(CALLS[name], RetryPolicy(**bounds), repeat(response))
        assert type(run.error) is ConnixServerError, (status, headers, bounds)
        assert run.error.status_code == status, (headers, bounds)
        assert 1 <= len(run.sent) <= 5, (status, headers, bounds)
        if headers and bounds and name not in {"create", "restart"}:
            assert "not retried: the next " in str(run.error), (status, bounds)
