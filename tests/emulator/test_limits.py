"""Windows, headers and refusals of the rate limits."""

from datetime import UTC, datetime

import pytest

from connix_provider.emulator import Clock, Emulator, Limits

START = datetime(2024, 1, 15, 10, 30, 0, tzinfo=UTC)
EPOCH = int(START.timestamp())


@pytest.fixture
def clock():
    return Clock(frozen=True, start=START)


def told(reply, family=""):
    return tuple(
        int(reply.headers[f"X-RateLimit-{part}{family}"]) for part in ("Limit", "Remaining", "Reset")
    )


def test_headers_count_down_and_start_again_with_the_window(emulator, api):
    assert told(api.list()) == (100, 99, EPOCH + 60)
    emulator.clock.advance(45.5)
    assert told(api.list()) == (100, 98, EPOCH + 60)
    emulator.clock.advance(14.5)
    assert told(api.list()) == (100, 99, EPOCH + 120)


def test_each_class_of_endpoints_has_the_reference_s_number(emulator, api):
    (agent_id,) = emulator.seed()
    assert told(api.create())[0] == 10
    assert told(api.list())[0] == 100
    assert told(api.get(agent_id))[0] == 200
    assert told(api.update(agent_id))[0] == 20
    assert told(api.logs(agent_id))[0] == 100
    assert told(api.metrics(agent_id))[0] == 50
    actions = [told(api.act(agent_id, verb))[:2] for verb in ("pause", "start", "stop", "restart")]
    assert actions == [(50, 49), (50, 48), (50, 47), (50, 46)], "the four share one budget"
    assert told(api.delete(agent_id))[0] == 10
    assert told(api.http.get("/projects"))[0] == 100


def test_over_the_limit_nothing_is_done(emulator, api):
    emulator.clock.advance(15.25)
    for number in range(10):
        assert api.create(f"agent-{number}").status_code == 201
    reply = api.create("one too many")
    assert reply.status_code == 429
    error = reply.json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert error["message"] == "Rate limit exceeded. Try again in 45 seconds."
    assert error["retry_after"] == 45
    assert reply.headers["Retry-After"] == "45"
    assert told(reply) == (10, 0, EPOCH + 60)
    assert api.list().json()["pagination"]["total"] == 10
    assert [entry.status for entry in emulator.journal.executed("create_agent")] == 10 * [201]

    emulator.clock.advance(44.749)
    assert api.create("still").json()["error"]["retry_after"] == 1
    emulator.clock.advance(0.001)
    assert api.create("again").status_code == 201


def test_each_key_has_its_own_budget_and_a_token_keeps_its_client_s(emulator, connect):
    other = connect(emulator, {"X-API-Key": emulator.add_key()})
    grant = emulator.add_token()
    bearer = connect(emulator, {"Authorization": f"Bearer {grant.access_token}"})
    mine = connect(emulator)
    mine.list()
    assert told(mine.list())[1] == 98
    assert told(other.list())[1] == 99
    assert told(bearer.list())[1] == 99
    fields = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
    issued = bearer.http.post(emulator.token_url, data=fields, auth=(grant.client_id, grant.client_secret))
    # The bearer header of the client is replaced by its Basic one on this request only.
    refreshed = connect(emulator, {"Authorization": f"Bearer {issued.json()['access_token']}"})
    assert told(refreshed.list())[1] == 98


def test_refusals_of_the_service_count_and_carry_headers(api):
    assert told(api.get("agent_0"))[1] == 199
    assert told(api.list(limit=0))[1] == 99
    assert told(api.http.get("/projects/proj_0/agents"))[1] == 98


def test_numbers_and_window_can_be_set(clock, connect):
    with Emulator(clock=clock, limits=Limits(list=2, window=10)) as emulator:
        api = connect(emulator)
        assert told(api.list()) == (2, 1, EPOCH + 10)
        assert [api.list().status_code for _ in range(2)] == [200, 429]
        clock.advance(10)
        assert api.list().status_code == 200
    with pytest.raises(ValueError, match="window"):
        Limits(window=0)


def test_limits_can_be_off(clock, connect):
    with Emulator(clock=clock, limits=Limits.off()) as emulator:
        api = connect(emulator)
        replies = [api.create(str(number)) for number in range(30)]
        assert {reply.status_code for reply in replies} == {201}
        assert not any(header.startswith("x-ratelimit") for header in replies[0].headers)


def test_the_overview_s_family_tells_the_stricter_window(clock, connect):
    limits = Limits(list=None, per_key_minute=3, per_key_hour=4)
    with Emulator(clock=clock, limits=limits) as emulator:
        api = connect(emulator)
        reply = api.list()
        assert "X-RateLimit-Limit" not in reply.headers
        assert told(reply, "-Requests") == (3, 2, EPOCH + 60)
        reply = api.get("agent_0")
        assert told(reply, "-Requests") == (3, 1, EPOCH + 60), "all calls count"
        assert told(reply) == (200, 199, EPOCH + 60), "and the endpoint's own family is told beside it"
        api.list()
        assert api.list().json()["error"]["retry_after"] == 60
        clock.advance(60)
        reply = api.list()
        assert told(reply, "-Requests") == (4, 0, EPOCH + 1800), "the hour is used up before the minute"
        reply = api.list()
        assert reply.status_code == 429
        assert reply.headers["Retry-After"] == "1740"


def test_reset_is_to_be_compared_with_the_date_header(emulator, api):
    emulator.clock.advance(12)
    reply = api.list()
    assert reply.headers["Date"] == "Mon, 15 Jan 2024 10:30:12 GMT"
