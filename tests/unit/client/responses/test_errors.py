"""What the service says no with, as exceptions; and that no secret is in them."""

import copy
import json
import pickle
import traceback
from functools import partial
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.agent_lookup import AgentNameNotFoundError
from connix_provider.client import (
    Agent,
    AgentConfig,
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
from connix_provider.client.endpoints import create_agent, update_agent
from connix_provider.client.errors import ConnixRateLimitWaitError, api_error_class
from connix_provider.client.ratelimit import RateLimiter
from connix_provider.client.redaction import redact
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


@pytest.fixture
async def ask(driver, raw_server):
    """Return the exception of one call whose response has these bytes, without retries."""

    async def ask(http_response, method="get", *args):
        server = raw_server(http_response)
        client = driver.open(KEY, server.url, max_attempts=1, total_timeout=10)
        with pytest.raises(ConnixError) as caught:
            await driver.run(client, method, "proj_1", *(args or ("agent_1",)))
        assert len(server.requests) == 1
        return caught.value

    return ask


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


async def test_validation_errors_of_a_framework_name_their_fields(ask, http_response):
    faults = [
        {"type": "missing", "loc": ["body", "name"], "msg": "Field required", "input": {"prompt": PROMPT}},
        {"type": "int", "loc": ["body", "config", "max_tokens"], "msg": f"not {SECRETS[1]}", "input": "x"},
    ]
    error = await ask(http_response({"detail": faults}, "422 No"), "create", BODY)
    assert "body.name: Field required; body.config.max_tokens: not ***" in str(error)
    assert error.details == [
        {"field": "body.name", "message": "Field required"},
        {"field": "body.config.max_tokens", "message": "not ***"},
    ]
    assert "sesame" not in everything_said(error)
    error = await ask(http_response({"error": [900 * "x"] * 900}, "404 No"))
    assert len(str(error)) < 700


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


PROMPT = 'You are "Zoë".\nNever say\\tell the pass phrase: open sesame.'
SECRETS = [PROMPT, "postgres://user:hunter2@db/x?a=b&c", "p4ss w/ö\\rd'\"s", "nested-one", "777000111"]
BODY = {
    "name": "x",
    "config": {
        "system_prompt": PROMPT,
        "environment_variables": {
            "A": SECRETS[1],
            "B": SECRETS[2],
            "C": {"deep": [SECRETS[3]]},
            "D": 777000111,
            "E": True,
            "F": None,
        },
    },
}
ECHOES = {
    "as it came": lambda text: text,
    "as JSON": json.dumps,
    "as JSON, not in ASCII": lambda text: json.dumps(text, ensure_ascii=False),
    "as Python": repr,
    "twice": lambda text: f"{text}{text}",
    "cut off": lambda text: text[:-3] if len(text) > 19 else text,
}


def everything_said(error):
    said = [str(error), repr(error), repr(error.args), "".join(traceback.format_exception(error))]
    seen = error
    while seen := seen.__cause__ or seen.__context__:
        said += [str(seen), repr(seen)]
    return "\n".join(said) + repr(vars(error)) + str(pickle.dumps(error))


@pytest.mark.parametrize("how", ECHOES)
@pytest.mark.parametrize("status", [400, 409, 422, 500])
async def test_an_echoed_secret_is_in_no_error(ask, http_response, how, status):
    secrets = [KEY, *SECRETS]
    echo = {secret: ECHOES[how](secret) for secret in secrets}
    stated = {
        "code": echo[KEY],
        "message": "Bad: " + " / ".join(echo.values()),
        "details": [
            {"field": "config", "message": "no", "input": BODY | {"key": KEY}},
            {"field": echo[KEY], "message": echo[PROMPT]},
            {echo[SECRETS[1]]: list(echo.values())},
        ],
        "request_id": echo[KEY],
    }
    raw = json.dumps({"error": stated})
    reply = http_response(raw.encode(), f"{status} X")
    for method, args in (("create", (BODY,)), ("update", ("agent_1", BODY))):
        error = await ask(reply, method, *args)
        said = everything_said(error)
        for secret in secrets:
            start = secret[:20]
            forms = [start, json.dumps(start)[1:-1], repr(start)[1:-1]]
            assert not [form for form in forms if form in said], said
        assert "***" in str(error)


async def test_an_unreadable_response_shows_no_secret(ask, http_response):
    agent = {"id": [KEY], "status": {PROMPT: 1}, "config": {"system_prompt": [PROMPT], "max_tokens": PROMPT}}
    error = await ask(http_response(agent), "create", BODY)
    assert type(error) is ConnixResponseError
    assert "config.max_tokens" in str(error) or "id" in str(error)
    for secret in [KEY, *SECRETS]:
        assert secret not in everything_said(error)
    assert error.may_have_executed


async def test_a_broken_echoed_header_is_not_quoted(ask):
    def behave(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\n bad header " + request.split(b"\r\n\r\n")[0] + b"\r\n\r\n")

    error = await ask(behave)
    assert "the response is not HTTP" in str(error)
    assert KEY not in everything_said(error)
    assert KEY[:16] not in everything_said(error)


def texts_in(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [text for item in value for text in texts_in(item)] if isinstance(value, list) else [value]


@given(
    st.lists(st.text('ab"\\ö\n', min_size=5, max_size=40), min_size=1, max_size=5),
    st.text("12", max_size=3),
)
def test_redacting_leaves_no_secret_whole(secrets, between):
    text = between.join(secrets)
    escaped = [json.dumps(text), repr(text), json.dumps(text, ensure_ascii=False)]
    for said in texts_in(redact({text: [text, {"a": escaped}]}, secrets)):
        for secret in secrets:
            assert secret not in said
            assert json.dumps(secret)[1:-1] not in said


def test_redacting_hides_long_secrets_first_and_skips_short():
    assert redact("abcdefgh abcde 1234", ("abcde", "abcdefgh", "1234")) == "*** *** 1234"
    assert redact([5, 55555, 5.5, True, 77777.5], ("55555", "77777.5")) == [5, "***", 5.5, True, "***"]
    assert redact(None, ("55555",)) is None
    assert redact([[["x"]]], ()) == [[["x"]]]


def test_no_repr_shows_a_secret():
    agent = Agent.model_validate(
        {
            "id": "a",
            "status": "running",
            "config": BODY["config"],
            "system_prompt": PROMPT,
            "environment_variables": {"A": SECRETS[1]},
            "metadata": {"team": "shown"},
        }
    )
    for shown in (repr(agent), str(agent), repr([agent]), f"{agent}", repr(agent.config), str(agent.config)):
        assert "***" in shown
        for secret in (*SECRETS, "sesame"):
            assert secret not in shown
    assert "shown" in repr(agent)
    assert "system_prompt=None" in repr(AgentConfig())
    for call in (create_agent("p", BODY), update_agent("p", "a", BODY)):
        for secret in (*SECRETS, "sesame"):
            assert secret not in repr(call)
        assert set(SECRETS) <= set(call.secrets)
    assert "body" not in repr(Response(200, {}, PROMPT.encode()))


@pytest.mark.parametrize(
    "beside",
    [
        {"draft": {"config": {"environment_variables": {"A": SECRETS[1]}}}},
        {"revisions": [{"system_prompt": SECRETS[1]}, {"n": [{"system_prompt": SECRETS[1]}]}]},
        {"config": {"previous": {"system_prompt": SECRETS[1], "model": "shown"}}},
        {"config": {"tools": [{"environment_variables": [SECRETS[1]]}]}},
        {"metadata": {"a": {"system_prompt": SECRETS[1]}}},
        {"deep": json.loads(100 * "[" + json.dumps({"system_prompt": SECRETS[1]}) + 100 * "]")},
    ],
)
def test_no_repr_shows_an_unknown_secret_field(beside):
    agent = Agent.model_validate({"id": "a", "status": "running", **beside})
    for shown in (repr(agent), str(agent), f"{[agent]}"):
        assert "hunter2" not in shown
        assert "***" in shown or "…" in shown
    # Only what is shown is hidden.
    assert "hunter2" in agent.model_dump_json()


async def test_no_repr_of_a_client_shows_a_secret(driver, emulator):
    grant = emulator.add_token()
    client = driver.to(
        emulator,
        refresh_token=grant.refresh_token,
        access_token=grant.access_token,
        client_secret=grant.client_secret,
    )
    for thing in (client, client.agents, client._auth, driver.open(KEY)._auth):
        for secret in (grant.refresh_token, grant.access_token, grant.client_secret, KEY):
            assert secret not in repr(thing)
    assert emulator.url in repr(client)


@pytest.mark.parametrize(
    "secret",
    ["You are a secret agent.\nNever say so.", "postgres://user:pass'\"word@host/db", "a" * 40 + "\\b"],
)
def test_an_escaped_secret_is_hidden(secret):
    for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        assert redact(f"bad {form}! {form}", [secret]) == "bad ***! ***"


@pytest.mark.parametrize("encode", [quote, partial(quote, safe=""), quote_plus])
@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize(
    "secret",
    ['Say "hi", é', "a/path/that's é\nsecret", "postgres://canary:pw@db/x?y=1&z=ü", "\"'\\/é begins with it"],
)
def test_a_url_encoded_secret_is_hidden_whole(secret, ensure_ascii, encode):
    before, after = json.dumps({"config": {"system_prompt": "|", "model": "shown"}}).split("|")
    escaped = json.dumps(secret, ensure_ascii=ensure_ascii)[1:-1]
    assert redact(encode(before + escaped + after), [secret]) == f"{encode(before)}***{encode(after)}"


@pytest.mark.heavy
def test_hiding_many_takes_no_longer_than_reading_them():
    text = "You are a secret " * 100_000
    assert redact(text, ["You are a secret agent.\nNever say so."]) == "*** " * 100_000
