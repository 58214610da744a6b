"""A client sends its key or token, and refreshes a token before it expires or after a 401."""

import asyncio
import threading
import time

import pytest
from fast_timeouts import shorten_timeouts
from raw_requests import headers_of
from received import received_calls
from waiting import wait_until

from connix_provider.client import (
    ConnixAuthenticationError,
    ConnixConnectionError,
    ConnixRateLimitError,
    ConnixServerError,
    ConnixTimeoutError,
)
from connix_provider.client.auth import RefreshingBearerAuth
from connix_provider.emulator import Fault

KEY = "cx_" + 32 * "a"


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
    assert received_calls(emulator) == ["list_agents"] * 2


async def test_a_refused_token_is_refreshed_once(emulator, project, grant, refreshing, driver):
    renewed = []
    client = refreshing(on_new_secret=renewed.append)
    emulator.revoke_token(grant.access_token)
    agent = await driver.run(client, "create", project, {"name": "one"})
    assert received_calls(emulator) == ["create_agent", "token", "create_agent"]
    assert len(emulator.journal.executed("create_agent")) == 1
    assert emulator.agent(agent.id)["name"] == "one"
    await driver.run(client, "list", project)
    assert received_calls(emulator)[3:] == ["list_agents"]
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
    assert received_calls(emulator) == ["token", "list_agents"] + 2 * ["list_agents", "token", "list_agents"]
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
    assert received_calls(emulator) == ["list_agents", "token", "list_agents"]


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
        assert received_calls(emulator) == ["token"]


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
    assert received_calls(emulator) == ["token", "token", "token", "create_agent"]


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
    assert "create_agent" not in received_calls(emulator)


async def test_a_token_endpoint_that_hangs_times_out(emulator, project, driver, refreshing, monkeypatch):
    client = refreshing(access_token=None, max_attempts=2)
    emulator.faults.add(Fault.hang(), "token", times=None)
    shorten_timeouts(emulator, monkeypatch)
    with pytest.raises(ConnixTimeoutError) as caught:
        await driver.run(client, "create", project, {"name": "x"})
    assert not caught.value.may_have_executed or driver.is_async
    assert received_calls(emulator) == ["token", "token"]


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
