"""Planning faults: for which requests, how often, with which defaults."""

import pytest

from connix_provider.emulator import Emulator, Fault


@pytest.fixture
def agent_id(emulator):
    return emulator.seed()[0]


@pytest.mark.parametrize(
    ("status", "code"),
    {
        400: "validation_error",
        401: "unauthorized",
        403: "insufficient_permissions",
        404: "not_found",
        409: "agent_conflict",
        429: "rate_limit_exceeded",
        500: "internal_error",
        503: "service_unavailable",
        599: "status_599",
    }.items(),
)
def test_status_has_the_reference_code(emulator, api, agent_id, status, code):
    emulator.faults.add(Fault.status(status))
    response = api.get(agent_id)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("status", [100, 199, 600])
def test_status_out_of_range_is_refused(status):
    with pytest.raises(ValueError, match="200 to 599"):
        Fault.status(status)


def test_hints_are_one_of_four():
    with pytest.raises(ValueError, match="hints"):
        Fault.rate_limited(hints="smoke")  # type: ignore[arg-type]  # what is wrong is the point


def test_faults_apply_in_order_by_after_and_times(emulator, api, agent_id):
    emulator.faults.add(Fault.status(500), on="get_agent", times=2, after=1)
    emulator.faults.add(Fault.status(502), on=["get_agent", "list_agents"], times=1)
    assert [api.get(agent_id).status_code for _ in range(5)] == [502, 500, 500, 200, 200]
    assert api.list().status_code == 200
    assert emulator.faults.active() == []


def test_fault_for_ever_ends_with_clear(emulator, api, agent_id):
    emulator.faults.add(Fault.status(500), times=None)
    assert {api.get(agent_id).status_code for _ in range(10)} == {500}
    (planned,) = emulator.faults.active()
    assert (planned.fault.name, planned.times) == ("status", None)
    emulator.faults.clear()
    assert api.get(agent_id).status_code == 200


def test_fault_for_one_agent(emulator, api):
    first, second = emulator.seed(count=2)
    emulator.faults.add(Fault.status(500), agent_id=second)
    assert api.get(first).status_code == 200
    assert api.list().status_code == 200
    assert api.get(second).status_code == 500


def test_fault_at_the_token_endpoint(emulator, connect):
    grant = emulator.add_token()
    emulator.faults.add(Fault.status(503), on="token")
    fields = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
    api = connect(emulator, {})
    auth = (grant.client_id, grant.client_secret)
    assert api.http.post(emulator.token_url, data=fields, auth=auth).status_code == 503
    assert api.http.post(emulator.token_url, data=fields, auth=auth).status_code == 200
    assert [entry.executed for entry in emulator.journal.entries("token")] == [False, True]


def test_executed_faults_spare_refused_requests(emulator, connect):
    stranger = connect(emulator, {})
    emulator.faults.add(Fault.bad_json())
    assert stranger.list().status_code == 401, "the fault is not used up by a refused request"
    emulator.faults.add(Fault.html_502())
    assert stranger.list().status_code == 502, "a proxy asks for no key"
    assert connect(emulator).list().status_code == 200
    assert emulator.journal.entries()[-1].fault == "bad_json"


@pytest.mark.parametrize(
    ("fault", "plan", "complaint"),
    [
        (Fault.html_502(), {"on": "get_agents"}, "get_agents"),
        (Fault.ends_in_error(), {"on": ["create_agent", "get_agent"]}, "get_agent"),
        (Fault.html_502(), {"times": 0}, "times"),
        (Fault.html_502(), {"after": -1}, "after"),
    ],
)
def test_invalid_fault_plans_are_refused(fault, plan, complaint):
    with pytest.raises(ValueError, match=complaint):
        Emulator().faults.add(fault, **plan)
