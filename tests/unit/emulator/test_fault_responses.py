"""Every kind of fault as the client sees it."""

import json
import socket
import time

import httpx
import pytest
from waiting import wait_until

from connix_provider.emulator import Fault


def raw(emulator, agent_id, method="GET", rest=""):
    """Send one request on a bare socket and return all that comes back, and how it ended."""
    url = httpx.URL(emulator.url)
    request = (
        f"{method} {url.path}/projects/{emulator.project_id}/agents/{agent_id}{rest} HTTP/1.1\r\n"
        f"Host: localhost\r\nX-API-Key: {emulator.api_key}\r\nContent-Length: 0\r\n\r\n"
    )
    received = b""
    with socket.create_connection((url.host, url.port), timeout=5) as connection:
        connection.sendall(request.encode())
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            return received, "reset"
    return received, "closed"


def entry(emulator):
    return emulator.journal.entries()[-1]


@pytest.fixture
def agent_id(emulator):
    return emulator.seed()[0]


def test_status_has_the_service_error_shape(emulator, api, agent_id):
    emulator.faults.add(Fault.status(503, headers={"Retry-After": "7"}), on="restart_agent")
    response = api.act(agent_id, "restart")
    assert response.status_code == 503
    error = response.json()["error"]
    assert (error["code"], error["message"]) == ("service_unavailable", "Service Unavailable")
    assert error["request_id"] == response.headers["X-Request-ID"]
    assert response.headers["Retry-After"] == "7"
    emulator.clock.advance(60)
    assert len(emulator.history(agent_id)) == 1
    assert (entry(emulator).executed, entry(emulator).delivered) == (False, True)


def test_status_fault_may_follow_an_executed_request(emulator, api, agent_id):
    fault = Fault.status(500, code="internal_error", message="Sorry", executed=True)
    emulator.faults.add(fault)
    response = api.act(agent_id, "pause")
    assert (response.status_code, response.json()["error"]["message"]) == (500, "Sorry")
    emulator.clock.advance(60)
    assert emulator.agent(agent_id)["status"] == "paused"
    assert (entry(emulator).status, entry(emulator).executed) == (500, True)


@pytest.mark.parametrize("status", [204, 304, 422, 599])
def test_any_status_can_be_planned(emulator, api, agent_id, status):
    emulator.faults.add(Fault.status(status))
    response = api.get(agent_id)
    assert response.status_code == status
    assert bool(response.content) == (status not in {204, 304})


@pytest.mark.parametrize("hints", ["body", "header", "reset", "none"])
def test_rate_limit_fault_hints_in_one_place(emulator, api, agent_id, hints):
    emulator.faults.add(Fault.rate_limited(retry_after=9, hints=hints))
    response = api.get(agent_id)
    assert response.status_code == 429
    error = response.json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert error.get("retry_after") == (9 if hints == "body" else None)
    assert ("9" in error["message"]) == (hints == "body")
    assert response.headers.get("Retry-After") == ("9" if hints == "header" else None)
    reset = str(int(emulator.clock.timestamp()) + 9) if hints == "reset" else None
    assert response.headers.get("X-RateLimit-Reset") == reset
    assert api.get(agent_id).headers["X-RateLimit-Remaining"] == "199", "the service itself counted nothing"


def test_html_502_is_a_proxy_page(emulator, api, agent_id):
    emulator.faults.add(Fault.html_502())
    response = api.get(agent_id)
    assert response.status_code == 502
    assert response.headers["Content-Type"].startswith("text/html")
    assert "<h1>502 Bad Gateway</h1>" in response.text


def test_redirect_has_its_location(emulator, api, agent_id):
    emulator.faults.add(Fault.redirect("https://elsewhere.example/"))
    response = api.get(agent_id)
    assert (response.status_code, response.headers["Location"]) == (307, "https://elsewhere.example/")
    assert not entry(emulator).executed


def test_reset_before_executes_nothing(emulator, agent_id):
    emulator.faults.add(Fault.reset_before())
    assert raw(emulator, agent_id, "POST", "/pause") == (b"", "reset")
    emulator.clock.advance(60)
    assert emulator.agent(agent_id)["status"] == "running"
    last = entry(emulator)
    assert (last.status, last.executed, last.delivered, last.fault) == (None, False, False, "reset_before")


def test_reset_after_executes_the_request(emulator, agent_id):
    emulator.faults.add(Fault.reset_after())
    assert raw(emulator, agent_id, "POST", "/pause") == (b"", "reset")
    emulator.clock.advance(60)
    assert emulator.agent(agent_id)["status"] == "paused"
    last = entry(emulator)
    assert (last.status, last.executed, last.delivered, last.fault) == (None, True, False, "reset_after")


def test_created_agent_outlives_its_lost_response(emulator, api):
    emulator.faults.add(Fault.reset_after(), on="create_agent")
    with pytest.raises(httpx.ReadError):
        api.create("one")
    assert [agent["name"] for agent in api.list().json()["agents"]] == ["one"]
    assert len(emulator.journal.executed("create_agent")) == 1
    assert api.create("one").status_code == 409


@pytest.mark.parametrize("executed", [False, True])
def test_hang_ends_after_its_seconds(emulator, agent_id, executed):
    emulator.faults.add(Fault.hang(seconds=0.2, executed=executed))
    begin = time.monotonic()
    assert raw(emulator, agent_id, "POST", "/pause") == (b"", "closed")
    assert time.monotonic() - begin >= 0.2
    emulator.clock.advance(60)
    assert emulator.agent(agent_id)["status"] == ("paused" if executed else "running")
    last = entry(emulator)
    assert (last.status, last.executed, last.delivered) == (None, executed, False)


def test_hang_is_in_the_journal_while_it_lasts(emulator, api, agent_id):
    emulator.faults.add(Fault.hang())
    with pytest.raises(httpx.ReadTimeout):
        api.http.get(api.path(agent_id), timeout=httpx.Timeout(5, read=0.4))
    last = entry(emulator)
    assert (last.call, last.status, last.executed, last.delivered) == ("get_agent", None, False, False)
    assert api.get(agent_id).status_code == 200


def test_stop_does_not_wait_for_a_hang(emulator, agent_id):
    emulator.faults.add(Fault.hang(), times=None)
    url = httpx.URL(emulator.url)
    request = f"GET {url.path}/projects HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    connections = [socket.create_connection((url.host, url.port), timeout=5) for _ in range(20)]
    try:
        for connection in connections:
            connection.sendall(request)
        wait_until("20 requests", lambda: len(emulator.journal.entries()) >= 20)
        # It would never return.
        emulator.stop()
        for connection in connections:
            assert connection.recv(1) == b""
    finally:
        for connection in connections:
            connection.close()


def test_slow_body_comes_in_pieces(emulator, api, agent_id):
    emulator.faults.add(Fault.slow_body(seconds=0.8))
    begin = time.monotonic()
    with api.http.stream("GET", api.path(agent_id)) as response:
        pieces = list(response.iter_raw())
    assert len(pieces) > 1
    assert time.monotonic() - begin >= 0.8
    assert json.loads(b"".join(pieces)) == emulator.agent(agent_id)
    assert (entry(emulator).status, entry(emulator).delivered) == (200, True)


def test_client_may_disconnect_during_a_slow_body(emulator, api, agent_id):
    emulator.faults.add(Fault.slow_body(seconds=60))
    with api.http.stream("GET", api.path(agent_id)) as response:
        assert response.status_code == 200
    emulator.stop()
    assert (entry(emulator).status, entry(emulator).delivered) == (200, False)


def test_cut_body_is_half_a_body(emulator, agent_id):
    emulator.faults.add(Fault.cut_body())
    received, end = raw(emulator, agent_id, "POST", "/pause")
    head, _, body = received.partition(b"\r\n\r\n")
    promised = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert end == "closed"
    assert head.startswith(b"HTTP/1.1 200")
    assert 0 < len(body) < promised
    emulator.clock.advance(60)
    assert emulator.agent(agent_id)["status"] == "paused"
    assert (entry(emulator).executed, entry(emulator).delivered) == (True, False)


def test_bad_json_is_half_a_text(emulator, api, agent_id):
    emulator.faults.add(Fault.bad_json())
    response = api.act(agent_id, "pause")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert entry(emulator).executed


def test_unknown_status_is_shown_in_get_and_list(emulator, api):
    first, second = emulator.seed(count=2)
    emulator.faults.add(Fault.unknown_status(), times=2)
    assert [agent["status"] for agent in api.list().json()["agents"]] == ["hibernating", "hibernating"]
    assert api.get(first).json()["status"] == "hibernating"
    assert api.get(first).json()["status"] == "running"
    emulator.faults.add(Fault.unknown_status("asleep"), agent_id=second, times=None)
    assert [agent["status"] for agent in api.list().json()["agents"]] == ["running", "asleep"]
    assert api.get(first).json()["status"] == "running"
    assert api.get(second).json()["status"] == "asleep"
    assert emulator.agent(second)["status"] == "running", "only the response shows it"
    assert api.get(second).headers["X-RateLimit-Limit"] == "200"


def test_unknown_status_does_not_change_an_error(emulator, api):
    emulator.faults.add(Fault.unknown_status())
    assert api.get("agent_0").status_code == 404


@pytest.mark.parametrize(
    ("before", "verb", "statuses"),
    [
        (None, "create", ["creating", "error"]),
        ("paused", "start", ["paused", "error"]),
        ("running", "restart", ["running", "stopped", "error"]),
        ("running", "update", ["running", "updating", "error"]),
    ],
)
def test_agent_ends_in_error_instead_of_its_goal(emulator, api, before, verb, statuses):
    emulator.faults.add(Fault.ends_in_error())
    if verb == "create":
        agent_id = api.create().json()["id"]
    else:
        (agent_id,) = emulator.seed(status=before)
        response = api.update(agent_id) if verb == "update" else api.act(agent_id, verb)
        assert response.status_code == 200, "the response promises all the same"
    emulator.clock.advance(60)
    assert [status for _, status in emulator.history(agent_id)] == statuses
    assert emulator.faults.active() == []
