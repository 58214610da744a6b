"""A failure of one agent quotes its last errors, in every mode; nothing else reads its log."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from datetime import timedelta
from typing import Any

import pytest
from fast_timeouts import shorten_timeouts
from in_process import TaskOutcome
from modes import MODES
from scenarios import Scenario

from connix_provider.client.errors import ConnixPermissionError
from connix_provider.emulator import Fault
from connix_provider.exceptions import (
    ConnixAgentFailedError,
    ConnixAgentGoneError,
    ConnixAgentTimeoutError,
    ConnixAgentUnhealthyError,
    ConnixSensorTimeoutError,
)
from connix_provider.operators.agent import (
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.operators.health import ConnixCheckAgentHealthOperator
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.deadlines import time_after
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.sensors.health import ConnixAgentHealthSensor
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

pytestmark = pytest.mark.heavy

SECRET = "hunter2-and-more"
WAITERS = {
    "operator on the worker": {"deferrable": False},
    "operator deferred": {"deferrable": True},
    "sensor in poke": {"mode": "poke", "deferrable": False},
    "sensor in reschedule": {"mode": "reschedule", "deferrable": False},
    "sensor deferred": {"deferrable": True},
}
EVERYWHERE = pytest.mark.parametrize("waiter", WAITERS)
SENSORS = pytest.mark.parametrize("waiter", [waiter for waiter in WAITERS if waiter.startswith("sensor")])


@pytest.fixture
def agent_id(scenario: Scenario) -> str:
    config = {"environment_variables": {"TOKEN": SECRET}}
    seeded = scenario.emulator.seed(
        status="running", project_id=scenario.project_id, name="alpha", config=config
    )
    return seeded[0]


def run(scenario: Scenario, waiter: str, agent_id: str, how: str) -> TaskOutcome:
    """Run a task that waits 20 s and more for an agent, and ends as ``how`` says."""
    arguments: dict[str, Any] = {"agent_id": agent_id, "timeout": 60, **WAITERS[waiter]}
    if waiter.startswith("operator"):
        kind = ConnixPauseAgentOperator if how == "timeout" else ConnixRestartAgentOperator
        if how == "error":
            scenario.emulator.faults.add(Fault.ends_in_error(), on="restart_agent")
        elif how == "timeout":
            scenario.emulator.faults.add(
                Fault.unknown_status("hibernating"), on="get_agent", after=1, times=None
            )
        return scenario.task(kind, remembering=True, poll_interval=10, **arguments).try_once()
    if how == "error":
        scenario.emulator.script(agent_id, [(20, "error")])
    elif how == "done":
        scenario.emulator.script(agent_id, [(20, "stopped")])
    target = {"target_statuses": "stopped", "poke_interval": 10}
    mode = "deferred" if arguments.pop("deferrable") else arguments.pop("mode")
    return scenario.sensor(mode, **target, **arguments).try_once()


def counts(scenario: Scenario) -> int:
    return len(scenario.emulator.journal.entries("get_logs"))


@EVERYWHERE
@pytest.mark.parametrize("how", ["error", "timeout"])
def test_a_failure_quotes_the_last_errors(scenario, waiter, how, agent_id, capfd):
    scenario.emulator.add_logs(agent_id, ["connection refused", "no model"], "error", after=-5, every=1)
    scenario.emulator.add_logs(agent_id, ["all is well"])
    ran = run(scenario, waiter, agent_id, how)
    timeout = ConnixAgentTimeoutError if waiter.startswith("operator") else ConnixSensorTimeoutError
    assert type(ran.error) is (timeout if how == "timeout" else ConnixAgentFailedError), ran.error
    quoted = [line.partition(" UTC error: ")[2] for line in ran.error.last_errors]
    assert [line for line in quoted if line in {"connection refused", "no model"}] == [
        "connection refused",
        "no model",
    ]
    first, *earlier = str(ran.error).split(" | ")
    assert first == f"{ran.error.summary} Its last error log line: {ran.error.last_errors[-1]}"
    earlier[0] = earlier[0].removeprefix("those before it, newest first: ")
    assert earlier == list(ran.error.last_errors[-2::-1])
    assert "all is well" not in str(ran.error)
    assert counts(scenario) == 1
    logged = capfd.readouterr().out
    for line in ran.error.last_errors:
        assert logged.count(f"In the log of agent {agent_id}: {line}") == 1


@EVERYWHERE
@pytest.mark.parametrize("how", ["error", "timeout"])
def test_nothing_is_polled_after_the_deadline(scenario, waiter, how, agent_id):
    ran = run(scenario, waiter, agent_id, how)
    entries = scenario.emulator.journal.entries()
    assert all(entry.at.timestamp() <= ran.deadline for entry in entries)


@EVERYWHERE
def test_a_success_reads_no_log(scenario, waiter, agent_id):
    assert run(scenario, waiter, agent_id, "done").error is None
    assert counts(scenario) == 0


@SENSORS
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(403, code="insufficient_permissions"), ConnixPermissionError),
        (Fault.status(404, code="agent_not_found"), ConnixAgentGoneError),
        (Fault.status(503), ConnixSensorTimeoutError),
        (Fault.reset_before(), ConnixSensorTimeoutError),
    ],
    ids=["key refused", "agent gone", "service down", "connection lost"],
)
def test_another_failure_reads_no_log(scenario, waiter, fault, error, agent_id):
    scenario.emulator.add_logs(agent_id, 1, "error")
    scenario.emulator.faults.add(fault, on="get_agent", after=1, times=None)
    ran = run(scenario, waiter, agent_id, "timeout")
    assert type(ran.error) is error, ran.error
    assert counts(scenario) == 0


FAULTS = {
    "429": Fault.rate_limited(retry_after=20),
    "403": Fault.status(403, code="insufficient_permissions"),
    "404": Fault.status(404, code="agent_not_found"),
    "503": Fault.status(503),
    "hangs": Fault.hang(),
    "not JSON": Fault.bad_json(),
    "cut": Fault.cut_body(),
    "lost": Fault.reset_after(),
}


@EVERYWHERE
@pytest.mark.parametrize("how", ["error", "timeout"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_log_that_cannot_be_read_hides_nothing(scenario, waiter, how, fault, agent_id, monkeypatch):
    shorten_timeouts(scenario.emulator, monkeypatch)
    scenario.emulator.add_logs(agent_id, 3, "error")
    scenario.emulator.faults.add(fault, on="get_logs", times=None)
    ran = run(scenario, waiter, agent_id, how)
    assert isinstance(ran.error, ConnixAgentFailedError | ConnixAgentTimeoutError), ran.error
    assert ran.error.last_errors == ()
    assert str(ran.error) == ran.error.summary
    assert counts(scenario) == 1
    assert scenario.warp.time() <= ran.deadline + 5.1


def test_a_short_rate_limit_delays_reading_the_log(scenario, agent_id):
    scenario.emulator.add_logs(agent_id, 1, "error")
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=2), on="get_logs", times=1)
    ran = run(scenario, "sensor in poke", agent_id, "error")
    assert ran.error.last_errors


@SENSORS
def test_an_empty_log_adds_nothing(scenario, waiter):
    # A stopped agent logs no error by itself.
    (agent_id,) = scenario.emulator.seed(status="stopped", project_id=scenario.project_id)
    mode = waiter.split()[-1]
    ran = scenario.sensor(mode, agent_id=agent_id, timeout=60, poke_interval=10).try_once()
    assert type(ran.error) is ConnixSensorTimeoutError
    assert (ran.error.last_errors, str(ran.error)) == ((), ran.error.summary)
    assert counts(scenario) == 1


@EVERYWHERE
def test_of_many_errors_the_newest_ten_are_quoted(scenario, waiter, agent_id):
    lines = [f"line {number}" for number in range(200)]
    scenario.emulator.add_logs(agent_id, lines, "error", after=-300, every=1)
    scenario.emulator.add_logs(agent_id, lines[-9:], "error")
    ran = run(scenario, waiter, agent_id, "error")
    assert len(ran.error.last_errors) == 10
    assert str(ran.error).count(" UTC error: ") == 10
    assert "line 12" not in str(ran.error)


@EVERYWHERE
def test_quoted_lines_are_harmless(scenario, waiter, agent_id, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    hostile = [
        f"token {SECRET} of {scenario.emulator.api_key}",
        f"as JSON {json.dumps({'TOKEN': SECRET})}, cut {SECRET[:13]}",
        "\x1b[2J\x1b[31mred\r\n[2026-01-01] INFO - Task exited with return code 0\u2028\u202e\x00",
        "x" * 100_000,
    ]
    scenario.emulator.add_logs(agent_id, hostile, "error", after=-5, every=1)
    ran = run(scenario, waiter, agent_id, "error")
    logged = "\n".join(record.getMessage() for record in caplog.records)
    for text in (str(ran.error), logged, capfd.readouterr().out):
        assert SECRET[:12] not in text
        assert scenario.emulator.api_key not in text
    assert len(ran.error.last_errors) >= 4
    for line in ran.error.last_errors:
        assert line.isprintable()
        assert len(line) < 350
    assert any("\\x1b[2J\\x1b[31mred\\r\\n[2026" in line for line in ran.error.last_errors)


@MODES
@pytest.mark.parametrize("stream", [False, True])
def test_a_replaced_secret_is_hidden(scenario, stream, deferrable, agent_id, caplog, capfd):
    caplog.set_level(logging.INFO)
    scenario.emulator.faults.add(Fault.ends_in_error(), on="update_agent")
    lines = [f"login with {SECRET} failed, trying a-new-secret"]
    scenario.emulator.add_logs(agent_id, lines, "error", after=1)
    config = {"environment_variables": {"TOKEN": "a-new-secret"}}
    ran = scenario.task(
        ConnixUpdateAgentOperator,
        remembering=True,
        agent_id=agent_id,
        config=config,
        poll_interval=10,
        timeout=60,
        deferrable=deferrable,
        stream_agent_logs=stream,
    ).try_once()
    # The triggerer has met the new secret alone, so it quotes nothing.
    assert ("login with *** failed" in str(ran.error)) is not deferrable
    assert type(ran.error) is ConnixAgentFailedError
    logged = "\n".join(record.getMessage() for record in caplog.records)
    printed = capfd.readouterr().out
    for secret in (SECRET, "a-new-secret"):
        assert secret not in f"{ran.error}{logged}{printed}"


@EVERYWHERE
def test_a_secret_ending_a_quote_is_hidden(scenario, waiter, agent_id):
    # 300 characters of a line are quoted.
    scenario.emulator.add_logs(agent_id, [290 * "x" + SECRET], "error", after=-5)
    ran = run(scenario, waiter, agent_id, "timeout")
    assert 290 * "x" in str(ran.error)
    assert SECRET[:4] not in str(ran.error)


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferred"])
@pytest.mark.parametrize("on_unknown", ["wait", "fail"])
def test_an_unhealthy_agent_quotes_its_errors(scenario, mode, on_unknown, agent_id):
    scenario.emulator.add_logs(agent_id, ["no disk", "no disk at all"], "error", after=-5, every=1)
    scenario.emulator.set_metrics(agent_id, cpu_usage=None)
    how = {"deferrable": True} if mode == "deferred" else {"mode": mode, "deferrable": False}
    ran = scenario.task(
        ConnixAgentHealthSensor,
        agent_id=agent_id,
        health={"max_cpu_usage": 0.5},
        on_unknown=on_unknown,
        poke_interval=10,
        timeout=60,
        **how,
    ).try_once()
    kind = ConnixAgentUnhealthyError if on_unknown == "fail" else ConnixSensorTimeoutError
    assert type(ran.error) is kind, ran.error
    assert "error: no disk at all" in str(ran.error)
    assert counts(scenario) == 1


def test_a_group_of_agents_reads_no_log(scenario, agent_id):
    scenario.emulator.seed(status="running", project_id=scenario.project_id, name="beta")
    ran = scenario.task(
        ConnixAgentHealthSensor,
        agents={"name": "*"},
        health={"statuses": "paused"},
        poke_interval=10,
        timeout=60,
        deferrable=False,
    ).try_once()
    assert type(ran.error) is ConnixSensorTimeoutError
    assert counts(scenario) == 0


@pytest.mark.parametrize("limit", [0.1, 0.9])
def test_a_failed_measurement_quotes_the_errors(scenario, limit, agent_id):
    scenario.emulator.set_metrics(agent_id, cpu_usage=0.5)
    scenario.emulator.add_logs(agent_id, [f"no disk for {SECRET}"], "error")
    ran = scenario.task(
        ConnixCheckAgentHealthOperator, agent_id=agent_id, health={"max_cpu_usage": limit}, timeout=60
    ).try_once()
    assert len(scenario.emulator.journal.entries("get_agent")) == 1
    if limit > 0.5:
        assert (ran.error, counts(scenario)) == (None, 0)
    else:
        assert str(ran.error).endswith("error: no disk for ***")
        assert counts(scenario) == 1


def test_a_crowd_leaves_the_lines_to_the_worker(scenario, agent_id):
    # A trigger that knows the agent from a listing does not know its secrets.
    scenario.emulator.add_logs(agent_id, [f"no disk for {SECRET}"], "error")
    agent = AgentRef(agent_id, "alpha", scenario.project_id)
    for lines, expected in ((None, ("error: no disk for ***",)), ((), ())):
        result = PollResult(
            Outcome.FAILED,
            agent_id,
            "error",
            "It failed.",
            agent_name=agent.name,
            project_id=agent.project_id,
            last_errors=lines,
        )
        task = scenario.sensor("deferred", agent_id=agent_id, timeout=60)._operator(
            {"agent_id": agent_id, "timeout": 60, "project_id": scenario.project_id}
        )
        explained = task.explain({**result.to_event(), "deadline": None})
        assert tuple(line.partition("UTC ")[2] for line in explained.last_errors) == expected
    assert counts(scenario) == 1


def test_ten_long_lines_fit_into_an_event():
    lines = tuple("\u4e2d" * 300 for _ in range(10))
    result = PollResult(Outcome.FAILED, "agent_1", "error", "\u4e2d" * 3000, last_errors=lines)
    assert len(json.dumps(result.to_event())) < 10 * 1024
    assert len(PollResult.from_event(result.to_event()).last_errors) == 10


@pytest.mark.parametrize("late", [True, False], ids=["a triggerer that is late", "a limit until the end"])
def test_a_trigger_without_a_response_reads_no_log(scenario, late, agent_id):
    began = scenario.warp.time()
    trigger = ConnixAgentStatusTrigger(
        scenario.project_id,
        agent_id,
        target_statuses="stopped",
        poll_state={"last": {"status": "running", "updated_at": None}},
        deadline=began + (-1 if late else 30),
    )
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=60), on="get_agent", times=None)

    async def result() -> dict[str, Any]:
        return (await anext(trigger.run())).payload

    event = asyncio.run(result())
    assert (event["outcome"], event["last_errors"]) == ("timeout", [])
    assert counts(scenario) == 0


@pytest.mark.parametrize(
    ("deadline", "execution_timeout", "seconds"),
    [
        (100.0, None, math.inf),
        (100.0, 60, 4.2),
        (98.0, 60, 2.8),
        (94.0, 60, 0.0),
        (100.0, 600, 382.2),
        (None, 60, 4.2),
    ],
)
def test_a_resumed_task_keeps_to_execution_timeout(scenario, deadline, execution_timeout, seconds):
    limit = None if execution_timeout is None else timedelta(seconds=execution_timeout)
    # The task had 54 s until its deadline.
    known = None if deadline is None else scenario.warp.time() + deadline - 100.0
    assert time_after(known, 54.0, limit) == pytest.approx(seconds, abs=0.01)
