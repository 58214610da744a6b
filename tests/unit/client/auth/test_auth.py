"""Credentials: keys, tokens, and tokens that are refreshed."""

import asyncio
import base64
import contextlib
import json
import multiprocessing
import threading
import time
from urllib.parse import parse_qs

import pytest
from fast_timeouts import shorten_timeouts
from tokens import renewable
from waiting import wait_until

from connix_provider.client import (
    AsyncClient,
    ConnixAuthenticationError,
    ConnixConnectionError,
    ConnixError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixServerError,
    ConnixTimeoutError,
)
from connix_provider.client.auth import (
    ApiKeyAuth,
    Auth,
    BearerAuth,
    RefreshingBearerAuth,
    choose_auth,
    token_cache,
)
from connix_provider.client.transient import is_transient
from connix_provider.emulator import Fault
from connix_provider.emulator.keys import OAuthGrant

KEY = "cx_" + 32 * "a"


@pytest.fixture
def grant(emulator) -> OAuthGrant:
    return emulator.add_token()


@pytest.fixture
def tokens(emulator, grant):
    return renewable(emulator, grant)


@pytest.fixture
def refreshing(driver, emulator, tokens):
    def refreshing(**options):
        return driver.to(emulator, **{**tokens, **options})

    return refreshing


def calls(emulator):
    return [entry.call for entry in emulator.journal.entries()]


def headers_of(request):
    lines = request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


async def test_a_key(driver, raw_server, http_response):
    server = raw_server(http_response({"agents": []}))
    await driver.run(driver.open(f" {KEY}\n", server.url), "list", "p")
    sent = headers_of(server.requests[0])
    assert sent["x-api-key"] == KEY
    assert "authorization" not in sent


async def test_a_bearer_token(driver, emulator, project, grant):
    client = driver.to(emulator, access_token=grant.access_token)
    assert len(await driver.run(client, "list", project)) == 0
    emulator.revoke_token(grant.access_token)
    with pytest.raises(ConnixAuthenticationError) as caught:
        await driver.run(client, "list", project)
    assert grant.access_token not in str(caught.value)
    assert calls(emulator) == ["list_agents"] * 2


async def test_a_refused_token_is_refreshed_once(emulator, project, grant, refreshing, driver):
    renewed = []
    client = refreshing(on_new_secret=renewed.append)
    emulator.revoke_token(grant.access_token)
    agent = await driver.run(client, "create", project, {"name": "one"})
    assert calls(emulator) == ["create_agent", "token", "create_agent"]
    assert len(emulator.journal.executed("create_agent")) == 1
    assert emulator.agent(agent.id)["name"] == "one"
    await driver.run(client, "list", project)
    assert calls(emulator)[3:] == ["list_agents"]
    assert len(renewed) == 2
    assert set(renewed) < set(client._auth.secrets())
    assert grant.access_token not in renewed
    # What was in use a moment ago may still be echoed in a response.
    assert {grant.access_token, grant.refresh_token, grant.client_secret} < set(client._auth.secrets())


async def test_the_rotated_refresh_token_is_used_next(emulator, project, refreshing, driver):
    client = refreshing(access_token=None)
    for _ in range(3):
        await driver.run(client, "list", project)
        emulator.revoke_token(client._auth._cache.access.value)
    assert calls(emulator) == ["token", "list_agents"] + 2 * ["list_agents", "token", "list_agents"]
    assert all(entry.status == 200 for entry in emulator.journal.entries("token"))


async def test_a_token_is_refreshed_before_it_expires(emulator, project, refreshing, driver, monkeypatch):
    client = refreshing(access_token=None)
    await driver.run(client, "list", project)
    now = time.monotonic()
    for after, renewals in ((3500, 1), (3571, 2)):
        monkeypatch.setattr(
            "connix_provider.client.auth.token_cache.time.monotonic", lambda after=after: now + after
        )
        await driver.run(client.with_options(), "list", project)
        monkeypatch.undo()
        assert len(emulator.journal.entries("token")) == renewals
    # A 401 never came of it.
    assert {entry.status for entry in emulator.journal.entries()} == {200}


@pytest.mark.parametrize(
    ("lifetime", "early"),
    [
        (3600, 3570),
        ("3600", 3570),
        (10, 9),
        (None, float("inf")),
        (0, float("inf")),
        (-5, float("inf")),
        (True, float("inf")),
        ("soon", float("inf")),
        ([], float("inf")),
        (10**400, float("inf")),
    ],
)
async def test_any_lifetime_is_accepted(driver, raw_server, http_response, lifetime, early):
    tokens = raw_server(http_response({"access_token": "new-token", "expires_in": lifetime}))
    server = raw_server(http_response({"agents": []}))
    client = driver.open(base_url=server.url, refresh_token="refresh-1", token_url=tokens.url)
    began = time.monotonic()
    await driver.run(client, "list", "p")
    assert began + early <= client._auth._cache.access.refresh_at <= time.monotonic() + early
    assert client._auth._cache.refresh_token == "refresh-1"


async def test_a_second_401_is_final(emulator, project, refreshing, driver):
    client = refreshing()
    emulator.faults.add(Fault.status(401, "unauthorized", "No"), "list_agents", times=None)
    with pytest.raises(ConnixAuthenticationError) as caught:
        await driver.run(client, "list", project)
    assert caught.value.code == "unauthorized"
    assert calls(emulator) == ["list_agents", "token", "list_agents"]


def test_threads_share_one_refresh(emulator, project, grant, open_client):
    auth = RefreshingBearerAuth(
        grant.refresh_token,
        access_token=grant.access_token,
        client_id=grant.client_id,
        client_secret=grant.client_secret,
        token_url=emulator.token_url,
    )
    client = open_client(base_url=emulator.url, auth=auth)
    emulator.revoke_token(grant.access_token)
    seen, barrier = [], threading.Barrier(8)

    def ask():
        barrier.wait()
        seen.append(len(client.agents.list(project)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [0] * 8
    assert len(emulator.journal.entries("token")) == 1


async def test_tasks_share_one_refresh(emulator, project, grant, driver, refreshing):
    if not driver.is_async:
        # The same client made by threads is the test above.
        driver.is_async = True
    client = refreshing(access_token=None)
    pages = await asyncio.gather(*(client.agents.list(project) for _ in range(8)))
    assert [len(page) for page in pages] == [0] * 8
    assert len(emulator.journal.entries("token")) == 1
    emulator.revoke_token(client._auth._cache.access.value)
    await asyncio.gather(*(client.agents.list(project) for _ in range(8)))
    assert len(emulator.journal.entries("token")) == 2


async def test_a_refused_refresh_raises_an_error_without_secrets(
    emulator, project, grant, driver, refreshing
):
    for wrong, said in (
        ({"refresh_token": "stolen-refresh-token"}, "invalid_grant"),
        ({"client_secret": "wrong-client-secret"}, "invalid_client"),
    ):
        emulator.journal.clear()
        client = refreshing(access_token=None, **wrong)
        with pytest.raises(ConnixAuthenticationError, match=said) as caught:
            await driver.run(client, "create", project, {"name": "x"})
        error = caught.value
        assert error.code == "token_not_refreshed"
        assert error.status_code in {400, 401}
        assert error.request == "POST to the token endpoint"
        assert emulator.token_url in str(error)
        assert not error.may_have_executed
        for secret in (*wrong.values(), grant.refresh_token, grant.client_secret):
            assert secret not in f"{error}{error!r}{error.__cause__!r}{error.__context__!r}"
        assert calls(emulator) == ["token"]


@pytest.mark.parametrize(
    "fault", [Fault.status(503), Fault.html_502(), Fault.rate_limited(0, "header"), Fault.reset_before()]
)
async def test_transient_errors_of_the_token_endpoint_are_retried(
    emulator, project, driver, refreshing, fault
):
    client = refreshing(access_token=None)
    emulator.faults.add(fault, "token", times=2)
    # Even a create: it had not been sent yet.
    await driver.run(client, "create", project, {"name": "x"})
    assert calls(emulator) == ["token", "token", "token", "create_agent"]


async def test_lasting_errors_of_the_token_endpoint_are_raised(emulator, project, driver, refreshing):
    client = refreshing(access_token=None, max_attempts=2, total_timeout=30)
    for fault, kind in (
        (Fault.status(503), ConnixServerError),
        (Fault.reset_before(), ConnixConnectionError),
        (Fault.rate_limited(60, "header"), ConnixRateLimitError),
    ):
        emulator.faults.clear()
        emulator.faults.add(fault, "token", times=None)
        with pytest.raises(kind) as caught:
            await driver.run(client, "create", project, {"name": "x"})
        assert not caught.value.may_have_executed
    assert caught.value.retry_after == 60
    assert "create_agent" not in calls(emulator)


async def test_a_token_endpoint_that_hangs_times_out(emulator, project, driver, refreshing, monkeypatch):
    client = refreshing(access_token=None, max_attempts=2)
    emulator.faults.add(Fault.hang(), "token", times=None)
    shorten_timeouts(emulator, monkeypatch)
    with pytest.raises(ConnixTimeoutError) as caught:
        await driver.run(client, "create", project, {"name": "x"})
    assert not caught.value.may_have_executed or driver.is_async
    assert calls(emulator) == ["token", "token"]


@pytest.mark.heavy
def test_no_thread_outwaits_its_deadline_for_a_refresh(emulator, project, grant, open_client, monkeypatch):
    emulator.faults.add(Fault.hang(), "token", times=None)
    client = open_client(
        base_url=emulator.url,
        refresh_token=grant.refresh_token,
        token_url=emulator.token_url,
        max_attempts=1,
        total_timeout=2,
    )
    ends = []

    def ask(client):
        with pytest.raises(ConnixTimeoutError) as caught:
            client.agents.list(project)
        ends.append(caught.value.may_have_executed)

    threads = [threading.Thread(target=ask, args=(client,))]
    threads[0].start()
    wait_until("a refresh", lambda: emulator.journal.entries("token"))
    # A later caller has less time than the refresh takes, however slowly these threads begin.
    hasty = client.with_options(total_timeout=0.2)
    threads += [threading.Thread(target=ask, args=(hasty,)) for _ in range(3)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ends == [False] * 4
    # A caller that waited in vain for another's refresh began none of its own.
    assert len(emulator.journal.entries("token")) < 4


@pytest.mark.parametrize("first", [401, None])
async def test_a_token_response_is_bounded(driver, raw_server, http_response, first):
    def endless(connection, request):
        connection.sendall(http_response(b"", length=False))
        while True:
            connection.sendall(2**16 * b" ")

    tokens = raw_server(endless)
    server = raw_server(http_response(b"", "401 No"))
    token = {"access_token": "old-token"} if first else {}
    client = driver.open(
        base_url=server.url, refresh_token="refresh-1", token_url=tokens.url, max_attempts=1, **token
    )
    with pytest.raises(ConnixResponseError, match=r"new tokens cannot be read.*more than 32 MiB") as caught:
        await driver.run(client, "create", "p", {"name": "x"})
    assert not caught.value.may_have_executed


async def test_the_body_of_a_401_is_left_unread(driver, raw_server, http_response):
    tokens = raw_server(http_response({"access_token": "new-token"}))

    def serve(connection, request):
        if b"Bearer new-token" in request:
            connection.sendall(http_response({"agents": []}))
            return
        connection.sendall(http_response(b"", "401 No", "Content-Encoding: gzip", length=False))
        while True:
            connection.sendall(2**16 * b" ")

    client = driver.open(
        base_url=raw_server(serve).url,
        access_token="old-token",
        refresh_token="refresh-1",
        token_url=tokens.url,
        max_attempts=1,
    )
    assert len(await driver.run(client, "list", "p")) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"access_token": null}',
        b'{"access_token": 5}',
        b'{"access_token": ""}',
        b'{"access_token": "***"}',
        b'{"access_token": "two\\nlines"}',
        '{"access_token": "tök"}'.encode(),
    ],
)
async def test_a_response_without_a_token_is_an_error(driver, raw_server, http_response, body):
    tokens = raw_server(http_response(body))
    client = driver.open(
        base_url="http://127.0.0.1:9", refresh_token="refresh-1", token_url=f"{tokens.url}/t?secret=query"
    )
    with pytest.raises(ConnixAuthenticationError, match="no usable token in the response") as caught:
        await driver.run(client, "list", "p")
    assert "query" not in str(caught.value)
    assert len(tokens.requests) == 1


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"<html>", b"\xff", 50_000 * b"[", b'{"access_token": "a']
)
async def test_an_unreadable_success_of_the_endpoint_is_transient(driver, raw_server, http_response, body):
    tokens = raw_server(http_response(body))
    client = driver.open(
        base_url="http://127.0.0.1:9",
        refresh_token="refresh-1",
        token_url=f"{tokens.url}/t?secret=query",
        max_attempts=1,
    )
    with pytest.raises(ConnixResponseError, match="is no JSON object") as caught:
        await driver.run(client, "list", "p")
    assert is_transient(caught.value)
    assert "query" not in str(caught.value)


async def test_secrets_echoed_by_a_token_endpoint_are_hidden(driver, raw_server):
    def echo(connection, request):
        body = json.dumps(
            {"error": "bad", "error_description": request.split(b"\r\n\r\n")[1].decode()}
        ).encode()
        connection.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    tokens = raw_server(echo)
    secret = "refresh/token+with=signs"
    client = driver.open(base_url="http://127.0.0.1:9", refresh_token=secret, token_url=tokens.url)
    with pytest.raises(ConnixAuthenticationError, match=r"bad: .*\*\*\*") as caught:
        await driver.run(client, "list", "p")
    assert "with" not in str(caught.value).split("bad:")[1]


@pytest.mark.parametrize(
    ("client_id", "client_secret", "basic", "in_the_body"),
    [
        (None, None, None, None),
        ("public client", None, None, "public client"),
        ("id:é", "se cret%", "id%3A%C3%A9:se%20cret%25", None),
    ],
)
async def test_how_a_client_names_itself(
    driver, raw_server, http_response, client_id, client_secret, basic, in_the_body
):
    tokens = raw_server(http_response({"access_token": "new-token", "refresh_token": "refresh-2"}))
    server = raw_server(http_response({"agents": []}))
    client = driver.open(
        base_url=server.url,
        refresh_token="refresh-1",
        client_id=client_id,
        client_secret=client_secret,
        token_url=tokens.url,
    )
    await driver.run(client, "list", "p")
    head, _, body = tokens.requests[0].partition(b"\r\n\r\n")
    sent, form = headers_of(tokens.requests[0]), parse_qs(body.decode())
    assert head.startswith(b"POST / HTTP/1.1\r\n")
    assert sent["content-type"] == "application/x-www-form-urlencoded"
    assert sent["user-agent"].startswith("airflow-provider-connix/")
    assert "x-api-key" not in sent
    assert form["grant_type"] == ["refresh_token"]
    assert form.get("client_id") == ([in_the_body] if in_the_body else None)
    assert "client_secret" not in form
    authorization = sent.get("authorization")
    assert authorization == (basic and f"Basic {base64.b64encode(basic.encode()).decode()}")
    assert headers_of(server.requests[0])["authorization"] == "Bearer new-token"
    assert client._auth._cache.refresh_token == "refresh-2"


@pytest.mark.parametrize("renewed", ["refresh-\ud800", "two words", "", 7, None, ["refresh-2"]])
async def test_an_unusable_new_refresh_token_is_ignored(driver, raw_server, http_response, renewed):
    tokens = raw_server(http_response({"access_token": "new-token", "refresh_token": renewed}))
    server = raw_server(http_response({"agents": []}))
    client = driver.open(base_url=server.url, refresh_token="refresh-1", token_url=tokens.url)
    await driver.run(client, "list", "p")
    assert client._auth._cache.refresh_token == "refresh-1"


class _Reading(ApiKeyAuth):
    """An auth of a user's own that reads each response."""

    requires_response_body = True


async def test_an_auth_may_read_the_response(driver, emulator, project):
    client = driver.to(emulator, auth=_Reading(emulator.api_key))
    for _ in range(2):
        assert len(await driver.run(client, "list", project)) == 0


async def test_a_missing_token_endpoint_names_its_setting(driver, raw_server, http_response):
    tokens = raw_server(http_response(b""))
    tokens.stop()
    client = driver.open(refresh_token="refresh-1", token_url=tokens.url, max_attempts=1)
    with pytest.raises(ConnixConnectionError, match=f"{tokens.url}: .* check the connection's token_url$"):
        await driver.run(client, "list", "p")


async def test_a_broken_token_endpoint_is_named_itself(driver, raw_server):
    tokens = raw_server(lambda connection, request: None)
    client = driver.open(refresh_token="refresh-1", token_url=tokens.url, max_attempts=1)
    with pytest.raises(ConnixConnectionError, match=f"{tokens.url} broke before new tokens was complete: "):
        await driver.run(client, "list", "p")


async def test_a_redirect_of_the_token_endpoint_is_refused(driver, raw_server, http_response):
    elsewhere = raw_server(http_response({"access_token": "stolen-token"}))
    tokens = raw_server(http_response(b"", "307 X", f"Location: {elsewhere.url}"))
    client = driver.open(base_url="http://127.0.0.1:9", refresh_token="refresh-1", token_url=tokens.url)
    with pytest.raises(ConnixAuthenticationError):
        await driver.run(client, "list", "p")
    assert elsewhere.requests == []


# Who shares the newest tokens


async def test_a_client_uses_a_closed_clients_tokens(emulator, project, refreshing, driver):
    for _ in range(3):
        emulator.clock.advance(3600)
        await driver.run(refreshing(), "list", project)
        await driver.close()
    assert calls(emulator) == 3 * ["list_agents", "token", "list_agents"]
    assert [entry.status for entry in emulator.journal.entries("token")] == [200] * 3


async def test_a_token_refreshed_elsewhere_is_used_first(emulator, project, refreshing, driver):
    emulator.clock.advance(3600)
    await driver.run(refreshing(), "list", project)
    for _ in range(2):
        await driver.run(refreshing(), "list", project)
        await driver.run(refreshing(access_token=None), "list", project)
    assert calls(emulator) == ["list_agents", "token"] + 5 * ["list_agents"]


@pytest.mark.parametrize("first", ["sync", "async"])
async def test_both_kinds_of_client_share_refreshed_tokens(emulator, project, tokens, open_client, first):
    async def ask(kind):
        emulator.clock.advance(3600)
        if kind == "sync":
            return open_client(base_url=emulator.url, **tokens).agents.list(project)
        async with AsyncClient(base_url=emulator.url, verify=False, **tokens) as client:
            return await client.agents.list(project)

    for kind in (first, "async" if first == "sync" else "sync", first):
        assert len(await ask(kind)) == 0
    assert [entry.status for entry in emulator.journal.entries("token")] == [200] * 3


@pytest.mark.parametrize("given", [True, False])
async def test_sync_and_async_clients_share_one_refresh(emulator, project, tokens, open_client, given):
    if given:
        emulator.revoke_token(tokens["access_token"])
    else:
        del tokens["access_token"]
    threads = [open_client(base_url=emulator.url, **tokens) for _ in range(4)]
    async with contextlib.AsyncExitStack() as stack:
        tasks = [AsyncClient(base_url=emulator.url, verify=False, **tokens) for _ in range(4)]
        for client in tasks:
            await stack.enter_async_context(client)
        pages = await asyncio.gather(
            *(client.agents.list(project) for client in tasks),
            *(asyncio.to_thread(client.agents.list, project) for client in threads),
            return_exceptions=True,
        )
    assert not [page for page in pages if isinstance(page, BaseException)]
    assert [len(page) for page in pages] == [0] * 8
    assert len(emulator.journal.entries("token")) == 1


async def test_a_new_access_token_is_used_before_refreshing(emulator, project, grant, refreshing, driver):
    emulator.revoke_token(grant.access_token)
    await driver.run(refreshing(), "list", project)
    emulator.journal.clear()
    changed = emulator.add_token().access_token
    client = refreshing(access_token=changed)
    assert client._auth._cache.access.value == changed
    await driver.run(client, "list", project)
    emulator.revoke_token(changed)
    await driver.run(client, "list", project)
    # What was given once is not begun with again.
    await driver.run(refreshing(access_token=changed), "list", project)
    assert calls(emulator) == ["list_agents", "list_agents", "token", "list_agents", "list_agents"]


async def test_another_refresh_token_begins_anew(emulator, project, grant, refreshing, driver):
    emulator.revoke_token(grant.access_token)
    old = refreshing()
    await driver.run(old, "list", project)
    changed = emulator.add_token()
    client = refreshing(
        access_token=None,
        refresh_token=changed.refresh_token,
        client_id=changed.client_id,
        client_secret=changed.client_secret,
    )
    assert client._auth.secrets()[:2] == (changed.refresh_token, changed.client_secret)
    await driver.run(client, "list", project)
    await driver.run(refreshing(), "list", project)
    assert calls(emulator)[3:] == ["token", "list_agents", "list_agents"]
    for options in ({"client_id": "other"}, {"token_url": f"{emulator.token_url}/other"}):
        assert refreshing(**options)._auth._cache is not old._auth._cache


async def test_every_client_hides_the_refreshed_tokens(emulator, project, grant, refreshing, driver):
    first, told = refreshing(), []
    for _ in range(9):
        emulator.clock.advance(3600)
        await driver.run(first, "list", project)
    client = refreshing(on_new_secret=told.append)
    for _ in range(2):
        await driver.run(client, "list", project)
    assert told == list(first._auth._cache.secrets())
    known = {*told, grant.access_token, grant.refresh_token, grant.client_secret}
    assert known < set(client._auth.secrets())


async def test_no_repr_shows_shared_tokens(emulator, project, grant, refreshing, driver):
    emulator.revoke_token(grant.access_token)
    client = refreshing()
    await driver.run(client, "list", project)
    shared = client._auth._cache
    shown = repr((token_cache._caches, shared, shared.access, client._auth, list(token_cache._caches)))
    assert not [secret for secret in client._auth.secrets() if secret in shown]


async def test_a_refresh_token_used_elsewhere_fails_with_advice(emulator, project, grant, refreshing, driver):
    await driver.run(refreshing(access_token=None), "list", project)
    # As another process begins.
    token_cache._caches.clear()
    with pytest.raises(ConnixAuthenticationError, match=r"Another process may have used .*get a new one"):
        await driver.run(refreshing(access_token=None), "list", project)
    with pytest.raises(ConnixAuthenticationError, match="invalid_client") as caught:
        await driver.run(refreshing(access_token=None, client_secret="wrong"), "list", project)
    assert "Another process" not in str(caught.value)


def test_the_most_recently_used_token_caches_are_kept():
    kept = token_cache.token_cache_for("kept", "refresh-1", None)
    for number in range(1000):
        token_cache.token_cache_for(f"another {number}", "refresh-1", None)
        assert token_cache.token_cache_for("kept", "refresh-1", None) is kept
    assert len(token_cache._caches) == 256


def _refresh_in_child(pipe):
    cache = token_cache.token_cache_for("one", "refresh-1", "access-1")
    cache.refresh(cache.access, lambda token: token_cache.Tokens(f"after {token}")).result(20)
    pipe.send(cache.secrets())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_forked_process_refreshes_the_newest_tokens_itself():
    cache = token_cache.token_cache_for("one", "refresh-1", "access-1")
    cache.refresh(cache.access, lambda _: token_cache.Tokens("access-2", "refresh-2")).result(20)
    release = threading.Event()
    # A refresh of the parent never ends in the child.
    pending = cache.refresh(cache.access, lambda _: token_cache.Tokens(str(release.wait(20))))
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_refresh_in_child, args=(there,))
    child.start()
    try:
        assert here.poll(20)
        assert here.recv() == ("after refresh-2", "refresh-2")
    finally:
        child.kill()
        child.join()
        release.set()
        pending.result(20)


# Choosing credentials


def test_credentials_are_chosen_in_order(monkeypatch):
    assert isinstance(choose_auth(KEY, access_token="t-1", refresh_token="r-1"), ApiKeyAuth)
    assert isinstance(choose_auth(access_token="t-1", refresh_token="r-1"), RefreshingBearerAuth)
    assert isinstance(choose_auth(access_token="t-1"), BearerAuth)
    with pytest.raises(ValueError, match=r"there is no Connix API key.*CONNIX_API_KEY"):
        choose_auth()
    with pytest.raises(ValueError, match="there is no Connix API key"):
        choose_auth("")
    monkeypatch.setenv("CONNIX_API_KEY", KEY)
    assert choose_auth().secrets() == (KEY,)
    assert choose_auth("").secrets() == (KEY,)
    assert choose_auth(access_token="t-1").secrets() == ("t-1",)


@pytest.mark.parametrize(
    ("base_url", "is_sent"),
    [
        (None, True),
        ("", True),
        ("https://api.connix.io", True),
        ("HTTPS://API.connix.io:443/api/v1/", True),
        ("http://api.connix.io", False),
        ("https://api.connix.io:8443", False),
        ("https://api.connix.io.example.com", False),
        ("https://connix.io", False),
        ("http://127.0.0.1:8080", False),
    ],
)
async def test_the_environments_key_goes_only_to_default_host(driver, base_url, is_sent, monkeypatch):
    monkeypatch.setenv("CONNIX_API_KEY", KEY)
    if is_sent:
        assert driver.open(base_url=base_url)._auth.secrets() == (KEY,)
        return
    with pytest.raises(ValueError, match=r"CONNIX_API_KEY is sent to https://api\.connix\.io only") as caught:
        driver.open(base_url=base_url)
    assert KEY not in str(caught.value)
    assert driver.open(KEY, base_url)._auth.secrets() == (KEY,)


async def test_an_empty_variable_is_no_api_key(driver, monkeypatch):
    monkeypatch.setenv("CONNIX_API_KEY", "")
    with pytest.raises(ValueError, match="there is no Connix API key: give one"):
        driver.open(base_url="https://gw.example.com")


async def test_a_given_auth_is_used(driver, emulator, project):
    client = driver.to(emulator, auth=ApiKeyAuth(emulator.api_key))
    assert len(await driver.run(client, "list", project)) == 0


@pytest.mark.parametrize("key", ["cx_short", "sk-" + 32 * "a", KEY[:-1] + "g", KEY + "a"])
async def test_an_odd_key_is_used_with_a_warning(driver, raw_server, http_response, caplog, key):
    server = raw_server(http_response({"agents": []}))
    await driver.run(driver.open(key, server.url), "list", "p")
    assert headers_of(server.requests[0])["x-api-key"] == key
    warning = next(record for record in caplog.records if record.levelname == "WARNING")
    assert f"unusual shape ({len(key)} characters" in warning.getMessage()
    assert key not in caplog.text


def test_a_usual_key_gets_no_warning(caplog):
    ApiKeyAuth(KEY)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("   ", "is empty"),
        ("\n", "is empty"),
        ("***", "is the mask"),
        ("********", "is the mask"),
        ("cx_secret\nX-Evil: 1", "holds characters"),
        ("cx_secret secret", "holds characters"),
        ("cx_sécret", "holds characters"),
        ("cx_secret\x00", "holds characters"),
        (b"cx_secret", "must be a string, not bytes"),
        (12345, "must be a string, not int"),
    ],
)
@pytest.mark.parametrize("field", ["api_key", "access_token", "refresh_token"])
def test_an_impossible_key_is_refused_and_not_shown(value, told, field):
    with pytest.raises(ValueError, match=told) as caught:
        choose_auth(**{field: value})
    assert field.replace("_", " ").lower() in str(caught.value).lower()
    assert "secret" not in str(caught.value).replace("\n", " ")
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "console.connix.io/token",
        "ftp://x/",
        "https://",
        "http://[::1",
        "",
        b"http://x",
        5,
        ["https://x"],
        "https://user:pass/word@host/",
        "https://host:99999999/",
    ],
)
def test_a_token_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="token_url must begin with https://") as caught:
        RefreshingBearerAuth("refresh-1", token_url=url)
    assert caught.value.__context__ is None
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("value", [5, b"id", ["id"], {}, True])
@pytest.mark.parametrize("field", ["client_id", "client_secret"])
def test_a_client_id_of_wrong_type_is_named(field, value):
    with pytest.raises(ValueError, match=f"the {field} must be a string, not {type(value).__name__}"):
        choose_auth(refresh_token="refresh-1", **{field: value})
    with pytest.raises(ValueError, match=f"the {field} contains a lone surrogate") as caught:
        choose_auth(refresh_token="refresh-1", **{field: "secret\ud800"})
    assert "secret\ud800" not in str(caught.value)


def test_every_auth_knows_its_secrets():
    with pytest.raises(NotImplementedError):
        Auth().secrets()
    assert issubclass(ConnixAuthenticationError, ConnixError)
    auth = RefreshingBearerAuth("refresh-1", client_secret="secret-1")
    assert auth.secrets()[:2] == ("refresh-1", "secret-1")
