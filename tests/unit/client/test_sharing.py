"""Clients, threads and forked processes share a limiter; calls wait for it."""

import asyncio
import gc
import multiprocessing
import pickle
import threading
import time

import pytest
from tokens import renewable

from connix_provider.client import AsyncClient, Client, ConnixRateLimitError, ConnixTimeoutError
from connix_provider.client.attempts.flow import perform
from connix_provider.client.calls.steps import Response, Send, Sleep
from connix_provider.client.endpoints import get_agent
from connix_provider.client.errors import ConnixRateLimitWaitError
from connix_provider.client.ratelimit import Bucket, RateLimiter, registry
from connix_provider.client.ratelimit.registry import limiter_for
from connix_provider.client.retry import RetryPolicy
from connix_provider.emulator import Clock, Emulator, Fault, Limits

KEY = "cx_" + 32 * "a"
OTHER = "cx_" + 32 * "b"
NOW = 1_705_334_400.0
AGENT = b'{"id": "a", "status": "running"}'


# The limiter of a key


def test_one_key_at_one_service_has_one_limiter(open_client):
    one = open_client(KEY, "http://127.0.0.1:9")
    assert open_client(KEY, "http://127.0.0.1:9/api/v1/").limiter is one.limiter
    assert one.with_options(background=True).limiter is one.limiter
    assert AsyncClient(KEY, "http://127.0.0.1:9").limiter is one.limiter
    assert open_client(OTHER, "http://127.0.0.1:9").limiter is not one.limiter
    assert open_client(KEY, "http://127.0.0.1:8").limiter is not one.limiter
    assert open_client(access_token=KEY, base_url="http://127.0.0.1:9").limiter is one.limiter


async def test_a_grant_keeps_its_limits_after_a_refresh(driver, emulator):
    grant = emulator.add_token(expires_in=1)
    options = renewable(emulator, grant)
    client = driver.to(emulator, **options)
    before = client._auth.secrets()
    emulator.clock.advance(3600)
    await driver.run(client, "list", emulator.project_id)
    assert client._auth.secrets() != before
    assert driver.to(emulator, **options).limiter is client.limiter
    # The token endpoint has no budget of ours; the refused request and its repeat are one call.
    limit = client.limiter._state.buckets[Bucket.LIST].limit
    assert limit is None or limit.in_flight == 0


def test_no_key_is_kept():
    limiter_for("http://127.0.0.1:9", KEY)
    assert KEY not in repr(registry._limiters)
    assert KEY.encode() not in pickle.dumps(list(registry._limiters))


def test_the_smallest_share_counts():
    for share in (1.0, 0.25, 0.5):
        limiter = limiter_for("http://127.0.0.1:9", KEY, share)
    assert limiter.share == 0.25


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan"), float("inf"), "0.5", None, True])
def test_a_share_that_cannot_be_right_is_refused(share, open_client):
    with pytest.raises(ValueError, match="rate_limit_share must be a number that is more than 0"):
        open_client(KEY, rate_limit_share=share)


def test_unused_limiters_are_dropped(monkeypatch):
    old = limiter_for("http://127.0.0.1:9", KEY)
    fresh = limiter_for("http://127.0.0.1:9", OTHER)
    old.used_at -= 3601
    limiter_for("http://127.0.0.1:9", "another")
    assert old not in registry._limiters.values()
    assert fresh in registry._limiters.values()


# Threads and processes


def test_threads_never_take_more_than_there_is():
    now = [0.0]
    limiter = RateLimiter(clock=lambda: now[0])
    told = {"x-ratelimit-limit": "1000", "x-ratelimit-remaining": "100"}
    with limiter.permit(Bucket.GET) as permit:
        assert permit.try_acquire() == 0
        permit.on_response(told)
    taken, errors = [], []
    ready = threading.Barrier(16)

    def ask():
        try:
            ready.wait()
            for turn in range(200):
                permit = limiter.permit(Bucket.GET, background=turn % 2 == 0)
                if permit.try_acquire() == 0:
                    taken.append(permit)
                else:
                    permit.__exit__()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    # At most a quarter of what is left is in flight before the next response.
    assert len(taken) == 25
    assert limiter._state.buckets[Bucket.GET].limit.in_flight == len(taken)
    assert limiter._state.buckets[Bucket.GET].queues == ([], [])


def in_child(pipe, limiter):
    permit = limiter.permit(Bucket.GET)
    waits = [permit.try_acquire(), limiter.permit(Bucket.LIST).try_acquire()]
    same = limiter_for("http://127.0.0.1:9", KEY) is limiter
    queue = limiter._state.buckets[Bucket.GET].queues[0]
    # The child has sent one of the requests in flight itself.
    in_flight = [window.in_flight for window in limiter._state.key_windows.values()]
    pipe.send((waits, same, queue == [permit.number], len(registry._limiters), in_flight))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_fork_keeps_the_limits_without_locks():
    limiter = limiter_for("http://127.0.0.1:9", KEY)
    with limiter.permit(Bucket.GET) as permit:
        assert permit.try_acquire() == 0
        of_all_requests = {"x-ratelimit-limit-requests": "1000", "x-ratelimit-remaining-requests": "900"}
        permit.on_response({"x-ratelimit-limit": "200", "x-ratelimit-remaining": "0", **of_all_requests})
    in_flight = limiter.permit(Bucket.LIST)
    assert in_flight.try_acquire() == 0
    waiting = limiter.permit(Bucket.GET)
    assert waiting.try_acquire() > 0
    held, release = threading.Event(), threading.Event()

    def hold():
        with registry._lock, limiter._lock:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=in_child, args=(there, limiter))
    child.start()
    try:
        assert here.poll(30), "the child waits for a lock that is never released"
        waits, same, is_first, known, in_flight_there = here.recv()
    finally:
        release.set()
        thread.join()
        child.kill()
        child.join()
    assert waits[0] > 50
    assert waits[1] == 0
    assert (same, is_first, known) == (True, True, 1)
    assert in_flight_there == [1]


# Calls


class Caller:
    """Drive one flow by hand, on a clock that moves with its pauses."""

    def __init__(self, limiter=None, **bounds):
        self.now = NOW
        background = bounds.pop("background", False)
        self.limiter = limiter or RateLimiter(clock=lambda: self.now)
        self.flow = perform(
            get_agent("p", "a"),
            RetryPolicy(**bounds),
            limiter=self.limiter,
            background=background,
            clock=lambda: self.now,
            epoch=lambda: self.now,
            jitter=lambda: 0.0,
        )
        self.pauses = []

    def go_on(self, outcome=None):
        """Go on to the next request."""
        step = self.flow.send(outcome)
        while isinstance(step, Sleep):
            self.pauses.append(step.seconds)
            self.now += step.seconds
            step = self.flow.send(None)
        assert isinstance(step, Send)
        return step


def use_up(caller, seconds=40):
    with caller.limiter.permit(Bucket.GET) as permit:
        assert permit.try_acquire() == 0
        permit.on_response({}, is_success=False, back_off=seconds)


def test_a_call_waits_for_its_permit():
    caller = Caller(total_timeout=100)
    use_up(caller)
    caller.go_on()
    assert sum(caller.pauses) == pytest.approx(40, abs=0.1)
    with pytest.raises(StopIteration) as end:
        caller.flow.send(Response(200, {}, AGENT))
    assert end.value.value.id == "a"


@pytest.mark.parametrize(
    ("bounds", "waited"),
    [({"total_timeout": 30}, 0), ({"deadline": NOW + 30}, 30), ({"max_permit_wait": 30}, 0)],
)
def test_a_permit_after_the_deadline_is_an_error(bounds, waited):
    caller = Caller(**bounds)
    use_up(caller)
    with pytest.raises(ConnixRateLimitError) as caught:
        caller.go_on()
    error = caught.value
    assert sum(caller.pauses) == pytest.approx(waited)
    assert str(error) == (
        "the rate limit of this key for get requests is used up until 2024-01-15 16:00:40+00:00 "
        f"(for {40 - waited} s), so the request was not sent (GET /projects/p/agents/a)"
    )
    assert (error.status_code, error.may_have_executed) == (429, False)
    assert error.retry_after == pytest.approx(40 - waited)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, ConnixRateLimitWaitError)
    assert (str(again), again.retry_after) == (str(error), error.retry_after)
    assert caller.limiter._state.buckets[Bucket.GET].queues == ([], [])


def test_an_oversleep_beyond_the_deadline_sends_no_request():
    caller = Caller(total_timeout=30)
    use_up(caller, 20)
    assert isinstance(caller.flow.send(None), Sleep)
    caller.now += 31
    with pytest.raises(ConnixTimeoutError, match="the deadline passed before GET"):
        caller.flow.send(None)
    assert caller.limiter._state.buckets[Bucket.GET].limit.in_flight == 0


def test_a_passed_deadline_outweighs_a_used_up_limit():
    caller = Caller(deadline=NOW - 1)
    use_up(caller)
    with pytest.raises(ConnixTimeoutError, match="the deadline passed before GET"):
        caller.go_on()


def test_a_signal_handler_may_use_the_same_limiter():
    asked = []

    def ask():
        limiter = registry.limiter_for("https://x", "key")
        with registry._lock, limiter._lock:
            asked.append(registry.limiter_for("https://x", "key"))
            with asked[-1].permit(Bucket.GET) as permit:
                asked.append(permit.try_acquire())

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(5)
    assert asked == [registry.limiter_for("https://x", "key"), 0.0]


def test_a_429_beyond_max_permit_wait_is_raised():
    refusal = Response(429, {"retry-after": "31"}, b"")
    caller = Caller(max_permit_wait=30)
    caller.go_on()
    with pytest.raises(ConnixRateLimitError) as caught:
        caller.flow.send(refusal)
    assert caught.value.retry_after == 31
    patient = Caller(max_permit_wait=60)
    patient.go_on()
    patient.go_on(refusal)
    assert sum(patient.pauses) == pytest.approx(31, abs=0.5)


def test_a_429_stops_others_and_counts_no_attempt():
    caller = Caller(max_attempts=1)
    other = Caller(caller.limiter)
    caller.go_on()
    other.now = caller.now
    step = caller.flow.send(Response(429, {"retry-after": "7"}, b""))
    assert isinstance(step, Sleep)
    assert step.seconds >= 7
    assert isinstance(other.flow.send(None), Sleep)
    caller.now += step.seconds
    assert isinstance(caller.flow.send(None), Send)


def test_an_abandoned_call_leaves_no_permit_behind():
    caller = Caller()
    caller.go_on()
    endpoint = caller.limiter._state.buckets[Bucket.GET]
    assert endpoint.limit.in_flight == 1
    caller.flow.close()
    assert endpoint.limit.in_flight == 0
    use_up(caller)
    waiting = Caller(caller.limiter)
    assert isinstance(waiting.flow.send(None), Sleep)
    assert len(endpoint.queues[0]) == 1
    del waiting
    gc.collect()
    assert endpoint.queues == ([], [])


async def test_a_cancelled_call_leaves_the_queue(emulator):
    async with AsyncClient(emulator.api_key, emulator.url) as client:
        with client.limiter.permit(Bucket.LIST) as permit:
            permit.try_acquire()
            permit.on_response({}, is_success=False, back_off=60)
        calls = [asyncio.ensure_future(client.agents.list(emulator.project_id)) for _ in range(20)]
        await asyncio.sleep(0)
        lines = client.limiter._state.buckets[Bucket.LIST].queues
        assert len(lines[0]) == 20
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert lines == ([], [])


async def test_a_pause_never_blocks_the_event_loop(emulator, project, monkeypatch):
    sleep, here = time.sleep, threading.get_ident()

    def sleep_elsewhere(seconds):
        assert threading.get_ident() != here, "the event loop was put to sleep"
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep_elsewhere)
    emulator.faults.add(Fault.status(503), "list_agents")
    async with AsyncClient(emulator.api_key, emulator.url) as client:
        client.policy = RetryPolicy(base_delay=0.001)
        assert len(await client.agents.list(project)) == 0
    assert [entry.status for entry in emulator.journal.entries()] == [503, 200]


async def test_polling_is_marked_by_the_client(driver, emulator, project):
    client = driver.to(emulator)
    polling = client.with_options(background=True)
    assert polling.with_options(max_attempts=1)._background
    assert not polling.with_options(background=False)._background
    with client.limiter.permit(Bucket.LIST) as permit:
        permit.try_acquire()
        permit.on_response({"x-ratelimit-limit": "100", "x-ratelimit-remaining": "6"})
    assert len(await driver.run(client, "list", project)) == 0
    with client.limiter.permit(Bucket.LIST) as permit:
        permit.try_acquire()
        permit.on_response({"x-ratelimit-limit": "100", "x-ratelimit-remaining": "5"})
    hasty = polling.with_options(max_permit_wait=1)
    with pytest.raises(ConnixRateLimitError, match="used up until"):
        await driver.run(hasty, "list", project)


async def test_a_refused_connection_costs_no_permit(driver):
    client = driver.open(KEY, "http://127.0.0.1:9", max_attempts=30)
    with pytest.raises(Exception, match="nothing is listening on that port"):
        await driver.run(client, "create", "p", {"name": "x"})
    assert client.limiter._state.buckets[Bucket.CREATE].limit.spare(1.0) == 10


@pytest.mark.heavy
async def test_many_calls_at_once_meet_no_refusal(driver):
    with Emulator(clock=Clock(), limits=Limits(list=30, window=2.0)) as service:
        client = driver.to(service)
        if driver.is_async:
            await asyncio.gather(*(client.agents.list(service.project_id) for _ in range(60)))
        else:
            loop = asyncio.get_running_loop()
            await asyncio.gather(
                *(loop.run_in_executor(None, client.agents.list, service.project_id) for _ in range(60))
            )
        assert [entry.status for entry in service.journal.entries()] == 60 * [200]


def test_faults_without_a_word_bring_the_table_back(emulator, project, open_client):
    emulator.faults.add(Fault.rate_limited(0, "header"), "list_agents")
    client = open_client(emulator.api_key, emulator.url)
    client.agents.list(project)
    assert client.limiter.rate(Bucket.LIST) == pytest.approx(94 / 60)
    assert isinstance(client, Client)
