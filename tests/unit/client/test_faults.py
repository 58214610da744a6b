"""Every fault of the service, over a socket: the right outcome, and what the service's journal says of it."""

import random
import re

import pytest
from fast_timeouts import bounds_until, shorten_timeouts
from tally import record
from timewarp import Timewarp

from connix_provider.client import (
    ConnixAPIError,
    ConnixConflictError,
    ConnixConnectionError,
    ConnixError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixServerError,
    ConnixTimeoutError,
)
from connix_provider.client.ratelimit import RateLimiter
from connix_provider.emulator import Clock, Durations, Emulator, Fault, Limits

#: fault, what it ends in when it does not end, whether the service may have done what was asked
FAULTS = {
    "500": (Fault.status(500), ConnixServerError, True),
    "500 done": (Fault.status(500, executed=True), ConnixServerError, True),
    "html 502": (Fault.html_502(), ConnixServerError, True),
    "reset before": (Fault.reset_before(), ConnixConnectionError, True),
    "reset after": (Fault.reset_after(), ConnixConnectionError, True),
    "hang": (Fault.hang(), ConnixTimeoutError, True),
    "hang done": (Fault.hang(executed=True), ConnixTimeoutError, True),
    "hang up": (Fault.hang(seconds=0.001), ConnixConnectionError, True),
    "cut body": (Fault.cut_body(), ConnixConnectionError, True),
    "bad JSON": (Fault.bad_json(), ConnixResponseError, True),
    "408": (Fault.status(408), ConnixAPIError, True),
    "429 body": (Fault.rate_limited(0, "body"), ConnixRateLimitError, False),
    "429 reset": (Fault.rate_limited(0, "reset"), ConnixRateLimitError, False),
    "429 none": (Fault.rate_limited(0, "none"), ConnixRateLimitError, False),
}
ATTEMPTS = 3
#: call, status of the agent before, arguments after the project, status of the agent after
WHAT = {
    "get": ("running", (), "running"),
    "create": (None, ({"name": "made"},), None),
    "start": ("stopped", (), "running"),
    "delete": ("running", (), None),
    "update": ("running", ({"name": "renamed"},), "running"),
}


@pytest.fixture
def prepare(emulator, project):
    def prepare(method):
        before, args, _ = WHAT[method]
        if before is None:
            return (project, *args)
        (agent_id,) = emulator.seed(1, before, project_id=project)
        return (project, agent_id, *args)

    return prepare


def silent(name):
    fault = FAULTS[name][0]
    return fault.name == "hang" and fault.options["seconds"] is None


def count(fault, error, unsafe):
    """Tell the tally what came of a fault; ``unsafe`` is how often what must happen once was carried out."""
    record(
        f"client: {fault.name}",
        "succeeded" if error is None else "failed",
        unsafe_repeats=max(0, len(unsafe) - 1),
    )


CASES = [
    (name, method, times)
    for name in FAULTS
    for method in WHAT
    for times in (1, 2, None)
    # Silence costs real time, so it is met only where it differs from a lost connection.
    if not silent(name)
    or (times == 1 and method in {"create", "start"})
    or (times is None and method == "get" and name == "hang")
]


@pytest.mark.parametrize(("name", "method", "times"), CASES)
async def test_each_fault_has_its_outcome(
    driver, emulator, project, prepare, monkeypatch, name, method, times
):
    fault, kind, doubtful = FAULTS[name]
    args = prepare(method)
    call = f"{method}_agent"
    limited = kind is ConnixRateLimitError
    unhinted = limited and times is None and fault.options["hints"] == "none"
    if unhinted:
        # It is asked again until the time is over, which is not left to how fast this machine is.
        Timewarp(emulator.clock).install(monkeypatch)
    elif silent(name):
        shorten_timeouts(emulator, monkeypatch)
    elif limited and times is None:
        # Beyond the time allowed: it is not asked again.
        fault = Fault.rate_limited(3600, fault.options["hints"])
    emulator.faults.add(fault, call, times=times)
    client = driver.to(
        emulator,
        max_attempts=ATTEMPTS,
        total_timeout=10,
        **({"base_delay": 1} if unhinted else {}),
    )
    result = error = None
    try:
        result = await driver.run(client, method, *args)
    except ConnixError as caught:
        error = caught

    sent, done = emulator.journal.entries(call), emulator.journal.executed(call)
    count(fault, error, done if method == "create" else [])
    once = method == "create" and doubtful
    # The refusal of the repeat is cut off too, but its status counts: 404, or 409 with the agent as wanted.
    settled = name == "cut body" and method in {"start", "delete"} and times != 1
    if settled:
        assert error is None, error
        assert len(sent) == 2
    elif once or times is None:
        assert isinstance(error, kind), error
        assert error.may_have_executed is doubtful
        assert len(sent) > 1 if unhinted else len(sent) == (1 if once or limited else ATTEMPTS)
    else:
        # Of a delete or start that was done and whose response was lost, the repeat is refused: 404, or 409
        # with the agent where it should be. Both are successes.
        assert error is None, error
        assert result is not None
        assert len(sent) == times + 1
    assert len({entry.request_id for entry in sent}) == len(sent)
    if method in {"create", "start", "delete"}:
        assert len(done) <= 1
    if error is None or fault.executed:
        assert len(done) >= 1
        agents = [emulator.agent(entry.agent_id) for entry in done if entry.agent_id and method != "delete"]
        assert all(agent["status"] == WHAT[method][2] for agent in agents)
        if method == "delete":
            with pytest.raises(KeyError):
                emulator.agent(args[1])
        if method == "update":
            assert agents[0]["name"] == "renamed"
    else:
        assert done == []


@pytest.mark.parametrize("fault", [Fault.reset_after(), Fault.status(502, executed=True)])
@pytest.mark.parametrize(
    ("action", "before", "after"), [("pause", "running", "paused"), ("stop", "paused", "stopped")]
)
async def test_an_action_with_a_lost_response_succeeds(
    driver, emulator, project, fault, action, before, after
):
    (agent_id,) = emulator.seed(1, before, project_id=project)
    emulator.faults.add(fault, f"{action}_agent")
    result = await driver.run(driver.to(emulator), action, project, agent_id)
    assert (result.agent_id, result.status) == (agent_id, after)
    assert [entry.call for entry in emulator.journal.entries()] == [f"{action}_agent"] * 2 + ["get_agent"]
    assert len(emulator.journal.executed(f"{action}_agent")) == 1


async def test_a_refused_start_without_effect_is_a_conflict(driver, emulator, project):
    (agent_id,) = emulator.seed(1, "error", project_id=project)
    emulator.faults.add(Fault.reset_before(), "start_agent")
    with pytest.raises(ConnixConflictError) as caught:
        await driver.run(driver.to(emulator), "start", project, agent_id)
    assert caught.value.may_have_executed


@pytest.mark.parametrize(
    "fault", [Fault.reset_after(), Fault.reset_before(), Fault.bad_json(), Fault.html_502()]
)
async def test_a_restart_is_sent_once(driver, emulator, project, fault):
    (agent_id,) = emulator.seed(1, project_id=project)
    emulator.faults.add(fault, "restart_agent")
    with pytest.raises(ConnixError) as caught:
        await driver.run(driver.to(emulator), "restart", project, agent_id)
    count(fault, caught.value, emulator.journal.executed("restart_agent"))
    assert caught.value.may_have_executed
    assert len(emulator.journal.entries("restart_agent")) == 1


async def test_a_slow_body_is_waited_for(driver, emulator, project):
    emulator.faults.add(Fault.slow_body(0.06), "list_agents")
    assert len(await driver.run(driver.to(emulator), "list", project)) == 0
    assert len(emulator.journal.entries()) == 1


async def test_a_slow_body_ends_with_the_total_timeout(driver, emulator, project):
    emulator.faults.add(Fault.slow_body(60), "list_agents", times=None)
    for bound in bounds_until(emulator.journal.entries):
        with pytest.raises(ConnixTimeoutError) as caught:
            await driver.run(driver.to(emulator, total_timeout=bound), "list", project)
    assert re.search(r"within \d\.\d+ s", str(caught.value))
    assert len(emulator.journal.entries()) == 1


async def test_retries_leave_the_seeded_random_state_alone(driver, emulator, project):
    before = random.getstate()
    emulator.faults.add(Fault.status(503), "list_agents", times=2)
    assert len(await driver.run(driver.to(emulator), "list", project)) == 0
    assert random.getstate() == before


async def test_an_unknown_status_is_passed_on(driver, emulator, project):
    (agent_id,) = emulator.seed(1, project_id=project)
    emulator.faults.add(Fault.unknown_status(), times=None)
    client = driver.to(emulator)
    assert (await driver.run(client, "get", project, agent_id)).status == "hibernating"
    assert [agent.snapshot().status for agent in await driver.run(client, "list", project)] == ["hibernating"]


async def test_a_500_backs_off_less_than_a_window(driver):
    # Every response says when the window ends, but only a 429 makes a call wait for that.
    with Emulator(clock=Clock(frozen=True), durations=Durations.instant()) as emulator:
        (agent_id,) = emulator.seed()
        emulator.faults.add(Fault.status(500, executed=True), "get_agent")
        client = driver.to(emulator, total_timeout=20)
        assert (await driver.run(client, "get", emulator.project_id, agent_id)).id == agent_id


@pytest.fixture
def service(monkeypatch):
    """A service that limits Get, with a clock that jumps instead of sleeping."""
    clock = Clock(frozen=True)
    waits = []

    def pass_time(seconds):
        waits.append(seconds)
        clock.advance(seconds)

    async def pass_time_async(seconds):
        pass_time(seconds)

    with Emulator(clock=clock, limits=Limits(get=4)) as emulator:
        emulator.waits = waits
        monkeypatch.setattr("connix_provider.client.client.time.sleep", pass_time)
        monkeypatch.setattr("connix_provider.client.client.asyncio.sleep", pass_time_async)
        yield emulator


async def test_a_real_limit_is_kept_without_a_refusal(driver, service):
    (agent_id,) = service.seed()
    client = driver.to(service, base_delay=None)
    client.limiter = RateLimiter(clock=service.clock.timestamp)
    for _ in range(14):
        assert (await driver.run(client, "get", service.project_id, agent_id)).id == agent_id
    assert [entry.status for entry in service.journal.entries()] == 14 * [200]
    # Three windows had to end.
    assert 120 < sum(service.waits) < 200


async def test_a_limit_used_up_elsewhere_delays_requests(driver, service):
    (agent_id,) = service.seed()
    client, other = driver.to(service, base_delay=None), driver.to(service, base_delay=None)
    client.limiter, other.limiter = (RateLimiter(clock=service.clock.timestamp) for _ in range(2))
    assert (await driver.run(client, "get", service.project_id, agent_id)).id == agent_id
    for _ in range(3):
        await driver.run(other, "get", service.project_id, agent_id)
    assert service.waits == []
    assert (await driver.run(client, "get", service.project_id, agent_id)).id == agent_id
    assert [entry.status for entry in service.journal.entries()] == [*4 * [200], 429, 200]
    # Never before the window's end, hardly after it.
    assert 0 < sum(service.waits) <= 66


async def test_other_bounds_go_with_the_same_connections(driver, emulator, project):
    client = driver.to(emulator)
    once = client.with_options(max_attempts=1)
    emulator.faults.add(Fault.status(503))
    with pytest.raises(ConnixServerError):
        await driver.run(once, "list", project)
    emulator.faults.add(Fault.status(503))
    assert len(await driver.run(client, "list", project)) == 0
    assert (once._http, once.base_url) == (client._http, client.base_url)
    late = client.with_options(deadline=1.0)
    with pytest.raises(ConnixTimeoutError, match="before GET"):
        await driver.run(late, "list", project)
    assert late.policy.total_timeout == float("inf")
    assert client.with_options(total_timeout=7).policy.total_timeout == 7
    assert client.with_options(total_timeout=7, deadline=8).policy.deadline == 8
    assert client.with_options().policy == client.policy
    with pytest.raises(ValueError, match="total_timeout"):
        client.with_options(total_timeout=0)
    with pytest.raises(ValueError, match="max_attempts"):
        client.with_options(max_attempts=0)
