"""New lines of the agent's log come into the task's log, once each, in order, in every mode."""

from __future__ import annotations

import json
import logging
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from in_process import TaskOutcome
from scenarios import Scenario

from connix_provider.client import Client
from connix_provider.client.calls.steps import FlowRunner, Send, Sleep
from connix_provider.emulator import Emulator, Fault
from connix_provider.emulator.clock import Clock
from connix_provider.exceptions import (
    ConnixAgentFailedError,
    ConnixAgentTimeoutError,
    ConnixSensorTimeoutError,
)
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators.agent import ConnixRestartAgentOperator, ConnixStartAgentOperator
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.log_stream import LogStream
from connix_provider.sensors.agent import ConnixAgentStatusSensor
from connix_provider.sensors.health import ConnixAgentHealthSensor

pytestmark = pytest.mark.heavy

SECRET = "hunter2-and-more"
WAITERS = {
    "operator on the worker": {"deferrable": False},
    "operator deferred": {"deferrable": True},
    "sensor in poke": {"mode": "poke", "deferrable": False},
    "sensor in reschedule": {"mode": "reschedule", "deferrable": False},
    "sensor deferred": {"deferrable": True},
    "health in poke": {"mode": "poke", "deferrable": False},
    "health in reschedule": {"mode": "reschedule", "deferrable": False},
    "health deferred": {"deferrable": True},
}
EVERYWHERE = pytest.mark.parametrize("waiter", WAITERS)


@pytest.fixture
def agent_id(scenario: Scenario) -> str:
    config = {"environment_variables": {"TOKEN": SECRET}}
    seeded = scenario.emulator.seed(
        status="creating", project_id=scenario.project_id, name="alpha", config=config
    )
    scenario.emulator.script(seeded[0], [(58, "running")])
    return seeded[0]


def run(scenario: Scenario, waiter: str, agent_id: str, *, stream: bool = True, **more: Any) -> TaskOutcome:
    """Run a task that waits about a minute, until the agent is running."""
    arguments = {"agent_id": agent_id, "timeout": 300, "stream_agent_logs": stream, **WAITERS[waiter], **more}
    if waiter.startswith("operator"):
        kind: Any = ConnixStartAgentOperator
        arguments["poll_interval"] = 10
    else:
        is_health = waiter.startswith("health")
        kind = ConnixAgentHealthSensor if is_health else ConnixAgentStatusSensor
        arguments.update(poke_interval=10, **({"health": {"statuses": "running"}} if is_health else {}))
    return scenario.task(kind, remembering=True, **arguments).try_once()


class Logged:
    """What the task logged, wherever the version of Airflow writes it."""

    def __init__(self, capfd: Any, caplog: Any) -> None:
        caplog.set_level(logging.INFO)
        self._capfd, self._caplog, self._printed = capfd, caplog, ""

    def texts(self) -> tuple[str, str]:
        self._printed += self._capfd.readouterr().out
        return self._printed, "\n".join(record.getMessage() for record in self._caplog.records)

    def find(self, pattern: str) -> list[str]:
        """Return the matches, once for a version of Airflow that both prints and records."""
        printed, recorded = (re.findall(pattern, text) for text in self.texts())
        return printed or recorded

    def lines(self, agent_id: str) -> list[tuple[str, str]]:
        """Return level and text of the lines of the agent alpha, but not of its changes of status."""
        begin = rf"In the log of agent 'alpha' \({agent_id}\): \S+ \S+ UTC (.*)"
        found = re.findall(rf"\[(\w+) *\] {begin} \[(?:airflow|connix)", self.texts()[0])
        for record in self._caplog.records if not found else ():
            if match := re.fullmatch(begin, record.getMessage()):
                found.append((record.levelname.lower(), match[1]))
        return [(level, line) for level, line in found if not line.startswith("Agent ")]


@pytest.fixture
def logged(capfd: Any, caplog: Any) -> Logged:
    return Logged(capfd, caplog)


@EVERYWHERE
def test_each_line_comes_once_in_order(scenario, waiter, agent_id, logged):
    scenario.emulator.add_logs(agent_id, ["long ago"], after=-100)
    scenario.emulator.add_logs(agent_id, [f"step {n}" for n in range(50)], after=1, every=1)
    scenario.emulator.add_logs(agent_id, ["slow"], "warn", after=20.5)
    scenario.emulator.add_logs(agent_id, ["broken"], "error", after=30.5)
    # Equal lines of the same time are different lines.
    scenario.emulator.add_logs(agent_id, ["twice", "twice"], after=40.5)
    ran = run(scenario, waiter, agent_id)
    assert ran.error is None, ran.error
    shown = logged.lines(agent_id)
    steps = [line for _, line in shown if line.startswith("step")]
    assert steps == [f"step {n}" for n in range(50)]
    assert [each for each in shown if not each[1].startswith("step")] == [
        ("warning", "slow"),
        ("error", "broken"),
        ("info", "twice"),
        ("info", "twice"),
    ]
    assert shown.index(("warning", "slow")) == 20
    assert ran.reschedules > 1 or "reschedule" not in waiter
    assert ran.deferrals == ("deferred" in waiter)


@EVERYWHERE
def test_a_burst_at_one_moment_is_shown_once(scenario, waiter, agent_id, logged):
    scenario.emulator.add_logs(agent_id, [f"burst {n}" for n in range(1500)], after=12)
    assert run(scenario, waiter, agent_id).error is None
    shown = [line for _, line in logged.lines(agent_id)]
    assert shown == [f"burst {n}" for n in range(1500)]


@EVERYWHERE
def test_a_secret_ending_a_quote_is_hidden(scenario, waiter, agent_id, logged):
    # 1,000 characters of a line are logged.
    scenario.emulator.add_logs(agent_id, [990 * "x" + SECRET], after=12)
    assert run(scenario, waiter, agent_id).error is None
    ((_, shown),) = logged.lines(agent_id)
    assert shown.startswith(990 * "x")
    assert SECRET[:4] not in shown


@EVERYWHERE
def test_without_the_flag_no_log_is_read(scenario, waiter, agent_id):
    assert run(scenario, waiter, agent_id, stream=False).error is None
    assert not scenario.emulator.journal.entries("get_logs")


@EVERYWHERE
@pytest.mark.parametrize(
    "fault",
    [Fault.status(503), Fault.rate_limited(retry_after=12), Fault.status(403), Fault.reset_before()],
    ids=["503", "429", "403", "reset"],
)
def test_an_unreadable_log_ends_no_wait(scenario, waiter, fault, agent_id, logged):
    scenario.emulator.add_logs(agent_id, ["one", "two", "three"], after=5, every=15)
    scenario.emulator.faults.add(fault, on="get_logs", times=3)
    ran = run(scenario, waiter, agent_id)
    assert ran.error is None, ran.error
    assert [line for _, line in logged.lines(agent_id)] == ["one", "two", "three"]
    assert len(logged.find("its log could not be read")) == 1
    assert len(logged.find("its log can be read again")) == 1


@EVERYWHERE
def test_streamed_lines_are_harmless(scenario, waiter, agent_id, logged):
    hostile = [
        f"token {SECRET} of {scenario.emulator.api_key}",
        f"as JSON {json.dumps({'TOKEN': SECRET})}",
        "\x1b[31mred\r\n[2026-01-01] INFO - Task exited with return code 0\u2028\x00",
        "x" * 100_000,
    ]
    scenario.emulator.add_logs(agent_id, hostile, after=5, every=10)
    assert run(scenario, waiter, agent_id).error is None
    assert SECRET not in "".join(logged.texts())
    assert scenario.emulator.api_key not in "".join(logged.texts())
    shown = [line for _, line in logged.lines(agent_id)]
    assert len(shown) == 4
    assert all(line.isprintable() and len(line) <= 1001 for line in shown)


@pytest.mark.parametrize("waiter", [waiter for waiter in WAITERS if waiter.startswith("sensor")])
def test_a_failure_shows_a_streamed_line_once(scenario, waiter, agent_id, logged):
    scenario.emulator.script(agent_id, [(25, "error")])
    scenario.emulator.add_logs(agent_id, ["no disk"], "error", after=20)
    ran = run(scenario, waiter, agent_id)
    assert type(ran.error) is ConnixAgentFailedError
    assert "no disk" in str(ran.error)
    assert logged.lines(agent_id) == [("error", "no disk")]


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_busy_agents_lines_come_once(scenario, deferrable, agent_id, logged):
    # The restart waits for the update to end, then for the restart.
    scenario.emulator.script(agent_id, [(25, "running")])
    scenario.emulator.add_logs(agent_id, [f"step {n}" for n in range(25)], after=1, every=1)
    ran = scenario.task(
        ConnixRestartAgentOperator,
        remembering=True,
        agent_id=agent_id,
        deferrable=deferrable,
        stream_agent_logs=True,
        poll_interval=10,
        timeout=300,
    ).try_once()
    assert ran.error is None, ran.error
    shown = [line for _, line in logged.lines(agent_id)]
    assert [line for line in shown if line.startswith("step")] == [f"step {n}" for n in range(25)]


def test_a_rescheduled_sensor_without_store_keeps_its_slot(scenario, agent_id, logged):
    scenario.emulator.add_logs(agent_id, ["one", "two"], after=5, every=20)
    ran = scenario.sensor(
        "reschedule", agent_id=agent_id, stream_agent_logs=True, poke_interval=10, timeout=300
    ).try_once()
    assert ran.error is None
    assert ran.reschedules == 0
    assert [line for _, line in logged.lines(agent_id)] == ["one", "two"]


def test_nothing_is_streamed_after_the_deadline(scenario, agent_id):
    scenario.emulator.script(agent_id, [])
    ran = run(scenario, "sensor in poke", agent_id, timeout=35)
    assert type(ran.error) is ConnixSensorTimeoutError
    assert all(entry.at.timestamp() <= ran.deadline for entry in scenario.emulator.journal.entries())


@pytest.mark.parametrize("how", ["reschedule", "deferred"])
def test_each_line_of_a_group_appears_once(scenario, how, agent_id, logged):
    (other,) = scenario.emulator.seed(status="creating", project_id=scenario.project_id, name="beta")
    scenario.emulator.script(other, [(58, "running")])
    for each in (agent_id, other):
        lines_of = [f"{each} {n}" for n in range(40)]
        scenario.emulator.add_logs(each, lines_of, after=1, every=1)
    mode = {"deferrable": True} if how == "deferred" else {"mode": how, "deferrable": False}
    ran = scenario.task(
        ConnixAgentHealthSensor,
        remembering=True,
        agents={"name": "*"},
        health={"statuses": "running"},
        stream_agent_logs=True,
        poke_interval=10,
        timeout=300,
        **mode,
    ).try_once()
    assert ran.error is None, ran.error
    for each in (agent_id, other):
        found = logged.find(rf"UTC {each} (\d+)")
        assert found == [str(n) for n in range(40)]


@pytest.mark.parametrize("has_lines", [True, False])
def test_a_listed_agents_secrets_are_read_once(scenario, has_lines, agent_id, logged):
    began = scenario.warp.time()
    if has_lines:
        scenario.emulator.add_logs(agent_id, [f"bad {SECRET}"], after=1)
    scenario.emulator.clock.advance(2)
    stream = LogStream(logging.getLogger("connix.test"), began)
    ref = AgentRef(agent_id, "alpha", scenario.project_id)
    with ConnixHook().get_conn() as client:
        for _ in range(2):
            client.run_flow(stream.read(client, ref, None, seconds=5))
    assert len(scenario.emulator.journal.entries("get_agent")) == has_lines
    assert SECRET not in json.dumps(stream.to_json())
    assert SECRET not in "".join(logged.texts())


def test_a_position_confirms_no_guess_of_lines(scenario, agent_id):
    began, positions = scenario.warp.time(), []
    scenario.emulator.add_logs(agent_id, ["one"], after=1)
    scenario.emulator.clock.advance(2)
    ref = AgentRef(agent_id, "alpha", scenario.project_id)
    for key in (scenario.emulator.api_key, scenario.emulator.add_key()):
        stream = LogStream(logging.getLogger("connix.test"), began)
        with Client(key, base_url=scenario.emulator.url) as client:
            client.run_flow(stream.read(client, ref, None, seconds=5))
        positions.append(stream.to_json())
    assert positions[0]["since"] == positions[1]["since"]
    digests = [{digest.partition(":")[2] for digest in position["logged"]} for position in positions]
    assert digests[0].isdisjoint(digests[1])


def test_a_log_that_grows_between_pages_repeats_nothing(scenario, agent_id, logged):
    began = scenario.warp.time()
    scenario.emulator.add_logs(agent_id, [f"line {n}" for n in range(1500)], after=1, every=0.001)
    scenario.emulator.clock.advance(5)
    stream = LogStream(logging.getLogger("connix.test"), began)
    ref = AgentRef(agent_id, "alpha", scenario.project_id)
    with ConnixHook().get_conn() as client:
        for _ in range(2):
            with FlowRunner(stream.read(client, ref, None, seconds=5)) as run_flow:
                outcome = None
                while step := run_flow.next_step(outcome):
                    outcome = client._send(step) if isinstance(step, Send) else None
                    # The log grows by 10 lines with each request.
                    scenario.emulator.clock.advance(1)
                    scenario.emulator.add_logs(agent_id, [f"new {n}" for n in range(10)])
    found = [text for _, text in logged.lines(agent_id)]
    assert [text for text in found if text.startswith("line")] == [f"line {n}" for n in range(1500)]


@pytest.mark.parametrize("waiter", ["operator on the worker", "sensor in poke", "health in poke"])
def test_a_log_that_hangs_keeps_the_last_poll(scenario, waiter, agent_id, monkeypatch):
    # Each read of the log takes all of the time that it may.
    def hang(self, client, ref, agent, *, seconds, **known):
        yield Sleep(min(5.0, seconds))

    monkeypatch.setattr(LogStream, "read", hang)
    scenario.emulator.script(agent_id, [])
    ran = run(scenario, waiter, agent_id, timeout=33)
    assert isinstance(ran.error, ConnixAgentTimeoutError), ran.error
    last = scenario.emulator.journal.entries("get_agent")[-1].at.timestamp()
    assert ran.deadline - 0.2 <= last <= ran.deadline


@pytest.mark.parametrize("ahead", [-600, 0, 600])
def test_lines_before_the_task_are_left_out(ahead, logged):
    """The service's clock tells what was before, because it writes the times of the lines."""
    clock = Clock(start=datetime.now(UTC) + timedelta(seconds=ahead))
    with Emulator(clock=clock) as emulator, Client(emulator.api_key, base_url=emulator.url) as client:
        (agent_id,) = emulator.seed()
        emulator.add_logs(agent_id, ["old 1", "old 2"], after=-60)
        stream = LogStream(logging.getLogger("connix.test"), time.time())
        agent = client.agents.get(emulator.project_id, agent_id)
        emulator.add_logs(agent_id, ["new 1"])
        ref = AgentRef(agent_id, "alpha", emulator.project_id)
        client.run_flow(stream.read(client, ref, agent, seconds=5))
    assert [text for _, text in logged.lines(agent_id)] == ["new 1"]
