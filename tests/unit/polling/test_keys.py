"""A key that changes while tasks wait continues; the same key fails at once."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from tokens import renewable
from waiting import wait_until_async

from connix_provider.client import ConnixAuthenticationError
from connix_provider.compat import get_async_connection
from connix_provider.emulator import Emulator
from connix_provider.hooks.connix import ConnixHook
from connix_provider.polling.watching.shared_client import _shared, shared_client
from connix_provider.polling.watching.subscription import Subscription
from connix_provider.polling.worker_loop import PollingSession


@pytest.fixture
def reads(monkeypatch):
    """Count how often Airflow is asked for the connection."""
    seen = []

    async def count(conn_id):
        seen.append(conn_id)
        return await get_async_connection(conn_id)

    monkeypatch.setattr("connix_provider.hooks.connix.get_async_connection", count)
    return seen


async def _waiting(emulator: Emulator, wait, asked, count):
    agent_ids = emulator.seed(count, status="creating")
    for agent_id in agent_ids:
        emulator.script(agent_id, [(200, "running")])
    waiting = [asyncio.create_task(wait(agent_id)) for agent_id in agent_ids]
    await asked(min(count, 10))
    return waiting


@pytest.mark.heavy
@pytest.mark.parametrize("count", [1, 5, 200])
async def test_a_new_key_goes_on(count, emulator, wait, connection, reads, asked):
    waiting = await _waiting(emulator, wait, asked, count)
    old, new = emulator.api_key, emulator.add_key()
    connection(password=new)
    emulator.revoke_key(old)
    assert {event["outcome"] for event in await asyncio.gather(*waiting)} == {"done"}
    assert len(reads) == 2


async def test_a_refusal_after_a_key_change_ends_nothing(
    emulator, wait, connection, reads, asked, monkeypatch
):
    look = Subscription.poll

    async def hear_late(subscription, due):
        seen = await look(subscription, due)
        if isinstance(seen, ConnixAuthenticationError):
            (shared,) = _shared[asyncio.get_running_loop()].values()
            assert await shared.reload_key(shared.version)
        return seen

    monkeypatch.setattr(Subscription, "poll", hear_late)
    waiting = await _waiting(emulator, wait, asked, 1)
    old, new = emulator.api_key, emulator.add_key()
    connection(password=new)
    emulator.revoke_key(old)
    assert {event["outcome"] for event in await asyncio.gather(*waiting)} == {"done"}
    assert len(reads) == 2


async def test_waits_use_a_key_changed_after_failure(
    emulator, wait, warp, connection, reads, asked, monkeypatch
):
    hasty, patient = emulator.seed(2, status="creating")
    look, may_look = Subscription.poll, asyncio.Event()

    async def hold(subscription, due):
        if subscription.agent_id == patient and subscription.last:
            await may_look.wait()
        return await look(subscription, due)

    monkeypatch.setattr(Subscription, "poll", hold)
    later = asyncio.create_task(wait(patient))
    await asked(1)
    emulator.revoke_key(emulator.api_key)
    assert (await wait(hasty))["outcome"] == "refused"
    connection(password=emulator.add_key())
    emulator.set_status(patient, "running")
    warp.sleep(2)
    may_look.set()
    assert (await later)["outcome"] == "done"
    assert len(reads) == 3


async def test_an_older_refusal_reads_the_connection_no_more(emulator, warp, connection, reads):
    async with shared_client("connix_default") as shared:
        first = shared.version
        assert not await shared.reload_key(first)
        assert not await shared.reload_key(first)
        assert len(reads) == 2
        second = shared.version
        connection(password=emulator.add_key())
        assert not await shared.reload_key(second), "it was read a moment ago"
        warp.sleep(2)
        assert await shared.reload_key(second)
        assert await shared.reload_key(first)
        assert len(reads) == 3


@pytest.mark.parametrize("changed", ["client_secret", "access_token", "token_url"])
async def test_refresh_credentials_may_change_too(changed, emulator, warp, connection, reads):
    grant = emulator.add_token()
    extra = {"project_id": emulator.project_id, **renewable(emulator, grant)}
    connection(password="", extra=extra)
    with PollingSession(ConnixHook(), deadline=time.time() + 60) as polling_session:
        async with shared_client("connix_default") as shared:
            assert not polling_session.reload_key()
            assert not await shared.reload_key(shared.version)
            warp.sleep(2)
            connection(password="", extra={**extra, changed: extra[changed] + "x"})
            assert polling_session.reload_key()
            assert await shared.reload_key(shared.version)


@pytest.mark.parametrize("count", [1, 5, 200])
async def test_the_same_key_fails_at_once(count, emulator, wait, warp, connection, reads, asked):
    waiting = await _waiting(emulator, wait, asked, count)
    began = warp.slept
    emulator.revoke_key(emulator.api_key)
    events = await asyncio.gather(*waiting)
    assert {(event["outcome"], event["error"]["status_code"]) for event in events} == {("refused", 401)}
    # Many are asked for one after the other, and the key might have been changed meanwhile.
    assert 2 <= len(reads) <= 2 + (warp.slept - began)


async def test_a_key_may_change_again_and_again(emulator, wait, connection, reads, asked):
    waiting = await _waiting(emulator, wait, asked, 30)
    key = emulator.api_key
    for _ in range(3):
        so_far = len(emulator.journal.entries())
        emulator.revoke_key(key)
        key = emulator.add_key()
        connection(password=key)
        await asked(so_far + 3)
    assert {event["outcome"] for event in await asyncio.gather(*waiting)} == {"done"}
    assert len(reads) <= 4


async def test_a_wait_after_a_refusal_reads_the_connection(emulator, wait, connection, reads, asked):
    (agent_id,) = emulator.seed()
    connection(password="cx_" + "0" * 32)
    assert (await wait(agent_id))["outcome"] == "refused"
    connection()
    assert (await wait(agent_id))["outcome"] == "done"


async def test_a_joining_wait_reads_the_connection_anew(emulator, wait, warp, connection, reads, asked):
    (paused,) = emulator.seed(status="paused")
    refused, welcome = emulator.seed(2)
    patient = asyncio.create_task(wait(paused, poll_interval=300, deadline=warp.time() + 500))
    await asked(1)
    emulator.revoke_key(emulator.api_key)
    assert (await wait(refused))["outcome"] == "refused"
    connection(password=emulator.add_key())
    assert (await wait(welcome))["outcome"] == "done"
    assert (await patient)["outcome"] == "timeout"
    assert len(reads) == 3


@pytest.mark.heavy
async def test_a_former_keys_late_refusal_ends_no_wait(emulator, wait, connection, reads, monkeypatch):
    late, prompt = emulator.seed(2)
    send, former = httpx.AsyncHTTPTransport.handle_async_request, [emulator.api_key]

    async def send_and_hold(self, request):
        if former:
            connection(password=emulator.add_key())
            emulator.revoke_key(former.pop())
        response = await send(self, request)
        if response.status_code == 401 and request.url.path.endswith(late):
            await wait_until_async(
                "a request with the new key",
                lambda: any(entry.status == 200 for entry in emulator.journal.entries()),
            )
        return response

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", send_and_hold)
    events = await asyncio.gather(wait(late), wait(prompt))
    assert [event["outcome"] for event in events] == ["done", "done"]
    assert len(reads) == 2


@pytest.mark.parametrize("is_new", [True, False], ids=["another key", "the same key"])
async def test_every_client_of_every_key_is_closed(is_new, emulator, wait, connection, monkeypatch, asked):
    open_one, opened = ConnixHook.get_async_conn, []

    async def keep(self):
        opened.append(await open_one(self))
        return opened[-1]

    monkeypatch.setattr(ConnixHook, "get_async_conn", keep)
    waiting = await _waiting(emulator, wait, asked, 2)
    former = emulator.api_key
    if is_new:
        connection(password=emulator.add_key())
    emulator.revoke_key(former)
    await asyncio.gather(*waiting)
    assert [client._http.is_closed for client in opened] == [True, True]


async def test_a_connection_deleted_while_tasks_wait_is_told(emulator, wait, connection, monkeypatch, asked):
    waiting = await _waiting(emulator, wait, asked, 5)
    monkeypatch.delenv("AIRFLOW_CONN_CONNIX_DEFAULT")
    emulator.revoke_key(emulator.api_key)
    events = await asyncio.gather(*waiting)
    assert {event["outcome"] for event in events} == {"refused"}
    assert all("connix_default" in event["message"] for event in events)
