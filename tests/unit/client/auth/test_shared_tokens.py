"""Clients of one process share the newest tokens."""

import asyncio
import contextlib
import multiprocessing
import threading

import pytest
from received import received_calls

from connix_provider.client import AsyncClient, ConnixAuthenticationError
from connix_provider.client.auth import token_cache


async def test_a_client_uses_a_closed_clients_tokens(emulator, project, refreshing, driver):
    for _ in range(3):
        emulator.clock.advance(3600)
        await driver.run(refreshing(), "list", project)
        await driver.close()
    assert received_calls(emulator) == 3 * ["list_agents", "token", "list_agents"]
    assert [entry.status for entry in emulator.journal.entries("token")] == [200] * 3


async def test_a_token_refreshed_elsewhere_is_used_first(emulator, project, refreshing, driver):
    emulator.clock.advance(3600)
    await driver.run(refreshing(), "list", project)
    for _ in range(2):
        await driver.run(refreshing(), "list", project)
        await driver.run(refreshing(access_token=None), "list", project)
    assert received_calls(emulator) == ["list_agents", "token"] + 5 * ["list_agents"]


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
    assert received_calls(emulator) == ["list_agents", "list_agents", "token", "list_agents", "list_agents"]


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
    assert received_calls(emulator)[3:] == ["token", "list_agents", "list_agents"]
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
