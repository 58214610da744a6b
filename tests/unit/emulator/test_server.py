"""Starting, stopping, outages, and many at once."""

import gc
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from connix_provider.emulator import Durations, Emulator, Limits
from connix_provider.emulator.server_thread import ServerThread


def threads():
    return {thread.name for thread in threading.enumerate()}


def test_starting_and_stopping_leaks_nothing():
    before = threads()
    for _ in range(10):
        with Emulator() as emulator, httpx.Client(verify=False, trust_env=False) as client:
            client.get(emulator.url)
            port = httpx.URL(emulator.url).port
    assert threads() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_start_and_stop_may_be_repeated():
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="before its first start"):
        _ = emulator.url
    emulator.stop()
    assert emulator.start() is emulator
    url = emulator.url
    emulator.start()
    assert emulator.url == url
    emulator.stop()
    emulator.stop()
    assert emulator.url == url


def test_outage_keeps_port_and_state(emulator, connect):
    (agent_id,) = emulator.seed()
    api = connect(emulator)
    assert api.act(agent_id, "pause").status_code == 200
    emulator.stop()
    with pytest.raises(httpx.ConnectError):
        api.get(agent_id)
    emulator.clock.advance(60)
    emulator.start()
    assert api.get(agent_id).json()["status"] == "paused"
    assert [entry.call for entry in emulator.journal.entries()] == ["pause_agent", "get_agent"]


@pytest.mark.heavy
def test_outages_under_load_leave_no_connection_behind(emulator):
    port = httpx.URL(emulator.url).port
    request = (
        f"GET /api/v1/projects HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {emulator.api_key}\r\n\r\n".encode()
    )
    over = threading.Event()

    def ask():
        responses = 0
        while not over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(request)
                    responses += bool(connection.recv(65536))
            except TimeoutError:
                raise
            except OSError:
                continue
        return responses

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask) for _ in range(6)]
        try:
            for _ in range(20):
                time.sleep(0.02)
                emulator.stop()
                emulator.start()
        finally:
            # The pool waits for its threads, so they must end also after a failure.
            over.set()
        assert sum(one.result() for one in asking) > 0
    emulator.stop()
    gc.collect()  # what was left behind would warn now, and warnings are errors


def test_port_in_use_is_an_error_without_leaks(emulator):
    port = httpx.URL(emulator.url).port
    with pytest.raises(OSError, match="in use"):
        Emulator(port=port).start()


def test_failed_start_raises_in_the_starting_thread(caplog):
    before = threads()
    with pytest.raises(SystemExit):
        ServerThread("no_such_module:app", {}, "127.0.0.1", 0)
    assert threads() == before


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", ""])
def test_only_loopback(host):
    with pytest.raises(ValueError, match="loopback"):
        Emulator(host=host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_every_loopback(host, connect):
    try:
        emulator = Emulator(host=host).start()
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    with emulator:
        assert connect(emulator).list().status_code == 200


def test_key_and_project_can_be_chosen(connect):
    with Emulator(api_key="cx_mine", project_id="7") as emulator:
        assert (emulator.api_key, emulator.project_id) == ("cx_mine", "7")
        assert connect(emulator).list().status_code == 200


def test_several_emulators_share_nothing(connect):
    with Emulator() as one, Emulator() as two:
        assert one.url != two.url
        assert connect(one).create().status_code == 201
        assert connect(two, {"X-API-Key": one.api_key}).list().status_code == 401
        assert connect(two).list().json()["pagination"]["total"] == 0


@pytest.mark.heavy
def test_python_and_http_at_the_same_time(connect):
    durations = Durations(creating=0.001, pausing=0.001, starting=0.001, deleting=0.001)
    with Emulator(limits=Limits.off(), durations=durations) as emulator:

        def live(number):
            api = connect(emulator)
            agent_id = api.create(f"agent-{number}").json()["id"]
            for _ in range(10):
                emulator.set_status(agent_id, "running")
                assert api.act(agent_id, "pause").status_code == 200
                emulator.set_status(agent_id, "paused")
                assert api.get(agent_id).json()["name"] == f"agent-{number}"
                assert api.list(sort="name", status="paused").status_code == 200
                emulator.clock.advance(0.01)
                emulator.journal.entries()
            assert api.delete(agent_id).status_code == 200

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(live, range(16)))
        emulator.clock.advance(1)
        assert connect(emulator).list().json()["pagination"]["total"] == 0
        assert len(emulator.journal.executed("create_agent")) == 16


def test_concurrent_creates_of_one_name_succeed_once(connect):
    with Emulator(limits=Limits.off()) as emulator:
        apis = [connect(emulator) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda api: api.create("one").status_code, apis))
        assert sorted(statuses) == [201] + 7 * [409]


def test_large_body_arrives_whole(emulator, api):
    text = 300_000 * "x"
    assert api.create(description=text).json()["description"] == text
    assert api.list().json()["agents"][0]["description"] == text


def test_internal_error_has_the_service_shape(emulator, api, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr("connix_provider.emulator.calls._service", broken)
    response = api.list()
    assert response.status_code == 500
    error = response.json()["error"]
    assert error["code"] == "internal_error"
    assert error["message"] == "An unexpected error occurred. Please try again later."
    assert error["request_id"] == response.headers["X-Request-ID"]
    emulator.stop()
    assert "out of order" in caplog.text, "the traceback is logged"
