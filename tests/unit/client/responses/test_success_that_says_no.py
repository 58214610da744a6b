"""A success status whose body says no, or has no documented field, is never taken for a result."""

import itertools
import json

import pytest
from attempts import CALLS, Run, repeat

from connix_provider.client import (
    ConnixAPIError,
    ConnixAuthenticationError,
    ConnixConflictError,
    ConnixNotFoundError,
    ConnixPermissionError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixServerError,
    ConnixValidationError,
)
from connix_provider.client.calls.steps import Response
from connix_provider.client.endpoints import list_projects
from connix_provider.client.retry import RetryPolicy

READS = ("list", "get", "logs", "metrics", "projects")
WRITES = ("create", "update", "delete", "start", "pause", "stop", "restart")
ALL_CALLS = {**CALLS, "projects": list_projects()}
GOOD = {
    "get": {"id": "a", "name": "x", "status": "running"},
    "list": {"agents": []},
    "logs": {"logs": []},
    "metrics": {"metrics": {}},
    "projects": {"projects": []},
    **{name: {"id": "a", "name": "x", "status": "running"} for name in ("create", "update")},
    **{name: {"message": "m", "agent_id": "a"} for name in ("start", "pause", "stop", "restart", "delete")},
}
#: Bodies that say no without a status.
NO = [
    {"error": {"message": "not now"}},
    {"error": "agent is locked"},
    {"error": True},
    {"error": {"code": "agent_locked", "message": "locked"}},
    {"error": ["a", "b"]},
    {"success": False},
    {"success": "false", "message": "no"},
    {"success": 0},
    {"ok": False, "message": "no"},
    {"succeeded": False},
    {"accepted": False, "message": "queue is full"},
    {"errors": [{"message": "a"}]},
    {"errors": ["a"]},
    {"errors": {"name": "taken"}},
    {"success": False, "error": None},
    {"status": "error", "message": "no such action"},
    {"status": "ERROR"},
    {"status": "failed", "message": "no"},
    {"status": "failure"},
    {"status": "fail", "data": {"name": "taken"}},
    {"code": "agent_locked", "message": "locked"},
    {"code": -1, "message": "m"},
    {"code": 40901},
    {"Success": False},
    {"isError": True},
    {"failed": True},
    {"exception": "LockedError"},
    {"error_code": "agent_locked"},
    {"error_message": "locked"},
    {"result": "error"},
    {"outcome": "failed"},
    {"message": {"error": "locked"}},
]
#: Bodies that state a status, by number or by a known code.
STATED = [
    ({"error": {"code": "agent_conflict", "message": "m"}}, ConnixConflictError, 409),
    ({"error": {"code": "agent_not_found", "message": "m"}}, ConnixNotFoundError, 404),
    ({"error": {"code": "project_not_found", "message": "m"}}, ConnixNotFoundError, 404),
    ({"error": {"code": "unauthorized", "message": "m"}}, ConnixAuthenticationError, 401),
    ({"error": {"code": "insufficient_permissions", "message": "m"}}, ConnixPermissionError, 403),
    ({"error": {"code": "validation_error", "message": "m"}}, ConnixValidationError, 400),
    ({"error": {"code": "internal_error", "message": "m"}}, ConnixServerError, 500),
    ({"error": {"code": "service_unavailable", "message": "m"}}, ConnixServerError, 503),
    ({"error": {"code": 409, "message": "m"}}, ConnixConflictError, 409),
    ({"error": {"code": "409", "message": "m"}}, ConnixConflictError, 409),
    ({"error": {"status": 403, "message": "m"}}, ConnixPermissionError, 403),
    ({"error": "forbidden", "status_code": 403}, ConnixPermissionError, 403),
    ({"message": "m", "statusCode": 404}, ConnixNotFoundError, 404),
    ({"message": "m", "code": 503}, ConnixServerError, 503),
    ({"status": 502, "message": "m"}, ConnixServerError, 502),
    ({"code": "agent_conflict", "message": "m"}, ConnixConflictError, 409),
    ({"success": False, "error": {"code": "agent_conflict", "message": "m"}}, ConnixConflictError, 409),
]
#: The same with the agent's id.
ABOUT_AN_AGENT = [
    {"status": word} for word in ("rejected", "Denied", "not found", "unauthorized", "FAILED", "unavailable")
]
UNDOCUMENTED = [
    {},
    {"data": {}},
    {"result": "done"},
    {"agent": {"id": "a"}},
    {"message": None},
    {"detail": "x"},
]


def reply(body, status=200):
    return Response(status, {}, json.dumps(body).encode())


def run(name, body, *, attempts=1, status=200):
    return Run(ALL_CALLS[name], RetryPolicy(max_attempts=attempts), repeat(reply(body, status)))


@pytest.mark.parametrize("body", NO, ids=json.dumps)
def test_a_200_with_an_error_body_raises(body):
    for name, status in itertools.product(WRITES, (200, 201, 202)):
        error = (done := run(name, body, attempts=5, status=status)).error
        assert isinstance(error, ConnixAPIError), name
        assert error.status_code == error.response_status == status
        assert not error.may_have_executed
        assert len(done.sent) == 1
        assert f"Connix responded {status} with an error" in str(error)


@pytest.mark.parametrize("name", ["start", "pause", "stop", "restart", "delete"])
def test_the_agents_id_outweighs_no_refusal(name):
    for body in (*NO[21:], *ABOUT_AN_AGENT):
        more = {"success": False} if "status" in body and name == "delete" else {}
        assert isinstance(run(name, {"agent_id": "a", **body, **more}).error, ConnixAPIError), body


@pytest.mark.parametrize(
    "message", ["Forbidden", "Access denied.", "Could not queue it", "ERROR", "Request timed out", "no route"]
)
def test_a_message_alone_may_say_no(message):
    for name in ("start", "pause", "stop", "restart", "delete"):
        assert type(run(name, {"message": message}).error) is ConnixResponseError, name
        assert run(name, {"message": message, "agent_id": "a"}).error is None, name
        assert run(name, {"message": "Agent noted: stopped successfully"}).error is None, name


@pytest.mark.parametrize("body", NO, ids=json.dumps)
def test_a_reading_that_the_service_refuses_is_repeated(body):
    for name in READS:
        done = run(name, body, attempts=3)
        assert isinstance(done.error, ConnixResponseError), name
        assert len(done.sent) == 3


@pytest.mark.parametrize(("body", "kind", "status"), STATED)
def test_the_status_in_an_error_body_counts(body, kind, status):
    for name in ALL_CALLS:
        error = run(name, body).error
        assert type(error) is kind, name
        assert (error.status_code, error.response_status) == (status, 200)
        assert error.may_have_executed is (status >= 500)


@pytest.mark.parametrize("name", ALL_CALLS)
def test_a_rate_limit_in_a_200_delays_retries(name):
    limited = reply({"error": {"code": "rate_limit_exceeded", "message": "m", "retry_after": 7}})
    done = Run(ALL_CALLS[name], RetryPolicy(max_attempts=1), iter([limited, reply(GOOD[name])]))
    assert done.error is None
    assert done.now - 1_705_334_400 >= 7
    error = Run(ALL_CALLS[name], RetryPolicy(total_timeout=5), repeat(limited)).error
    assert isinstance(error, ConnixRateLimitError)
    assert error.retry_after == 7


@pytest.mark.parametrize("name", ALL_CALLS)
def test_a_body_without_a_documented_field_is_unreadable(name):
    for body in UNDOCUMENTED:
        error = run(name, body).error
        assert type(error) is ConnixResponseError, body
        assert error.may_have_executed, body


@pytest.mark.parametrize("name", ["create", "restart"])
def test_an_unreadable_body_repeats_no_create_or_restart(name):
    assert len(run(name, {}, attempts=5).sent) == 1


@pytest.mark.parametrize("more", NO[:17], ids=json.dumps)
def test_an_error_beside_the_result_counts(more):
    flags = {"success", "ok", "succeeded", "accepted"}
    for name in ALL_CALLS:
        done = run(name, {**GOOD[name], **more})
        # The error of an agent is the agent's own, as its status is.
        is_the_agents = name in {"get", "create", "update"} and not flags & {*more}
        # With the agent's id, "error" is the status in which the agent was met.
        is_status = "agent_id" in GOOD[name] and str(more.get("status")).lower() == "error"
        assert (done.error is None) is (is_the_agents or is_status), name


@pytest.mark.parametrize(
    "more",
    [
        {"error": None},
        {"error": ""},
        {"error": {}},
        {"error": False},
        {"errors": []},
        {"errors": None},
        {"errors": 0},
        {"success": True},
        {"success": "true"},
        {"success": None},
        {"ok": True},
        {"code": 0},
        {"code": 200},
        {"code": "success"},
        {"warnings": ["w"]},
    ],
    ids=json.dumps,
)
def test_harmless_fields_refuse_no_result(more):
    for name in ALL_CALLS:
        assert run(name, {**GOOD[name], **more}).error is None, name


@pytest.mark.parametrize("status", ["running", "stopped", "error", "hibernating"])
@pytest.mark.parametrize("name", ["start", "pause", "stop", "restart"])
def test_the_status_of_an_accepted_action_is_returned(name, status):
    result = run(name, {"message": "m", "agent_id": "a", "status": status}).result
    assert result.status == status


def test_an_agent_with_an_error_field_is_read():
    body = {"id": "a", "status": "error", "error": {"code": "oom", "message": "out of memory"}, "code": 137}
    assert run("get", body).result.error["code"] == "oom"


@pytest.mark.parametrize("body", [b"[]", b"null", b"true", b'"ok"', b"7", b"<html>", b'{"message": "cut'])
def test_a_body_without_a_json_object_is_unreadable(body):
    for name in ALL_CALLS:
        done = Run(ALL_CALLS[name], RetryPolicy(max_attempts=1), repeat(Response(200, {}, body)))
        assert type(done.error) is ConnixResponseError, name


@pytest.mark.parametrize("name", ["delete", "start", "pause", "stop", "restart"])
@pytest.mark.parametrize(("status", "body"), [(204, b""), (200, b""), (202, b" \n")])
def test_an_empty_body_confirms(name, status, body):
    done = Run(ALL_CALLS[name], RetryPolicy(), iter([Response(status, {}, body)]))
    assert done.result.agent_id == "a"


@pytest.mark.parametrize("body", [{}, {"name": "other"}, {"items": []}, {"status": "ok"}, {"version": "1.0"}])
def test_any_json_object_is_no_list_of_projects(body):
    assert type(run("projects", body).error) is ConnixResponseError


@pytest.mark.parametrize("secret", ["top-secret-value", "cx_key_of_the_client"])
def test_secrets_that_a_refusal_quotes_are_hidden(secret):
    from connix_provider.client.endpoints import create_agent

    call = create_agent("p", {"name": "x", "config": {"environment_variables": {"A": "top-secret-value"}}})
    body = {"error": {"code": "c", "message": f"bad {secret}", "details": [secret]}}
    error = Run(call, RetryPolicy(), iter([reply(body)]), secrets=lambda: ("cx_key_of_the_client",)).error
    assert secret not in f"{error}{error!r}{error.details}"
