"""A 401, 403 or 404 without Connix's error body is final only as the third in a row over 15 seconds."""

import json
import pickle

import pytest
from attempts import CALLS, NOW, Run, ok_response, repeat

from connix_provider.client import (
    ConnixAPIError,
    ConnixAuthenticationError,
    ConnixNotFoundError,
    ConnixPermissionError,
    ConnixServerError,
)
from connix_provider.client.attempts.flow import perform
from connix_provider.client.attempts.gateway_refusals import GatewayRefusals, is_from_gateway
from connix_provider.client.calls.steps import Response
from connix_provider.client.ratelimit import RateLimiter
from connix_provider.client.retry import RetryPolicy
from connix_provider.client.transient import is_transient

HTML = b"<html><title>Forbidden</title></html>"
#: Responses of a gateway, a login page or another service in Connix's place.
FOREIGN_BODIES = {
    "html": HTML,
    "empty": b"",
    "text": b"RBAC: access denied",
    "message": b'{"message": "no API key found in request"}',
    "error text": b'{"error": "unauthorized"}',
    "error list": b'{"error": [{"code": "x", "message": "y"}]}',
    "no code": b'{"error": {"message": "forbidden"}}',
    "no message": b'{"error": {"code": "agent_not_found"}}',
    "number as code": b'{"error": {"code": 403, "message": "forbidden"}}',
    "null as message": b'{"error": {"code": "forbidden", "message": null}}',
    "problem": b'{"type": "about:blank", "title": "Not Found", "status": 404}',
    "outside": b'{"code": "agent_not_found", "message": "Agent not found"}',
    "list": b'[{"error": {"code": "a", "message": "b"}}]',
}
CLASSES = {401: ConnixAuthenticationError, 403: ConnixPermissionError, 404: ConnixNotFoundError}


def own(status, code="unauthorized"):
    return Response(status, {}, json.dumps({"error": {"code": code, "message": "No."}}).encode())


def error_of(reply):
    return Run(CALLS["get"], RetryPolicy(max_attempts=1), iter([reply])).error


@pytest.mark.parametrize(
    ("times", "final"),
    [
        ([0], [False]),
        ([0, 20], [False, False]),
        ([0, 5, 10], [False, False, False]),
        ([0, 5, 15], [False, False, True]),
        ([0, 5, 14.9, 15], [False, False, False, True]),
        ([0, 1, 2, 3, 4, 15.1], [False] * 5 + [True]),
        # A clock that was set back tells nothing of the time that passed.
        ([100, 101, 50, 60, 66], [False, False, False, False, True]),
    ],
)
def test_the_third_refusal_over_15_seconds_is_final(times, final):
    refusals = GatewayRefusals()
    assert [refusals.add(now) for now in times] == final


def test_another_response_starts_the_count_again():
    refusals = GatewayRefusals()
    assert not refusals.add(0)
    assert not refusals.add(10)
    refusals.reset()
    assert [refusals.add(now) for now in (20, 25, 34, 35)] == [False, False, False, True]


@pytest.mark.parametrize("status", CLASSES)
@pytest.mark.parametrize("body", FOREIGN_BODIES.values(), ids=FOREIGN_BODIES)
def test_a_body_of_another_format_is_foreign(status, body):
    error = error_of(Response(status, {}, body))
    assert type(error) is CLASSES[status]
    assert not error.has_error_body
    assert is_from_gateway(error)
    assert not is_transient(error)
    assert not getattr(error, "is_of_an_agent", False)
    assert not pickle.loads(pickle.dumps(error)).has_error_body


@pytest.mark.parametrize("status", CLASSES)
def test_a_body_of_connix_is_not_foreign(status):
    error = error_of(own(status))
    assert error.has_error_body
    assert not is_from_gateway(error)


@pytest.mark.parametrize(
    ("status", "code", "gone"),
    [
        (404, "agent_not_found", True),
        (404, "project_not_found", False),
        (404, "not_found", False),
        (404, "AGENT_NOT_FOUND", False),
        (404, "route_not_found", False),
    ],
)
def test_only_the_agents_own_404_means_gone(status, code, gone):
    assert error_of(own(status, code)).is_of_an_agent is gone


@pytest.mark.parametrize("status", [400, 405, 409, 410, 418, 422, 501])
def test_other_refusals_are_final_with_any_body(status):
    run = Run(CALLS["get"], RetryPolicy(), iter([Response(status, {}, HTML)]))
    assert run.error.status_code == status
    assert not is_from_gateway(run.error)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", CLASSES)
class TestAttempts:
    def test_a_foreign_refusal_is_repeated(self, name, status):
        outcomes = [Response(status, {}, HTML), Response(status, {}, HTML), ok_response(name)]
        run = Run(CALLS[name], RetryPolicy(), iter(outcomes))
        assert run.error is None
        assert len(run.sent) == 3

    @pytest.mark.parametrize("jitter", [0.0, 1.0])
    def test_it_is_final_after_15_seconds(self, name, status, jitter):
        run = Run(CALLS[name], RetryPolicy(), repeat(Response(status, {}, HTML)), jitter=jitter)
        assert type(run.error) is CLASSES[status]
        assert not run.error.may_have_executed
        assert len(run.sent) == 5
        assert 15 <= run.now - NOW < 17

    def test_unbounded_attempts_end_after_15_seconds(self, name, status):
        run = Run(CALLS[name], RetryPolicy(max_attempts=10**9), repeat(Response(status, {}, HTML)))
        assert type(run.error) is CLASSES[status]
        assert len(run.sent) == 5

    def test_it_is_raised_at_once_with_one_attempt(self, name, status):
        run = Run(CALLS[name], RetryPolicy(max_attempts=1), iter([Response(status, {}, HTML)]))
        assert type(run.error) is CLASSES[status]
        assert (len(run.sent), run.pauses) == (1, [])

    def test_connix_own_refusal_is_final_at_once(self, name, status):
        run = Run(CALLS[name], RetryPolicy(), iter([own(status)]))
        assert type(run.error) is CLASSES[status]
        assert len(run.sent) == 1

    def test_an_own_refusal_after_foreign_ones_is_final(self, name, status):
        run = Run(CALLS[name], RetryPolicy(), iter([Response(status, {}, HTML), own(status)]))
        assert run.error.has_error_body
        assert len(run.sent) == 2


def test_every_5xx_but_501_is_repeated():
    for status in range(500, 600):
        run = Run(CALLS["get"], RetryPolicy(), repeat(Response(status, {}, HTML)))
        assert type(run.error) is ConnixServerError, status
        assert len(run.sent) == (1 if status == 501 else 5), status


def test_an_error_names_its_calls_project_and_agent():
    for name, call in CALLS.items():
        for outcome in (own(400), own(403)):
            error = Run(call, RetryPolicy(), iter([outcome])).error
            assert error.project_id == "p"
            assert error.agent_id == (None if name in {"list", "create"} else "a")
            again = pickle.loads(pickle.dumps(error))
            assert (again.project_id, again.agent_id) == (error.project_id, error.agent_id)
            assert (error.agent_name, error.status) == (None, None)


def test_names_and_status_survive_pickling():
    error = ConnixAPIError(400, "c", "m")
    error.agent_name, error.status = "Support", "error"
    again = pickle.loads(pickle.dumps(error))
    assert (again.agent_name, again.status) == ("Support", "error")


def test_an_error_before_any_request_names_the_agent():
    flow = perform(CALLS["get"], RetryPolicy(deadline=NOW - 1), limiter=RateLimiter(), epoch=lambda: NOW)
    with pytest.raises(Exception, match="the deadline passed") as caught:
        next(flow)
    assert (caught.value.project_id, caught.value.agent_id) == ("p", "a")
