"""A client that lives on in a forked process has connections of its own there."""

from __future__ import annotations

import multiprocessing

import pytest

from connix_provider.client import Client
from connix_provider.emulator import Emulator, Limits


def _get_all(client, project_id, agent_ids):
    return [client.agents.get(project_id, agent_id).id for agent_id in agent_ids]


def _in_child(pipe, client, project_id, agent_ids):
    pipe.send(_get_all(client, project_id, agent_ids))
    client.close()
    pipe.send("closed")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_parent_and_child_do_not_speak_on_one_socket():
    with Emulator(limits=Limits.off()) as emulator, Client(emulator.api_key, emulator.url) as client:
        project_id = emulator.project_id
        agent_ids = emulator.seed(40)
        before = _get_all(client, project_id, agent_ids[:1])
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(
            target=_in_child, args=(there, client, project_id, agent_ids[20:])
        )
        child.start()
        try:
            during = _get_all(client, project_id, agent_ids[:20])
            assert here.poll(30), "the child got no answer"
            assert here.recv() == agent_ids[20:]
            assert here.recv() == "closed"
        finally:
            child.kill()
            child.join()
        assert before + during == agent_ids[:1] + agent_ids[:20]
        # What the child closed was its own.
        assert _get_all(client, project_id, agent_ids) == agent_ids


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_opens_connections_of_its_own(raw_server):
    sent_on = []

    def keep_alive(connection, request):
        sent_on.append(connection.getpeername())
        body = b'{"id": "agent_1", "status": "running"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return True

    with Client("cx_" + 32 * "0", raw_server(keep_alive).url, verify=False) as client:
        _get_all(client, "p", ["agent_1"])
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(
            target=_in_child, args=(there, client, "p", ["agent_1"])
        )
        child.start()
        try:
            assert here.poll(30), "the child got no answer"
            assert here.recv() == ["agent_1"]
            assert here.recv() == "closed"
        finally:
            child.kill()
            child.join()
        _get_all(client, "p", ["agent_1"])
    parent_before, child_only, parent_after = sent_on
    assert parent_before == parent_after != child_only
