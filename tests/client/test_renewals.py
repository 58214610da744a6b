"""A renewal that was begun is carried to its end: the service may have used the refresh token up already."""

import asyncio
import contextvars
import gc
import threading
import time
from urllib.parse import parse_qs

import pytest
from impatience import bounds_until

from connix_provider.client import AsyncClient, ConnixTimeoutError, client, punctual
from connix_provider.client.tokens import TokenEndpoint

#: Seconds for what comes at once, unless something is broken.
AGES = 20


class Rotating:
    """A token endpoint that takes each refresh token once, and holds its answers back; and its service."""

    def __init__(self, raw_server, answer):
        self.asked = threading.Event()
        self.release = threading.Event()
        self.answers = []
        self.wait = lambda: self.release.wait(AGES)
        self.taken = []
        self._answer = answer
        self.tokens = raw_server(self._renew)
        self.service = raw_server(self._serve)

    @property
    def options(self):
        return {"base_url": self.service.url, "refresh_token": "refresh-0", "token_url": self.tokens.url}

    def sent_with(self, access_token):
        line = f"Authorization: Bearer {access_token}\r\n".encode()
        return sum(line in request for request in self.service.requests)

    def _renew(self, connection, request):
        (given,) = parse_qs(request.split(b"\r\n\r\n")[1].decode())["refresh_token"]
        is_good = given == f"refresh-{len(self.taken)}"
        self.taken.append(given)
        self.asked.set()
        self.wait()
        number = len(self.taken)
        new = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}"}
        usual = self._answer(new) if is_good else self._answer({"error": "invalid_grant"}, "400 Bad")
        connection.sendall(self.answers.pop(0) if self.answers else usual)

    def _serve(self, connection, request):
        is_good = self.taken and f"Bearer access-{len(self.taken)}\r\n".encode() in request
        connection.sendall(self._answer({"agents": []}) if is_good else self._answer(b"", "401 No"))


@pytest.fixture
def rotating(raw_server, answer):
    rotating = Rotating(raw_server, answer)
    yield rotating
    rotating.release.set()


@pytest.fixture(params=["due", "refused"])
def given(request):
    """What a client has whose token is to be renewed before the first request, or because of its answer."""
    return {} if request.param == "due" else {"access_token": "access-0"}


@pytest.fixture
def patient(monkeypatch):
    """However slow the machine is, what comes in the grace is not too late for it."""
    monkeypatch.setattr(punctual, "_GRACE", AGES)


@pytest.fixture
async def opened(rotating):
    """An asynchronous client."""
    async with AsyncClient(**rotating.options) as client:
        yield client
        rotating.release.set()


async def cancelled_while_renewing(client, rotating):
    asking = asyncio.create_task(client.agents.list("p"))
    assert await asyncio.to_thread(rotating.asked.wait, AGES)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_what_a_cancelled_call_renewed_is_used_by_the_next(rotating, given):
    async with AsyncClient(**rotating.options, **given) as client:
        await cancelled_while_renewing(client, rotating)
        following = [asyncio.create_task(client.agents.list("p")) for _ in range(3)]
        await asyncio.sleep(0)
        rotating.release.set()
        assert [len(page) for page in await asyncio.gather(*following)] == [0] * 3
    assert rotating.taken == ["refresh-0"]


async def test_a_cancelled_call_that_still_waits_for_its_turn_asks_nothing(rotating, answer, given):
    rotating.answers = [answer({"error": "down"}, "503 Down")] * 5
    async with AsyncClient(**rotating.options, **given, max_attempts=1) as client:
        asking = [asyncio.create_task(client.agents.list("p")) for _ in range(5)]
        assert await asyncio.to_thread(rotating.asked.wait, AGES)
        while len(client._renewals._under_way) < len(asking):  # noqa: ASYNC110 - of the calls themselves
            await asyncio.sleep(0.001)
        for call in asking:
            call.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        rotating.release.set()
    assert rotating.taken == ["refresh-0"]


async def test_what_is_renewed_after_a_deadline_is_used_by_the_next_call(
    driver, rotating, given, patient, monkeypatch
):
    ends, build = [], client.build_request

    def build_request(*args, **options):
        request = build(*args, **options)
        # Later than this none of the call's own bounds lets it wait.
        ends.append(request.extensions["deadline"] + request.extensions["timeout"]["read"])
        return request

    def wait():
        while time.monotonic() <= ends[-1]:
            time.sleep(0.001)

    monkeypatch.setattr(client, "build_request", build_request)
    if not driver.is_async:
        # Nobody could let go meanwhile: the call itself waits.
        rotating.wait = wait
    asking = driver.open(**rotating.options, **given)
    for seconds in bounds_until(rotating.asked.is_set):
        with pytest.raises(ConnixTimeoutError) as caught:
            await driver.run(asking.with_options(total_timeout=seconds), "list", "p")
    await asyncio.to_thread(wait)
    if not driver.is_async:
        assert "the time allowed was over before GET" in str(caught.value)
        assert not caught.value.may_have_executed
    assert rotating.sent_with("access-1") == 0
    rotating.release.set()
    assert len(await driver.run(asking, "list", "p")) == 0
    assert rotating.taken == ["refresh-0"]
    assert rotating.sent_with("access-1") == 1


async def test_closing_waits_for_a_renewal(rotating):
    closed = AsyncClient(**rotating.options)
    await cancelled_while_renewing(closed, rotating)
    closing = asyncio.create_task(closed.aclose())
    await asyncio.sleep(0)
    assert not closed._http.is_closed
    rotating.release.set()
    await closing
    assert closed._http.is_closed
    async with AsyncClient(**rotating.options) as another:
        assert len(await another.agents.list("p")) == 0
    assert rotating.taken == ["refresh-0"]


async def test_whoever_does_not_wait_for_a_renewal_closes_all_the_same(rotating):
    client = AsyncClient(**rotating.options)
    await cancelled_while_renewing(client, rotating)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert client._http.is_closed
    await client._renewals.ended()


async def test_a_renewal_that_fails_unheard_leaves_the_next_one_free(rotating, opened, answer):
    noise = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    await cancelled_while_renewing(opened, rotating)
    # Refused before the token was looked at: it is still good.
    rotating.answers.append(answer({"error": "slow_down"}, "503 Later"))
    rotating.release.set()
    await opened._renewals.ended()
    gc.collect()
    assert noise == []
    rotating.taken.clear()
    assert len(await opened.agents.list("p")) == 0
    assert rotating.taken == ["refresh-0"]


async def test_no_renewal_is_begun_for_a_call_whose_time_is_over(rotating, opened, patient):
    entered = threading.Event()
    grant = opened._auth._grant

    def take_the_turn():
        with grant.turn(0):
            entered.set()
            rotating.release.wait(AGES)

    thread = threading.Thread(target=take_the_turn)
    thread.start()
    assert entered.wait(AGES)
    with pytest.raises(ConnixTimeoutError):
        await opened.with_options(total_timeout=0.1).agents.list("p")
    rotating.release.set()
    await opened.aclose()
    thread.join()
    assert rotating.taken == []


async def test_a_token_endpoint_that_drips_is_waited_for_no_longer_than_the_grace(
    driver, rotating, given, raw_server, monkeypatch
):
    borne = []

    def drip(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(100 * AGES):
            connection.sendall(b"a")
            if tokens.ending.wait(0.01):
                return
        borne.append(request)

    tokens = raw_server(drip)
    monkeypatch.setattr(punctual, "_GRACE", 0.05)
    client = driver.open(**{**rotating.options, **given, "token_url": tokens.url})
    for seconds in bounds_until(lambda: tokens.requests):
        with pytest.raises(ConnixTimeoutError) as caught:
            await driver.run(client.with_options(total_timeout=seconds), "list", "p")
    assert not caught.value.may_have_executed or driver.is_async
    # Nor does closing wait for longer.
    await driver.close()
    assert borne == []


async def test_a_call_holds_no_connection_that_its_renewal_needs(driver, rotating):
    rotating.release.set()
    client = driver.open(**rotating.options, access_token="access-0")
    client._http._transport._pool._max_connections = 1
    assert len(await driver.run(client, "list", "p")) == 0
    assert rotating.taken == ["refresh-0"]


async def test_a_renewal_is_no_part_of_what_one_of_its_callers_is_known_by(rotating, opened, monkeypatch):
    task, seen, tokens = contextvars.ContextVar("task", default=None), [], TokenEndpoint.tokens

    def spy(*args):
        seen.append(task.get())
        return tokens(*args)

    monkeypatch.setattr(TokenEndpoint, "tokens", spy)
    rotating.release.set()
    task.set("a trigger's")
    await opened.agents.list("p")
    assert seen == [None]
