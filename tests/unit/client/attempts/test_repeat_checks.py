"""A Get decides whether a refused or unreadable request was executed."""

import dataclasses
import itertools

import pytest
from attempts import AGENT, CALLS, Run, failure, refusal, repeat

from connix_provider.client import (
    ConnixConflictError,
    ConnixNotFoundError,
    ConnixResponseError,
    ConnixTimeoutError,
)
from connix_provider.client.calls.steps import Response
from connix_provider.client.endpoints import update_agent
from connix_provider.client.retry import RetryPolicy

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
