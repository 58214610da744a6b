"""The same over HTTP, for tests in another process or language."""

import httpx
import pytest

from connix_provider.emulator import Emulator


@pytest.fixture
def control(emulator: Emulator):
    root = emulator.url.removesuffix("/api/v1")
    with httpx.Client(base_url=f"{root}/_emulator", verify=False, trust_env=False, timeout=5) as client:
        yield client


@pytest.fixture
def agent_id(emulator):
    return emulator.seed()[0]


@pytest.mark.parametrize(
    ("plan", "met"),
    [
        ({"fault": "status", "status": 418, "code": "teapot", "headers": {"X-Odd": "1"}}, 418),
        ({"fault": "status", "status": 500, "executed": True}, 500),
        ({"fault": "rate_limited", "retry_after": 3, "hints": "none"}, 429),
        ({"fault": "html_502"}, 502),
        ({"fault": "redirect", "location": "http://127.0.0.1:1/"}, 307),
        ({"fault": "reset_before"}, httpx.ReadError),
        ({"fault": "reset_after"}, httpx.ReadError),
        ({"fault": "hang", "seconds": 0.05, "executed": True}, httpx.RemoteProtocolError),
        ({"fault": "slow_body", "seconds": 0.05}, 200),
        ({"fault": "cut_body"}, httpx.RemoteProtocolError),
        ({"fault": "bad_json"}, 200),
        ({"fault": "unknown_status", "status": "asleep"}, 200),
    ],
)
def test_every_fault_can_be_planned_over_http(emulator, api, control, agent_id, plan, met):
    added = control.post("/faults", json=plan | {"on": "get_agent", "after": 1, "agent_id": agent_id})
    assert added.status_code == 200
    (shown,) = added.json()["faults"]
    assert shown.items() >= plan.items()
    assert (shown["on"], shown["times"], shown["after"]) == (["get_agent"], 1, 1)
    assert control.get("/faults").json() == added.json()

    assert api.get(agent_id).json()["status"] == "running"
    if isinstance(met, int):
        assert api.get(agent_id).status_code == met
    else:
        with pytest.raises(met):
            api.get(agent_id)
    assert emulator.journal.entries()[-1].fault == plan["fault"]
    assert control.get("/faults").json() == {"faults": []}


def test_ends_in_error(emulator, api, control):
    control.post("/faults", json={"fault": "ends_in_error", "on": ["create_agent", "start_agent"]})
    agent_id = api.create().json()["id"]
    emulator.clock.advance(60)
    assert emulator.agent(agent_id)["status"] == "error"


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        ({"fault": "earthquake"}, "fault must be one of"),
        ({"fault": "html_502", "seconds": 1}, "html_502 has no seconds"),
        ({"fault": "html_502", "on": "nothing"}, "does not apply to"),
        ({"fault": "status"}, "status"),
        ({"fault": "status", "status": "x"}, "status"),
        ({"fault": "status", "status": 42}, "200 to 599"),
        ({"fault": "rate_limited", "hints": "smoke"}, "hints"),
        ({"fault": 7}, "string"),
        ({}, "required"),
        ([], "JSON object"),
    ],
)
def test_invalid_fault_plans_are_refused(control, plan, complaint):
    response = control.post("/faults", json=plan)
    assert response.status_code == 400
    assert complaint in response.text
    assert control.get("/faults").json() == {"faults": []}


def test_faults_are_cleared(api, control, agent_id):
    control.post("/faults", json={"fault": "html_502", "times": None})
    assert api.get(agent_id).status_code == 502
    assert control.delete("/faults").json() == {"faults": []}
    assert api.get(agent_id).status_code == 200


def test_journal_is_shown_filtered_and_cleared(emulator, api, control, agent_id):
    api.get(agent_id)
    api.list()
    shown = control.get("/journal", params={"call": "get_agent", "agent_id": agent_id}).json()["entries"]
    (entry,) = shown
    assert entry == {
        "at": emulator.clock.now().isoformat(),
        "method": "GET",
        "path": f"/api/v1/projects/{emulator.project_id}/agents/{agent_id}",
        "request_id": entry["request_id"],
        "key": emulator.api_key[-4:],
        "call": "get_agent",
        "project_id": emulator.project_id,
        "agent_id": agent_id,
        "status": 200,
        "executed": True,
        "delivered": True,
        "fault": None,
    }
    assert len(control.get("/journal").json()["entries"]) == 2, "control paths are not in it"
    assert control.delete("/journal").json() == {"entries": []}
    assert emulator.journal.entries() == []


def test_clock_is_advanced(emulator, control):
    before = emulator.clock.timestamp()
    response = control.post("/clock", json={"advance": 90})
    assert emulator.clock.timestamp() == pytest.approx(before + 90)
    assert response.json() == {"now": emulator.clock.now().isoformat()} == control.get("/clock").json()


@pytest.mark.parametrize(
    "advance",
    ["NaN", "Infinity", "-Infinity", "-1", "-0.001", "1e9", "1e400", "31622401", '"60"', "true", "null"],
)
def test_absurd_advance_is_refused(emulator, control, advance):
    before = emulator.clock.timestamp()
    response = control.post(
        "/clock", content=f'{{"advance": {advance}}}', headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400
    assert "advance" in response.text
    assert emulator.clock.timestamp() == pytest.approx(before, abs=5)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, 1e9])
def test_clock_refuses_an_absurd_advance(emulator, seconds):
    with pytest.raises(ValueError, match="by 0 to 31622400 seconds: advance must not be"):
        emulator.clock.advance(seconds)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.1",
        "[::2]:80",
        "evil@localhost",
        "localhost@evil.example",
        "0.0.0.0",
        "127.1",
        "",
        "localhost/x",
    ],
)
def test_foreign_host_header_is_refused(emulator, host):
    for path in ("/_emulator/clock", f"/api/v1/projects/{emulator.project_id}/agents", "/openapi.json"):
        url = emulator.url.replace("/api/v1", path)
        response = httpx.get(url, headers={"Host": host, "X-API-Key": emulator.api_key}, trust_env=False)
        assert response.status_code == 421
        assert response.json()["error"]["code"] == "misdirected_request"
    assert emulator.journal.entries() == []


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.9.9.9:80", "[::1]:80"]
)
def test_loopback_host_header_is_served(emulator, host):
    url = emulator.url.replace("/api/v1", "/_emulator/clock")
    assert httpx.get(url, headers={"Host": host}, trust_env=False).status_code == 200


def test_agent_s_status_is_set(emulator, control, agent_id):
    response = control.post(f"/agents/{agent_id}/status", json={"status": "error"})
    assert response.json() == emulator.agent(agent_id)
    assert response.json()["status"] == "error"
    moved = response.json()["updated_at"]
    response = control.post(
        f"/agents/{agent_id}/status", json={"status": "running", "move_updated_at": False}
    )
    assert response.json()["updated_at"] == moved
    missing = control.post("/agents/agent_0/status", json={"status": "error"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "agent_not_found")


def test_unknown_control_paths_are_errors(emulator, control):
    assert control.get("/nothing").status_code == 404
    assert control.put("/faults").status_code == 405
    assert emulator.journal.entries() == []


def test_json_in_a_form_type_is_read(emulator):
    # As `curl -d` sends it.
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    url = emulator.url.replace("/api/v1", "/_emulator/faults")
    response = httpx.post(url, content='{"fault": "html_502", "on": "get_agent"}', headers=kind)
    assert response.status_code == 200
    assert [fault.fault.name for fault in emulator.faults.active()] == ["html_502"]
    response = httpx.post(url, content="{}", headers=kind)
    assert response.json()["error"]["message"] == "Invalid control request"
