"""What a wait says in its log, its event and its error."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scenarios import Scenario

from connix_provider.client import Client, ConnixServerError
from connix_provider.client.errors import ConnixRateLimitError, ConnixRateLimitWaitError
from connix_provider.client.ratelimit import Bucket
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixSensorTimeoutError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.lifecycle import GOALS
from connix_provider.operators.agent import ConnixRestartAgentOperator, ConnixStartAgentOperator
from connix_provider.poll_state import PollState, Snapshot
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.deadlines import time_allowed
from connix_provider.polling.last_errors import read_last_errors
from connix_provider.polling.poll_result import PollResult
from connix_provider.polling.rate_limit_waits import RateLimitWaitLog
from connix_provider.polling.status_poller import StatusPoller
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings
from connix_provider.sensors.agent import ConnixAgentStatusSensor

ALPHA = AgentRef("agent_1", "alpha", "p_1")

# An Airflow connection that is not defined for a while (a secrets backend that is down looks so)


@pytest.fixture
def undefine(monkeypatch):
    return lambda: monkeypatch.delenv("AIRFLOW_CONN_CONNIX_DEFAULT")


async def test_an_undefined_connection_ends_waits_after_5_minutes(emulator, warp, wait, undefine):
    (agent_id,) = emulator.seed(status="running")
    undefine()
    began = warp.time()
    event = await wait(agent_id, agent_name="alpha", deadline=began + 3600)
    assert 300 <= warp.time() - began < 320
    assert (event["outcome"], event["error"]["class"]) == ("refused", "AirflowNotFoundException")
    assert "AIRFLOW_CONN_CONNIX_DEFAULT" in event["message"]
    assert f"'alpha' ({agent_id})" in event["message"]


async def test_a_late_undefined_connection_has_5_minutes(emulator, warp, wait, undefine):
    (agent_id,) = emulator.seed(status="paused")
    began = warp.time()

    async def lose() -> None:
        await warp.sleep_async(60)
        undefine()
        emulator.faults.add(Fault.status(401, code="invalid_api_key"), times=None)

    losing = asyncio.create_task(lose())
    event = await wait(agent_id, deadline=began + 3600)
    await losing
    assert event["error"]["class"] == "AirflowNotFoundException", event
    # A busy machine moves the clock on between two polls.
    assert 355 <= warp.time() - began < 480


@pytest.mark.parametrize("seconds", [10, 120, 290])
async def test_a_connection_that_comes_back_goes_on(emulator, warp, wait, undefine, connection, seconds):
    (agent_id,) = emulator.seed(status="running")
    undefine()

    async def restore() -> None:
        await warp.sleep_async(seconds)
        connection()

    restoring = asyncio.create_task(restore())
    event = await wait(agent_id, deadline=warp.time() + 3600)
    await restoring
    assert event["outcome"] == "done", event


# Rate limits


def limited(seconds: float) -> ConnixRateLimitWaitError:
    error = ConnixRateLimitWaitError("the budget is used up", seconds)
    error.bucket = "get"
    return error


@pytest.mark.parametrize(("seconds", "lines"), [(0.5, 0), (2.0, 0), (3.0, 2), (45.0, 2)])
def test_a_long_wait_for_a_limit_is_logged(caplog, seconds, lines):
    caplog.set_level(logging.INFO)
    waits = RateLimitWaitLog(logging.getLogger("test"))
    waits.begin(ALPHA, limited(seconds), seconds, 1000.0)
    waits.end(ALPHA, 1000.0 + seconds)
    assert len(caplog.messages) == lines
    if lines:
        begun, ended = caplog.messages
        assert "'alpha' (agent_1): polling waits for the rate limit on Get Agent requests until" in begun
        assert f"polling resumed after waiting {seconds:.0f} s" in ended
    assert waits.total(2000.0) == seconds


def test_a_limited_wait_counts_from_its_poll():
    waits = RateLimitWaitLog(logging.getLogger("test"))
    waits.begin(ALPHA, limited(5.0), 5.0, 1000.0, due_at=990.0)
    assert waits.total(1005.0) == 15.0
    waits.end(ALPHA, 1006.0)
    assert waits.total(2000.0) == 16.0


def test_a_permanent_limit_logs_once_a_minute(caplog):
    caplog.set_level(logging.INFO)
    waits = RateLimitWaitLog(logging.getLogger("test"))
    for now in range(1000, 1600, 10):
        waits.begin(ALPHA, limited(8.0), 8.0, now)
        waits.end(ALPHA, now + 8.0)
    assert len(caplog.messages) == 20
    assert waits.total(1600.0) == pytest.approx(480.0)


def poller(goal, *, seconds=0.0, is_resumed=False, **progress):
    settings = WaitSettings(poll_interval=5, deadline=time.time() + seconds, is_resumed=is_resumed)
    return StatusPoller(GOALS[goal], "agent_1", settings, WaitProgress(**progress))


def test_a_timeout_under_limit_names_limit_and_remedy():
    wait = poller("start", seconds=60, agent_name="alpha")
    wait.observe(limited(30.0))
    wait.limit_waits.end(ALPHA, wait.schedule.clock.now() + 30.0)
    message = wait.timed_out().message
    assert "polling waited 30 s of that for the rate limit on Get Agent requests" in message
    assert "deferrable tasks share their polls" in message


def refused() -> ConnixRateLimitError:
    return ConnixRateLimitError(429, "rate_limit_exceeded", "Rate limit exceeded")


@pytest.mark.parametrize(
    ("error", "seconds", "told", "not_told"),
    [
        (refused(), 0.0, "the last poll failed: ConnixRateLimitError: Connix responded 429", "went by"),
        (refused(), 20.0, "polling waited 20 s of that for the rate limit", "not sent"),
        (limited(0.5), 0.0, "the last poll failed: ConnixRateLimitWaitError", "went by"),
        (limited(30.0), 30.0, "polling waited 30 s of that for the rate limit", "ConnixRateLimitWaitError"),
    ],
)
@pytest.mark.parametrize("goal", ["start", "restart", "update", "delete"])
def test_a_timeout_names_the_last_polls_limit(goal, error, seconds, told, not_told):
    wait = poller(goal, seconds=60, is_resumed=True)
    begun = wait.schedule.clock.now()
    wait.observe(error)
    wait.schedule.clock.now = lambda: begun + seconds
    for poll_result in (wait.timed_out(), wait.no_response()):
        assert told in poll_result.message
        assert not_told not in poll_result.message


def test_a_limit_hides_no_error_of_the_service():
    wait = poller("start", seconds=60, is_resumed=True)
    begun = wait.schedule.clock.now()
    wait.observe(ConnixServerError(502, "bad_gateway", "no upstream"))
    wait.observe(limited(30.0))
    wait.schedule.clock.now = lambda: begun + 30.0
    message = wait.timed_out().message
    assert "the last poll failed: ConnixServerError: Connix responded 502" in message
    assert "polling waited 30 s of that for the rate limit" in message


# Events


@pytest.mark.parametrize("character", ["x", "\u0001", "é", "\U0001f600", '"', "\\"])
@pytest.mark.parametrize("details", [None, ["x" * 9000], {"a": {"b": "\u0001" * 20_000}}])
def test_an_event_is_under_10_kib(character, details):
    long = character * 100_000
    error = ConnixServerError(500, long, long, details, long)
    error.request = error.note = long
    poll_result = PollResult.refused(AgentRef(long, long, long, long), long, error)
    event = poll_result.to_event()
    assert len(json.dumps(event)) < 10 * 1024
    assert isinstance(PollResult.from_event(json.loads(json.dumps(event))).rebuild_error(), ConnixServerError)


# The last error line


class LogService:
    """Answer Get Agent, and its logs as a test says."""

    def __init__(self, line: str, status: int = 200, seconds: float = 0.0) -> None:
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_logs = "/logs" in self.path
                if is_logs:
                    service.ended.wait(seconds)
                body = json.dumps(service.logs(line) if is_logs else service.agent()).encode()
                self.send_response(status if is_logs else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep the output of the tests clean."""

        self.ended = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    @staticmethod
    def agent() -> dict[str, Any]:
        secret = {"environment_variables": {"TOKEN": "hunter2-and-more"}}
        return {"id": "agent_1", "name": "alpha", "status": "error", "config": secret}

    @staticmethod
    def logs(line: str) -> dict[str, Any]:
        entry = {"id": "log_1", "level": "error", "message": line, "timestamp": "2026-01-15T10:30:00Z"}
        return {"logs": [entry], "pagination": {"total": 1, "limit": 1, "offset": 0, "has_more": False}}

    def __enter__(self) -> Client:
        self.thread.start()
        self.client = Client("cx_key_of_the_test", f"http://127.0.0.1:{self.server.server_address[1]}")
        return self.client

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.client.close()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def read(client: Client, **how: Any) -> tuple[str, ...]:
    log = logging.getLogger(__name__)
    return client.run_flow(read_last_errors(client, "p_1", "agent_1", task_log=log, **how))


def test_the_quoted_line_is_redacted_and_escaped(caplog):
    text = "bad token hunter2-and-more of cx_key_of_the_test\x1b[2J\r\nTask done\x00"
    with LogService(text) as client:
        (line,) = read(client)
    assert line == "2026-01-15 10:30:00 UTC error: bad token *** of ***\\x1b[2J\\r\\nTask done\\x00"
    assert line.isprintable()
    assert f"In the log of agent agent_1: {line}" in caplog.messages


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_failed_log_request_reads_nothing(status):
    with LogService("line", status) as client:
        assert read(client) == ()


@pytest.mark.heavy
def test_a_slow_log_request_ends_after_5_seconds():
    with LogService("line", seconds=30) as client:
        began = time.monotonic()
        assert read(client) == ()
        assert time.monotonic() - began < 8


# Time


@pytest.mark.parametrize(
    ("timeout", "execution_timeout", "allowed"),
    [(600, None, 600), (600, 60, 54), (600, 5, 4.5), (600, 1000, 600), (3600, 3600, 3590), (50, 60, 50)],
)
def test_the_deadline_keeps_a_margin_to_execution_timeout(timeout, execution_timeout, allowed):
    limit = None if execution_timeout is None else timedelta(seconds=execution_timeout)
    assert time_allowed(timeout, limit) == pytest.approx(allowed)


@pytest.mark.heavy
@pytest.mark.parametrize("mode", ["poke", "deferred"])
def test_a_sensor_keeps_to_execution_timeout(scenario: Scenario, mode):
    (agent_id,) = scenario.emulator.seed(status="paused", project_id=scenario.project_id)
    began = scenario.warp.time()
    ran = scenario.task(
        ConnixAgentStatusSensor,
        agent_id=agent_id,
        deferrable=mode == "deferred",
        poke_interval=10,
        timeout=600,
        execution_timeout=timedelta(seconds=60),
    ).try_once()
    assert type(ran.error) is ConnixSensorTimeoutError
    assert "(54 s)" in str(ran.error)
    assert scenario.warp.time() - began < 60
    assert scenario.emulator.journal.entries("get_agent")[-1].at.timestamp() - began <= 54.1


def test_a_restart_without_a_sign_says_so():
    seen = Snapshot("running", datetime(2026, 1, 15, tzinfo=UTC))
    state = PollState(before=seen, last=seen)
    wait = poller("restart", state=state)
    message = wait.timed_out().message
    assert "showed no sign of a restart within the time allowed" in message
    assert "last seen running" in message
    assert "was not running" not in message


@pytest.mark.parametrize("is_limited", [False, True])
def test_a_last_poll_without_response_is_named(is_limited):
    wait = poller("stop", is_resumed=True)
    if is_limited:
        wait.limit_waits.begin(ALPHA, limited(9.0), 9.0, wait.schedule.clock.now() - 9)
    message = wait.no_response().message
    assert ("no response came" in message) is not is_limited
    assert ("of that for the rate limit" in message) is is_limited


@pytest.mark.heavy
@pytest.mark.parametrize("hint", [60, 3600])
def test_a_limit_until_the_deadline_names_the_agent(scenario: Scenario, hint):
    scenario.emulator.faults.add(Fault.status(429, headers={"Retry-After": str(hint)}), times=None)
    ran = scenario.task(
        ConnixRestartAgentOperator, agent_name="alpha", deferrable=True, timeout=20
    ).try_once()
    assert isinstance(ran.error, ConnixRateLimitError), ran.error
    assert "Could not restart agent 'alpha'" in str(ran.error)


BEGINS_AND_ENDS = [
    "waits for the rate limit on Agent Actions requests until about",
    "was attempted after waiting 2",
]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("hint", "times", "lines"), [(1, 1, []), (20, 1, BEGINS_AND_ENDS), (8, 3, BEGINS_AND_ENDS)]
)
def test_an_action_logs_its_wait_for_a_limit(scenario: Scenario, caplog, hint, times, lines):
    caplog.set_level(logging.INFO, "connix_provider.client")
    (agent_id,) = scenario.emulator.seed(status="stopped", project_id=scenario.project_id)
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=hint), on="start_agent", times=times)
    ran = scenario.task(ConnixStartAgentOperator, agent_id=agent_id, timeout=600).try_once()
    assert ran.error is None, ran.error
    told = [record.getMessage() for record in caplog.records if "rate limit on" in record.getMessage()]
    assert len(told) == len(lines), told
    for line, words in zip(told, lines, strict=True):
        assert line.startswith(f"POST /projects/{scenario.project_id}/agents/{agent_id}/start {words}")
    assert not told or "429" in told[0]


@pytest.mark.heavy
def test_an_action_logs_a_used_up_limit(scenario: Scenario, caplog):
    caplog.set_level(logging.INFO, "connix_provider.client")
    (agent_id,) = scenario.emulator.seed(status="stopped", project_id=scenario.project_id)
    with ConnixHook().get_conn() as client, client.limiter.permit(Bucket.ACTION) as permit:
        assert permit.try_acquire() == 0
        permit.on_response({"x-ratelimit-limit": "50", "x-ratelimit-remaining": "0"})
    ran = scenario.task(ConnixStartAgentOperator, agent_id=agent_id, timeout=600).try_once()
    assert ran.error is None, ran.error
    told = [record.getMessage() for record in caplog.records if "rate limit on" in record.getMessage()]
    assert ["no request is left in this window" in line for line in told] == [True, False]
