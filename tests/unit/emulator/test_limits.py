"""Windows, headers and refusals of the rate limits."""

from datetime import UTC, datetime

import pytest

from connix_provider.emulator import Clock, Emulator, Limits

START = datetime(2024, 1, 15, 10, 30, 0, tzinfo=UTC)
EPOCH = int(START.timestamp())


@pytest.fixture
def clock():
    return Clock(frozen=True, start=START)


def shown(response, family=""):
    return tuple(
        int(response.headers[f"X-RateLimit-{part}{family}"]) for part in ("Limit", "Remaining", "Reset")
    )


def test_headers_count_down_in_each_window(emulator, api):
    assert shown(api.list()) == (100, 99, EPOCH + 60)
    emulator.clock.advance(45.5)
    assert shown(api.list()) == (100, 98, EPOCH + 60)
    emulator.clock.advance(14.5)
    assert shown(api.list()) == (100, 99, EPOCH + 120)


def test_each_endpoint_class_has_the_reference_limit(emulator, api):
    (agent_id,) = emulator.seed()
    assert shown(api.create())[0] == 10
    assert shown(api.list())[0] == 100
    assert shown(api.get(agent_id))[0] == 200
    assert shown(api.update(agent_id))[0] == 20
    assert shown(api.logs(agent_id))[0] == 100
    assert shown(api.metrics(agent_id))[0] == 50
    actions = [shown(api.act(agent_id, verb))[:2] for verb in ("pause", "start", "stop", "restart")]
    assert actions == [(50, 49), (50, 48), (50, 47), (50, 46)], "the four share one limit"
    assert shown(api.delete(agent_id))[0] == 10
    assert shown(api.http.get("/projects"))[0] == 100


def test_request_over_the_limit_is_not_executed(emulator, api):
    emulator.clock.advance(15.25)
    for number in range(10):
        assert api.create(f"agent-{number}").status_code == 201
    response = api.create("one too many")
    assert response.status_code == 429
    error = response.json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert error["message"] == "Rate limit exceeded. Try again in 45 seconds."
    assert error["retry_after"] == 45
    assert response.headers["Retry-After"] == "45"
    assert shown(response) == (10, 0, EPOCH + 60)
    assert api.list().json()["pagination"]["total"] == 10
    assert [entry.status for entry in emulator.journal.executed("create_agent")] == 10 * [201]

    emulator.clock.advance(44.749)
    assert api.create("still").json()["error"]["retry_after"] == 1
    emulator.clock.advance(0.001)
    assert api.create("again").status_code == 201


def test_each_key_and_oauth_client_has_own_limits(emulator, connect):
    other = connect(emulator, {"X-API-Key": emulator.add_key()})
    grant = emulator.add_token()
    bearer = connect(emulator, {"Authorization": f"Bearer {grant.access_token}"})
    mine = connect(emulator)
    mine.list()
    assert shown(mine.list())[1] == 98
    assert shown(other.list())[1] == 99
    assert shown(bearer.list())[1] == 99
    fields = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
    issued = bearer.http.post(emulator.token_url, data=fields, auth=(grant.client_id, grant.client_secret))
    # The bearer header of the client is replaced by its Basic one on this request only.
    refreshed = connect(emulator, {"Authorization": f"Bearer {issued.json()['access_token']}"})
    assert shown(refreshed.list())[1] == 98


def test_refusals_of_the_service_count_and_carry_headers(api):
    assert shown(api.get("agent_0"))[1] == 199
    assert shown(api.list(limit=0))[1] == 99
    assert shown(api.http.get("/projects/proj_0/agents"))[1] == 98


def test_numbers_and_window_can_be_set(clock, connect):
    with Emulator(clock=clock, limits=Limits(list=2, window=10)) as emulator:
        api = connect(emulator)
        assert shown(api.list()) == (2, 1, EPOCH + 10)
        assert [api.list().status_code for _ in range(2)] == [200, 429]
        clock.advance(10)
        assert api.list().status_code == 200
    with pytest.raises(ValueError, match="window"):
        Limits(window=0)


def test_limits_can_be_off(clock, connect):
    with Emulator(clock=clock, limits=Limits.off()) as emulator:
        api = connect(emulator)
        responses = [api.create(str(number)) for number in range(30)]
        assert {response.status_code for response in responses} == {201}
        assert not any(header.startswith("x-ratelimit") for header in responses[0].headers)


def test_overview_s_family_tells_the_stricter_window(clock, connect):
    limits = Limits(list=None, per_key_minute=3, per_key_hour=4)
    with Emulator(clock=clock, limits=limits) as emulator:
        api = connect(emulator)
        response = api.list()
        assert "X-RateLimit-Limit" not in response.headers
        assert shown(response, "-Requests") == (3, 2, EPOCH + 60)
        response = api.get("agent_0")
        assert shown(response, "-Requests") == (3, 1, EPOCH + 60), "all calls count"
        assert shown(response) == (200, 199, EPOCH + 60), "and the endpoint's own family is shown beside it"
        api.list()
        assert api.list().json()["error"]["retry_after"] == 60
        clock.advance(60)
        response = api.list()
        assert shown(response, "-Requests") == (4, 0, EPOCH + 1800), "the hour is used up before the minute"
        response = api.list()
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "1740"


def test_reset_follows_the_clock_of_date(emulator, api):
    emulator.clock.advance(12)
    response = api.list()
    assert response.headers["Date"] == "Mon, 15 Jan 2024 10:30:12 GMT"
