"""The journal: requests, whether they were executed, and whether the response was delivered."""

import logging

import httpx
import pytest

from connix_provider.emulator import Fault


def test_one_entry_for_each_request_in_order(emulator, api):
    agent_id = api.create().json()["id"]
    api.get(agent_id)
    api.http.get("/nothing", headers={"X-Request-ID": "mine"})
    api.http.patch(api.agents)
    calls = [(entry.method, entry.call, entry.status) for entry in emulator.journal.entries()]
    assert calls == [
        ("POST", "create_agent", 201),
        ("GET", "get_agent", 200),
        ("GET", None, 404),
        ("PATCH", None, 405),
    ]
    created, got, lost, _ = emulator.journal.entries()
    assert (created.agent_id, created.project_id) == (None, emulator.project_id)
    assert got.agent_id == agent_id
    assert got.at == emulator.clock.now()
    assert (lost.request_id, lost.path) == ("mine", "/api/v1/nothing")
    assert emulator.journal.entries("get_agent") == [got] == emulator.journal.entries(agent_id=agent_id)


def test_refused_request_is_not_executed(emulator, api, connect):
    (agent_id,) = emulator.seed(name="taken")
    api.create("taken")
    api.create("")
    api.get("agent_0")
    api.act(agent_id, "start")
    connect(emulator, {}).list()
    assert emulator.journal.executed() == []
    entries = emulator.journal.entries()
    assert [entry.status for entry in entries] == [409, 400, 404, 409, 401]
    assert all(entry.delivered for entry in entries)


def test_journal_entries_are_copies_and_can_be_cleared(emulator, api):
    api.list()
    (entry,) = emulator.journal.entries()
    entry.status = 999
    assert emulator.journal.entries()[0].status == 200
    emulator.journal.clear()
    assert emulator.journal.entries() == []


def test_disconnected_client_has_no_response_delivered(emulator, api):
    (agent_id,) = emulator.seed()
    emulator.faults.add(Fault.hang(executed=True), on="pause_agent")
    with pytest.raises(httpx.ReadTimeout):
        api.http.post(api.path(agent_id, "pause"), timeout=httpx.Timeout(5, read=0.4))
    (entry,) = emulator.journal.executed("pause_agent")
    assert (entry.status, entry.delivered) == (None, False)


@pytest.mark.parametrize("header", ["key", "token"])
def test_no_secret_is_kept_or_logged(emulator, connect, caplog, header):
    caplog.set_level(logging.INFO, "connix_provider.emulator")
    grant = emulator.add_token()
    secret = emulator.api_key if header == "key" else grant.access_token
    name, value = ("X-API-Key", secret) if header == "key" else ("Authorization", f"Bearer {secret}")
    api = connect(emulator, {name: value})
    api.http.get("/projects", params={"search": "hunter2"})
    emulator.stop()  # the line is written after the response
    (entry,) = emulator.journal.entries()
    assert entry.key == secret[-4:]
    shown = repr(entry) + repr(entry.as_json()) + caplog.text
    assert secret not in shown
    assert secret[:-4] not in shown
    assert "hunter2" not in shown
    assert "GET /api/v1/projects 200" in caplog.text


def test_short_secret_is_not_shown_at_all(emulator, connect):
    connect(emulator, {"X-API-Key": "hunter2"}).list()
    assert emulator.journal.entries()[0].key is None


def test_log_names_the_fault(emulator, api, caplog):
    caplog.set_level(logging.INFO, "connix_provider.emulator")
    emulator.faults.add(Fault.html_502())
    api.list()
    emulator.stop()
    assert "fault=html_502" in caplog.text
