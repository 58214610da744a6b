"""The hook turns a connection into a client, and says in one sentence what is wrong with it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import pytest
import virtual_loop
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from dag_store import airflow_version
from tokens import renewable
from waiting import wait_until_async

from connix_provider.client import AsyncClient, Client
from connix_provider.client.errors import api_error_class
from connix_provider.emulator import Emulator, Fault
from connix_provider.hooks.connix import ConnixHook
from connix_provider.hooks.diagnosis import explain_connection_error


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_client_is_made_of_the_connection(emulator, connection):
    connection(extra={"project_id": emulator.project_id, "timeout": "7", "verify": "false"})
    hook = ConnixHook()
    with hook.client as client:
        assert isinstance(client, Client)
        assert client is hook.client
        assert client.base_url == emulator.url
        assert len(client.agents.list(hook.project_id)) == 0
    with hook.get_conn() as another:
        assert another is not client


async def test_the_asynchronous_client_is_made_of_it_too(emulator, connection):
    hook = ConnixHook("connix_default")
    async with await hook.get_async_conn() as client:
        assert isinstance(client, AsyncClient)
        assert len(await client.agents.list(emulator.project_id)) == 0


def test_an_expiring_token_is_refreshed(emulator, connection):
    grant = emulator.add_token(expires_in=10)
    extra = {"project_id": emulator.project_id, **renewable(emulator, grant)}
    connection(password=None, extra=extra)
    emulator.clock.advance(60)
    with ConnixHook().get_conn() as client:
        assert len(client.agents.list(emulator.project_id)) == 0
    assert len(emulator.journal.executed("token")) == 1


async def test_a_token_is_refreshed_in_a_trigger_too(emulator, connection):
    grant = emulator.add_token(expires_in=10)
    extra = renewable(emulator, grant)
    connection(password=None, extra=extra)
    emulator.clock.advance(60)
    async with await ConnixHook().get_async_conn() as client:
        assert len(await client.agents.list(emulator.project_id)) == 0


def test_the_connection_works(emulator, connection):
    emulator.seed(count=3)
    assert ConnixHook().test_connection() == (
        True,
        f"Connix responds at {emulator.url}; project {emulator.project_id} has 3 agents.",
    )


def test_the_connection_works_without_a_project(emulator, connection):
    connection(extra={})
    works, says = ConnixHook().test_connection()
    assert works
    assert says.startswith(f"Connix responds at {emulator.url}; the connection names no project_id")


CONSOLES = [
    ({}, "https://console.connix.io/projects/proj%2F1/agents/agent_1"),
    (
        {"console_url": "https://console.example.com/"},
        "https://console.example.com/projects/proj%2F1/agents/agent_1",
    ),
    ({"console_url": "http://[::1]:8/x"}, "http://[::1]:8/x/projects/proj%2F1/agents/agent_1"),
]


@pytest.mark.parametrize(("extra", "address"), CONSOLES)
async def test_agent_url_points_into_the_console(extra, address, emulator, connection):
    connection(extra=extra)
    assert ConnixHook().agent_url("proj/1", "agent_1") == address
    hook = ConnixHook()
    async with await hook.get_async_conn():
        assert hook.agent_url("proj/1", "agent_1") == address


@pytest.mark.parametrize("console", ["console.connix.io", "ftp://x", "https://hunter22:pw@x", "https://[", 7])
def test_a_wrong_console_url_is_refused(console, emulator, connection):
    connection(extra={"console_url": console})
    with pytest.raises(ValueError, match="console_url in the connection's extra") as caught:
        ConnixHook().get_conn()
    assert "hunter22" not in str(caught.value)


WRONG = [
    ({"password": None}, "There is no Connix API key"),
    ({"password": "***"}, "The API key is the mask '***'"),
    (
        {"password": "cx_00000000000000000000000000000000"},
        "The API key or token is refused: Connix responded 401",
    ),
    ({"extra": {"project_id": "proj_typo"}}, "There is no project 'proj_typo' at this address"),
    (
        {"host": "http://127.0.0.1:{closed}"},
        "nothing is listening on that port; check the connection's host and port",
    ),
    ({"host": "http://connix.invalid"}, "the host name cannot be resolved; check the connection's host"),
    ({"host": "https://127.0.0.1:{port}"}, "the TLS handshake failed; does the server expect http://?"),
    ({"host": "http://127.0.0.1:{port}/api/v9"}, "or the address is not Connix's API"),
    ({"host": "connix"}, "The base URL must begin with https:// (or http://)"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG)
def test_a_wrong_connection_is_named_in_one_sentence(changes, says, emulator, connection):
    port = emulator.url.split(":")[2].partition("/")[0]
    if "host" in changes:
        changes = {"host": changes["host"].format(closed=closed_port(), port=port)}
    connection(**changes)
    works, said = ConnixHook().test_connection()
    assert not works
    assert says in said
    assert "\n" not in said
    assert emulator.api_key not in said


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.status(403, code="insufficient_permissions"), "may not list this project's agents"),
        (Fault.rate_limited(retry_after=60), "The rate limit is used up, so the key could not be tested"),
        (Fault.bad_json(), "not with Connix's API"),
        (Fault.status(503), "Connix responded 503"),
        (Fault.redirect("http://elsewhere.invalid/?token=abc"), "redirects to http://elsewhere.invalid; "),
        (Fault.redirect("http://me:pw@elsewhere.invalid:81/"), "redirects to http://elsewhere.invalid:81; "),
        (Fault.redirect("http://elsewhere.invalid:none/"), "redirects to an address that cannot be read; "),
    ],
)
def test_the_connection_test_names_each_kind_of_fault(fault, says, emulator, connection):
    emulator.faults.add(fault, on="list_agents", times=None)
    works, said = ConnixHook().test_connection()
    assert not works
    assert says in said
    assert len(emulator.journal.entries()) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_gateways_refusal_says_nothing_of_the_key(status):
    error = api_error_class(status)(status, f"http_{status}", "the response has no Connix error body")
    error.has_error_body = False
    said = explain_connection_error(error, "p")
    assert said.startswith("A gateway in front of Connix refused the request")
    assert "is valid" not in said


def test_secrets_are_masked_in_logs(emulator, connection, monkeypatch):
    from airflow.providers.common.compat.sdk import redact

    grant = emulator.add_token()
    extra = {"project_id": "p", "refresh_token": grant.refresh_token, "client_secret": grant.client_secret}
    connection(password="cx_masked_key_of_the_connection", extra=extra)
    monkeypatch.setenv("CONNIX_API_KEY", "cx_masked_key_of_the_environment")
    ConnixHook().get_conn().close()
    secrets = [
        "cx_masked_key_of_the_connection",
        "cx_masked_key_of_the_environment",
        grant.refresh_token,
        grant.client_secret,
    ]
    shown = redact(" ".join(secrets))
    assert all(secret not in shown for secret in secrets)


@pytest.fixture
def masked(monkeypatch):
    """Record the values that are registered with Airflow's masker, and the thread of each call."""
    told = {}
    monkeypatch.setattr(
        "connix_provider.hooks.connix.mask_secret",
        lambda secret: told.__setitem__(secret, threading.get_ident()),
    )
    return told


@pytest.fixture
def expired(emulator, connection):
    """Let the connection hold a token that has expired, and what it is renewed with."""
    grant = emulator.add_token(expires_in=10)
    extra = renewable(emulator, grant)
    connection(password=None, extra=extra)
    emulator.clock.advance(60)
    return grant


def tokens_and_secret(client):
    """All secrets but the Basic credentials, which only the client itself redacts."""
    return set(client._auth.secrets()) - set(client._auth._endpoint.secrets()[1:])


def test_the_key_of_the_connection_is_masked(connection, masked):
    connection(password="cx_masked_key_of_the_connection")
    ConnixHook().get_conn().close()
    assert "cx_masked_key_of_the_connection" in masked


def test_refreshed_tokens_are_masked_too(emulator, expired, masked):
    with ConnixHook().get_conn() as client:
        client.agents.list(emulator.project_id)
        secrets = tokens_and_secret(client)
    # Both new tokens, both old ones, and the client's secret.
    assert len(secrets) == 5
    assert secrets <= masked.keys()


async def test_a_trigger_masks_secrets_off_the_loop(emulator, expired, masked):
    async with await ConnixHook().get_async_conn() as client:
        await client.agents.list(emulator.project_id)
        secrets = tokens_and_secret(client)
    await wait_until_async("all secrets are masked", lambda: secrets <= masked.keys())
    assert threading.get_ident() not in masked.values()


def test_the_connections_port_is_in_the_url(emulator, monkeypatch):
    host, port = emulator.url.removesuffix("/api/v1").rsplit(":", 1)
    fields = {"conn_type": "connix", "host": host, "port": int(port), "password": emulator.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", json.dumps(fields))
    with ConnixHook().get_conn() as client:
        assert client.base_url == emulator.url


def test_a_client_of_the_hook_shows_no_key(emulator: Emulator, connection):
    with ConnixHook().get_conn() as client:
        assert emulator.api_key not in repr(client)
        assert emulator.api_key not in repr(vars(client))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"extra": [1, 2]},
            ["extra", "JSON object", "list"],
            marks=pytest.mark.skipif(
                airflow_version() in {(3, 0), (3, 1)}, reason="this Airflow takes such a connection for none"
            ),
        ),
        ({"host": "http://u:hunter22/x@host", "port": 80}, ["host"]),
        ({"host": "http://hunter22\u2100x/", "port": 80}, ["host"]),
        ({"extra": {"timeout": "cx_hunter22"}}, ["Timeout", "number of seconds"]),
    ],
)
def test_a_key_in_another_field_is_not_shown(changes, words, emulator, connection):
    connection(**changes)
    works, said = ConnixHook().test_connection()
    assert not works
    assert all(word in said for word in words), said
    assert "hunter22" not in said


def test_a_connection_that_never_comes_is_an_error(connection, monkeypatch):
    async def never(conn_id):
        await asyncio.Event().wait()

    monkeypatch.setattr("connix_provider.hooks.connix.get_async_connection", never)
    with pytest.raises(AirflowNotFoundException, match="'connix_default' within 30 s"):
        virtual_loop.run(ConnixHook().get_async_conn())


def test_the_extras_scope_reaches_the_token_endpoint(emulator, connection):
    grant = emulator.add_token()
    connection(password=None, extra={**renewable(emulator, grant), "access_token": "", "scope": "read"})
    with ConnixHook().get_conn() as client:
        client.agents.list(emulator.project_id)
        assert client._auth.credentials()[-2:] == ("read", emulator.token_url)
    # The emulator refuses a scope that the grant does not have.
    other = emulator.add_token()
    connection(password=None, extra={**renewable(emulator, other), "access_token": "", "scope": "admin"})
    works, said = ConnixHook().test_connection()
    assert not works
    assert "invalid_scope" in said
