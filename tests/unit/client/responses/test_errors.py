"""What the service says no with, as exceptions; and that no secret is in them."""

import copy
import pickle

import pytest

from connix_provider.agent_lookup import AgentNameNotFoundError
from connix_provider.client import (
    ConnixAPIError,
    ConnixAuthenticationError,
    ConnixConflictError,
    ConnixError,
    ConnixNotFoundError,
    ConnixPermissionError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixServerError,
    ConnixTimeoutError,
    ConnixValidationError,
)
from connix_provider.client.attempts.flow import perform
from connix_provider.client.calls.steps import Response
from connix_provider.client.endpoints import create_agent
from connix_provider.client.errors import ConnixRateLimitWaitError, api_error_class
from connix_provider.client.ratelimit import RateLimiter
from connix_provider.client.retry import RetryPolicy
from connix_provider.emulator import Fault

KEY = "cx_" + 4 * "fedcba98"
DETAILS = [
    {"field": "config.temperature", "message": "Temperature must be between 0 and 2"},
    {"field": "config.max_tokens", "message": "Max tokens must be a positive integer"},
]
#: The error responses of the reference, as they stand there.
DOCUMENTED = [
    (400, {"code": "validation_error", "message": "Invalid agent configuration", "details": DETAILS}),
    (401, {"code": "unauthorized", "message": "Invalid API key or expired token"}),
    (403, {"code": "insufficient_permissions", "message": "You don't have permission to access this agent"}),
    (404, {"code": "agent_not_found", "message": "Agent with ID 'agent_1234567890abcdef' not found"}),
    (409, {"code": "agent_conflict", "message": "Agent name already exists in this project"}),
    (
        429,
        {
            "code": "rate_limit_exceeded",
            "message": "Rate limit exceeded. Try again in 60 seconds.",
            "retry_after": 60,
        },
    ),
    (
        500,
        {
            "code": "internal_error",
            "message": "An unexpected error occurred. Please try again later.",
            "request_id": "req_1234567890abcdef",
        },
    ),
]
CLASSES = {
    400: ConnixValidationError,
    401: ConnixAuthenticationError,
    403: ConnixPermissionError,
    404: ConnixNotFoundError,
    405: ConnixAPIError,
    409: ConnixConflictError,
    418: ConnixAPIError,
    422: ConnixValidationError,
    429: ConnixRateLimitError,
    500: ConnixServerError,
    502: ConnixServerError,
    503: ConnixServerError,
    504: ConnixServerError,
    599: ConnixServerError,
}


@pytest.mark.parametrize(("status", "stated"), DOCUMENTED)
async def test_every_error_of_the_reference_becomes_its_class(ask, http_response, status, stated):
    if status == 429:
        stated = {**stated, "retry_after": 3600}
    error = await ask(http_response({"error": stated}, f"{status} X", "X-Request-ID: from_the_header"))
    assert type(error) is CLASSES[status]
    assert (error.status_code, error.code, error.message) == (status, stated["code"], stated["message"])
    assert error.details == stated.get("details")
    assert error.request_id == stated.get("request_id", "from_the_header")
    assert error.retry_after == stated.get("retry_after")
    assert error.request == "GET /projects/proj_1/agents/agent_1"
    assert error.may_have_executed is (status >= 500)
    assert str(error).startswith(f"Connix responded {status} {stated['code']}: ")
    assert stated["message"].rstrip(".") in str(error)
    assert f"({error.request}, request id {error.request_id})" in str(error)
    assert repr(error).startswith(f"{CLASSES[status].__name__}({status}, ")


@pytest.mark.parametrize(("status", "kind"), CLASSES.items())
async def test_every_status_has_its_class(driver, emulator, project, status, kind):
    fault = Fault.status(status, "some_code", "Some words", {"Retry-After": "3600"})
    emulator.faults.add(fault, times=None)
    client = driver.to(emulator, max_attempts=1, total_timeout=5)
    with pytest.raises(ConnixAPIError) as caught:
        await driver.run(client, "get", project, "agent_1")
    assert type(caught.value) is kind is api_error_class(status)
    assert (caught.value.status_code, caught.value.code, caught.value.message) == (
        status,
        "some_code",
        "Some words",
    )
    assert caught.value.request_id == emulator.journal.entries()[-1].request_id


async def test_the_real_services_refusals_name_the_fields(driver, emulator, project):
    client = driver.to(emulator)
    with pytest.raises(ConnixValidationError) as caught:
        await driver.run(
            client, "create", project, {"name": "x", "config": {"temperature": 3, "max_tokens": 0}}
        )
    assert {detail["field"] for detail in caught.value.details} == {"config.temperature", "config.max_tokens"}
    text = str(caught.value)
    assert "config.temperature: Temperature must be between 0 and 2" in text
    assert "config.max_tokens: Max tokens must be a positive integer" in text
    await driver.run(client, "create", project, {"name": "taken"})
    with pytest.raises(ConnixConflictError, match="exists"):
        await driver.run(client, "create", project, {"name": "taken"})
    with pytest.raises(ConnixNotFoundError, match="agent_none"):
        await driver.run(client, "get", project, "agent_none")
    with pytest.raises(ConnixNotFoundError) as caught:
        await driver.run(client, "list", "proj_none")
    assert caught.value.code == "project_not_found"
    with pytest.raises(ConnixAuthenticationError):
        await driver.run(driver.to(emulator, api_key=KEY), "list", project)
    reader = driver.to(emulator, api_key=emulator.add_key(scopes=("read",)))
    with pytest.raises(ConnixPermissionError):
        await driver.run(reader, "create", project, {"name": "y"})


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ([{"field": "name", "message": "too long"}], "bad: name: too long"),
        ([{"message": "all of it"}], "bad: all of it"),
        ([{"loc": ["name"]}, "text", 5], "bad: {'loc': ['name']}; text; 5"),
        ({"name": "too long", "config": {"a": 1}}, "bad: name: too long; config: {'a': 1}"),
        ("in words", "bad: in words"),
        (7, "bad: 7"),
        ([], "bad. ("),
        ({}, "bad. ("),
        (None, "bad. ("),
        ("", "bad. ("),
    ],
)
def test_details_of_any_form_are_shown(details, shown):
    error = ConnixValidationError(400, "validation_error", "bad.", details, "req_1")
    assert shown in str(error)
    assert str(error).endswith("(request id req_1)")


def test_details_are_shown_up_to_a_length():
    error = ConnixValidationError(
        400, "c", "m", [{"field": f"f{n}", "message": 5000 * "x"} for n in range(500)]
    )
    assert len(str(error)) < 3000
    assert "f0: " in str(error)
    assert "f10: " not in str(error)
    assert str(error).endswith("; …")
    assert len(error.details) == 500


async def test_html_of_a_proxy(driver, emulator, project):
    emulator.faults.add(Fault.html_502(), times=None)
    with pytest.raises(ConnixServerError) as caught:
        await driver.run(driver.to(emulator, max_attempts=1), "get", project, "agent_1")
    error = caught.value
    assert (error.status_code, error.code, error.details) == (502, "http_502", None)
    assert "text/html" in str(error)
    assert "<html" not in str(error)
    assert error.request_id == emulator.journal.entries()[0].request_id


BODIES = [
    (b"", "http_404", "0 bytes of nothing"),
    (b"null", "http_404", "4 bytes"),
    (b"[]", "http_404", "2 bytes"),
    (b'"text"', "http_404", "6 bytes"),
    (b"{", "http_404", "1 bytes"),
    (b"\xff\xfe", "http_404", "2 bytes"),
    (b'{"error": null}', "http_404", "15 bytes"),
    (b'{"error": []}', "http_404", "13 bytes"),
    (b'{"error": ["name is taken", "too many agents"]}', "http_404", "name is taken; too many agents"),
    (b'{"detail": "Not Found"}', "http_404", "Not Found"),
    (b'{"detail": ["no such agent"]}', "http_404", "no such agent"),
    (b'{"detail": {"code": "c", "message": "gone"}}', "c", "gone"),
    (b'{"detail": 5}', "http_404", "13 bytes"),
    (b'{"error": {"code": "c", "detail": "far away"}}', "c", "far away"),
    (b'{"error": {}}', "http_404", "13 bytes"),
    (b'{"error": {"code": "c"}}', "c", "24 bytes"),
    (b'{"message": "no Route matched"}', "http_404", "no Route matched"),
    (b'{"error": "gone", "message": "away"}', "gone", "away"),
    (b'{"error": "gone", "error_description": "far away"}', "gone", "far away"),
    (b'{"error": {"code": 5, "message": {"a": ["b"]}}}', "5", "{'a': ['b']}"),
]


@pytest.mark.parametrize(("body", "code", "message"), BODIES)
async def test_an_error_body_of_any_form_is_read(ask, http_response, body, code, message):
    error = await ask(http_response(body, "404 Not Found"))
    assert type(error) is ConnixNotFoundError
    assert error.code == code
    assert message in error.message
    assert len(error.request_id) == 36


def test_error_bodies_of_any_depth_are_read():
    for depth in [*range(10, 400, 13), *range(880, 1010)]:
        for field in ("code", "message", "details", "request_id"):
            body = f'{{"error": {{"{field}": {depth * "["}1{depth * "]"}}}}}'.encode()
            flow = perform(
                create_agent("p", {"name": "x"}), RetryPolicy(max_attempts=1), limiter=RateLimiter()
            )
            next(flow)
            with pytest.raises(ConnixNotFoundError) as caught:
                flow.send(Response(404, {}, body))
            assert len(str(caught.value)) < 1000
            assert len(repr(caught.value)) < 2000


async def test_long_words_of_the_service_are_cut(ask, http_response):
    stated = {"code": 900 * "c", "message": 900 * "m", "request_id": 900 * "r"}
    error = await ask(http_response({"error": stated}, "404 Not Found"))
    assert (len(error.code), len(error.message), len(error.request_id)) == (500, 500, 500)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_and_not_followed(ask, raw_server, http_response, status):
    elsewhere = raw_server(http_response(b"{}"))
    place = f"{elsewhere.url}/other?token=hidden"
    error = await ask(http_response(b"", f"{status} X", f"Location: {place}"))
    assert (type(error), error.status_code, error.code) == (ConnixAPIError, status, "redirect_refused")
    assert "127.0.0.1" in str(error)
    assert "hidden" not in str(error)
    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [300, 304, 305, 399])
async def test_a_3xx_without_a_place_is_no_redirect(ask, http_response, status):
    error = await ask(http_response(b"", f"{status} X"))
    assert (type(error), error.status_code, error.code) == (ConnixAPIError, status, f"http_{status}")
    assert "redirect" not in str(error)


async def test_a_key_echoed_in_headers_is_not_logged(ask, http_response, caplog):
    caplog.set_level("DEBUG")
    await ask(
        http_response(b"", "302 Found", f"Location: https://elsewhere.example/?key={KEY}", f"X-Echo: {KEY}")
    )
    assert "elsewhere.example" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/api/v2", "another path"),
        ("", "another path"),
        ("http://[::1", "cannot be read|not HTTP"),
        ("http://\x7f", "http"),
        ("ftp://x/", "ftp://x"),
        ("http:", "another path"),
        ("//host", "://host"),
        ("http://user:secret@host/", "http://host"),
        ("https://host:99999999/", "cannot be read|not HTTP"),
    ],
)
async def test_a_redirect_to_nowhere_is_an_error_too(ask, http_response, location, told):
    error = await ask(http_response(b"", "302 Found", f"Location: {location}"))
    assert "secret" not in str(error)
    with pytest.raises(ConnixError, match=told):
        raise error


async def test_a_redirect_of_the_emulator(driver, emulator, project, raw_server, http_response):
    elsewhere = raw_server(http_response(b"{}"))
    emulator.faults.add(Fault.redirect(elsewhere.url), times=None)
    with pytest.raises(ConnixAPIError, match="redirects are refused"):
        await driver.run(driver.to(emulator), "list", project)
    assert elsewhere.requests == []
    assert len(emulator.journal.entries()) == 1


def test_errors_survive_pickling():
    error = ConnixRateLimitError(429, "c", "m", [{"field": "f", "message": "x"}], "req_1")
    error.request, error.retry_after, error.may_have_executed = "GET /x", 5.0, True
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ConnixRateLimitError
    assert vars(again) == vars(error)
    assert (str(again), repr(again), again.args) == (str(error), repr(error), error.args)
    plain = ConnixTimeoutError("late")
    plain.request_id, plain.may_have_executed = "req_2", True
    again = pickle.loads(pickle.dumps(plain))
    assert (str(again), again.request_id, again.may_have_executed) == ("late", "req_2", True)


class _OfItsOwnError(ConnixNotFoundError):
    def __init__(self, name, *, project):
        super().__init__(404, "none", f"{project} has no {name}")
        self.name = name

    def __str__(self):
        return self.message


@pytest.mark.parametrize(
    "error",
    [
        _OfItsOwnError("x", project="p"),
        AgentNameNotFoundError("x", "p"),
        ConnixRateLimitWaitError("used up", 3.5),
    ],
)
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_subclassed_error_survives_pickling(error, how):
    error.may_have_executed, error.request_id = True, "req_1"
    error.add_note("a note")
    again = how(error)
    assert again is not error
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_one_class_catches_all():
    assert all(issubclass(kind, ConnixError) for kind in CLASSES.values())
    assert issubclass(ConnixResponseError, ConnixError)
    assert not issubclass(ConnixError, ValueError)
