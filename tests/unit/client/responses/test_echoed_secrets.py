"""No error, repr or log shows a secret that the service echoes."""

import json
import pickle
import traceback

import pytest

from connix_provider.client import Agent, AgentConfig, ConnixResponseError
from connix_provider.client.calls.steps import Response
from connix_provider.client.endpoints import create_agent, update_agent

KEY = "cx_" + 4 * "fedcba98"


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
