"""Hints of headers and bodies say when a request is repeated."""

import math
import time
from email.utils import formatdate

import pytest
from attempts import CALLS, NOW
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.client import ConnixAPIError
from connix_provider.client.attempts.flow import perform
from connix_provider.client.calls.steps import Response
from connix_provider.client.ratelimit import RateLimiter, retry_after_hint
from connix_provider.client.ratelimit.headers import parse_number
from connix_provider.client.ratelimit.server_clock import server_time
from connix_provider.client.retry import RetryPolicy


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
