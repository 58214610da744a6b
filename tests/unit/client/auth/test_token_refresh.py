"""A refresh that was started is finished: the service may have replaced the refresh token already."""

import asyncio
import contextlib
import contextvars
import gc
import threading
from urllib.parse import parse_qs

import httpx
import pytest
from fast_timeouts import bounds_until

from connix_provider.client import AsyncClient, Client, ConnixError, ConnixServerError, ConnixTimeoutError
from connix_provider.client.auth import RefreshingBearerAuth
from connix_provider.client.auth.token_cache import TokenCache, Tokens
from connix_provider.client.auth.token_endpoint import TokenEndpoint

#: Seconds for what comes at once, unless something is broken.
LIMIT = 20


class RotatingService:
    """A token endpoint that takes each refresh token once and holds its responses, and its service."""

    def __init__(self, raw_server, http_response):
        self.requested = threading.Event()
        self.release = threading.Event()
        self.responses = []
        self.forms = []
        self._http_response = http_response
        self.tokens = raw_server(self._refresh)
        self.service = raw_server(self._serve)

    @property
    def options(self):
        return {"base_url": self.service.url, "refresh_token": "refresh-0", "token_url": self.tokens.url}

    @property
    def used(self):
        return [form.get("refresh_token") for form in self.forms]

    def _refresh(self, connection, request):
        form = {name: values[0] for name, values in parse_qs(request.split(b"\r\n\r\n")[1].decode()).items()}
        number = len(self.forms)
        is_success = form.get("refresh_token", f"refresh-{number}") == f"refresh-{number}"
        self.forms.append(form)
        self.requested.set()
        self.release.wait(LIMIT)
        new = {"access_token": f"access-{number + 1}", "refresh_token": f"refresh-{number + 1}"}
        usual = (
            self._http_response(new)
            if is_success
            else self._http_response({"error": "invalid_grant"}, "400 Bad")
        )
        connection.sendall(self.responses.pop(0) if self.responses else usual)

    def _serve(self, connection, request):
        is_success = self.forms and f"Bearer access-{len(self.forms)}\r\n".encode() in request
        connection.sendall(
            self._http_response({"agents": []}) if is_success else self._http_response(b"", "401 No")
        )


@pytest.fixture
def rotating(raw_server, http_response):
    rotating = RotatingService(raw_server, http_response)
    yield rotating
    rotating.release.set()


@pytest.fixture(params=["due", "refused"])
def given(request):
    """A client without an access token refreshes before its request, one with an old token after a 401."""
    return {} if request.param == "due" else {"access_token": "access-0"}


async def cancel_while_refreshing(client, rotating):
    calling = asyncio.create_task(client.agents.list("p"))
    assert await asyncio.to_thread(rotating.requested.wait, LIMIT)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_next_call_uses_a_cancelled_calls_refresh(rotating, given):
    async with AsyncClient(**rotating.options, **given) as client:
        await cancel_while_refreshing(client, rotating)
        following = [asyncio.create_task(client.agents.list("p")) for _ in range(3)]
        await asyncio.sleep(0)
        rotating.release.set()
        assert [len(page) for page in await asyncio.gather(*following)] == [0] * 3
    assert rotating.used == ["refresh-0"]


async def test_refresh_survives_a_closed_client(rotating, given):
    client = AsyncClient(**rotating.options, **given)
    await cancel_while_refreshing(client, rotating)
    await client.aclose()
    rotating.release.set()
    async with AsyncClient(**rotating.options) as another:
        assert len(await another.agents.list("p")) == 0
    assert rotating.used == ["refresh-0"]


async def test_a_timed_out_refresh_serves_the_next_call(driver, rotating, given):
    client = driver.open(**rotating.options, **given)
    for seconds in bounds_until(rotating.requested.is_set):
        with pytest.raises(ConnixTimeoutError) as caught:
            await driver.run(client.with_options(total_timeout=seconds), "list", "p")
    assert rotating.requested.is_set(), "no refresh reached the token endpoint"
    assert driver.is_async or not caught.value.may_have_executed
    rotating.release.set()
    assert len(await driver.run(client, "list", "p")) == 0
    assert rotating.used == ["refresh-0"]


async def test_failed_refresh_without_a_waiting_call_is_silent(rotating, http_response):
    noise = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    rotating.responses.append(http_response({"error": "slow_down"}, "503 Later"))
    async with AsyncClient(**rotating.options, max_attempts=1) as client:
        await cancel_while_refreshing(client, rotating)
        rotating.release.set()
        # The next call joins the refresh that fails, or starts one with the same token.
        with contextlib.suppress(ConnixError):
            await client.agents.list("p")
    gc.collect()
    assert noise == []
    assert set(rotating.used) == {"refresh-0"}


def test_threads_share_a_failed_refresh(rotating, http_response):
    rotating.responses = [http_response({"error": "down"}, "503 Down")] * 5
    errors = []

    def call():
        with Client(**rotating.options, max_attempts=1) as client:
            try:
                client.agents.list("p")
            except ConnixServerError as error:
                errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert rotating.requested.wait(LIMIT)
    rotating.release.set()
    for thread in threads:
        thread.join()
    # Each caller raises a copy, because a flow adds the particulars of its call.
    assert len({id(error) for error in errors}) == len(errors) == 5
    assert len({error.request_id for error in errors}) == 5


async def test_refresh_runs_outside_of_the_callers_context(rotating, monkeypatch):
    task, seen, tokens = contextvars.ContextVar("task", default=None), [], TokenEndpoint.tokens

    def spy(*args):
        seen.append(task.get())
        return tokens(*args)

    monkeypatch.setattr(TokenEndpoint, "tokens", spy)
    rotating.release.set()
    task.set("a trigger's")
    async with AsyncClient(**rotating.options) as client:
        await client.agents.list("p")
    assert seen == [None]


def test_plain_httpx_client_refreshes(rotating, given):
    rotating.release.set()
    auth = RefreshingBearerAuth("refresh-0", token_url=rotating.tokens.url, **given)
    with httpx.Client(auth=auth) as client:
        assert client.get(f"{rotating.service.url}/projects/p/agents").status_code == 200
    assert rotating.used == ["refresh-0"]


async def test_plain_async_httpx_client_refreshes(rotating, given):
    rotating.release.set()
    auth = RefreshingBearerAuth("refresh-0", token_url=rotating.tokens.url, **given)
    async with httpx.AsyncClient(auth=auth) as client:
        assert (await client.get(f"{rotating.service.url}/projects/p/agents")).status_code == 200
    assert rotating.used == ["refresh-0"]


async def test_client_credentials_get_tokens_without_a_refresh_token(driver, rotating):
    rotating.release.set()
    options = {**rotating.options, "client_id": "me", "client_secret": "secret-1", "scope": "read write"}
    del options["refresh_token"]
    client = driver.open(**options)
    assert len(await driver.run(client, "list", "p")) == 0
    assert rotating.forms == [{"grant_type": "client_credentials", "scope": "read write"}]


async def test_scope_is_sent_with_a_refresh_token(driver, rotating):
    rotating.release.set()
    client = driver.open(**rotating.options, scope="read")
    assert len(await driver.run(client, "list", "p")) == 0
    assert rotating.forms == [{"grant_type": "refresh_token", "refresh_token": "refresh-0", "scope": "read"}]


def test_stale_token_does_not_start_a_refresh():
    cache = TokenCache("refresh-0")
    used = cache.access
    cache.refresh(used, lambda _: Tokens("access-1", "refresh-1")).result(LIMIT)
    cache.refresh(used, lambda _: pytest.fail("refreshed twice")).result(LIMIT)
    assert (cache.access.value, cache.refresh_token) == ("access-1", "refresh-1")
    assert cache.previous() == ("refresh-0",)


def test_a_refresh_that_never_ends_is_replaced(monkeypatch):
    cache, release = TokenCache("refresh-1"), threading.Event()
    used = cache.access

    def stuck(refresh_token):
        release.wait(LIMIT)
        return Tokens("access-late")

    first = cache.refresh(used, stuck)
    assert cache.refresh(used, stuck) is first
    monkeypatch.setattr("connix_provider.client.auth.token_cache._LONGEST_REFRESH", 0.0)
    cache.refresh(used, lambda token: Tokens("access-2", "refresh-2")).result(LIMIT)
    assert cache.secrets() == ("access-2", "refresh-2")
    release.set()
    first.result(LIMIT)
    # The newest refresh token is kept, whichever refresh brought it.
    assert cache.refresh_token == "refresh-2"
