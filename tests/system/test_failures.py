"""Tasks that fail under a real scheduler and a real triggerer tell in their logs what to do."""

from __future__ import annotations

import json
import pathlib
from datetime import datetime

import pytest
from real_airflow import RealAirflow

from connix_provider.emulator import Durations, Emulator, Fault

pytestmark = pytest.mark.slow

DAGS = pathlib.Path(__file__).with_name("dags")
#: Seconds that Airflow's ``execution_timeout`` allows in the DAG, and that a slow machine may add.
LIMIT, SLACK = 40.0, 20.0
FORBIDDEN = Fault.status(403, code="insufficient_permissions", message="You may not access this agent")

#: Each task's agent, and what the error in its log says of it, in this order.
SAYS = {
    "wrong_key": (
        "paused",
        ["ConnixAuthenticationError", "Could not start agent", "401 unauthorized", "Put a valid key"],
    ),
    "wrong_host": (
        "paused",
        [
            "ConnixConnectionError",
            "Could not start agent",
            "nothing is listening",
            "Airflow connection 'wrong_host'",
        ],
    ),
    "undefined": ("paused", ["Could not start agent", "isn't defined", "AIRFLOW_CONN_UNDEFINED"]),
    "forbidden": (
        "forbidden",
        ["ConnixPermissionError", "Could not start agent", "403", "Give the key of"],
    ),
    "limited": ("limited", ["ConnixRateLimitError", "Could not start agent", "429", "use up the rate limit"]),
    "slow_start": (
        "slow",
        ["ConnixAgentTimeoutError", "was not running within the time allowed (25 s)", "Set a longer timeout"],
    ),
    "slow_start_deferred": (
        "slow",
        ["ConnixAgentTimeoutError", "was not running within the time allowed (36 s)", "Set a longer timeout"],
    ),
    "error_deferred": (
        "broken",
        ["ConnixAgentFailedError", "failed: it is in error", "Its last error log line"],
    ),
    "poke": (
        "paused",
        ["within the time allowed (20 s)", "last seen paused", "start it, then clear the task"],
    ),
    "reschedule": (
        "paused",
        ["within the time allowed (25 s)", "last seen paused", "start it, then clear the task"],
    ),
    "sensor_deferred": (
        "paused",
        ["within the time allowed (36 s)", "last seen paused", "start it, then clear the task"],
    ),
    "gone_deferred": (
        "leaving",
        ["ConnixAgentGoneError", "does not exist: it was deleted", "Create the agent again"],
    ),
}
#: Tasks whose ``execution_timeout`` is below their ``timeout``.
LIMITED_BY_AIRFLOW = ("slow_start_deferred", "sensor_deferred")


def connections(emulator: Emulator) -> dict[str, str]:
    known = {"conn_type": "connix", "extra": {"project_id": emulator.project_id}}
    return {
        "AIRFLOW_CONN_WRONG_KEY": json.dumps({**known, "host": emulator.url, "password": f"cx_{'0' * 32}"}),
        "AIRFLOW_CONN_WRONG_HOST": json.dumps(
            {**known, "host": "http://127.0.0.1:9", "password": emulator.api_key}
        ),
    }


def seed(emulator: Emulator) -> dict[str, str]:
    """Create an agent for each kind of failure, and plan what happens to it."""
    statuses = {"broken": "running", "leaving": "creating", "slow": "stopped"}
    names = ("paused", "forbidden", "limited", "slow", "broken", "leaving")
    agents = {
        name: emulator.seed(name=name.title(), status=statuses.get(name, "paused"))[0] for name in names
    }
    emulator.faults.add(FORBIDDEN, on="start_agent", times=None, agent_id=agents["forbidden"])
    emulator.faults.add(Fault.rate_limited(retry_after=3), times=None, agent_id=agents["limited"])
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", agent_id=agents["broken"])
    return agents


def test_each_failure_names_agent_reason_and_next_step(tmp_path):
    with (
        Emulator(durations=Durations(starting=3600, restarting_down=8)) as emulator,
        RealAirflow(tmp_path / "home", DAGS, emulator, **connections(emulator)) as airflow,
    ):
        agents = seed(emulator)
        emulator.script(agents["leaving"], [(60, None)])
        run_id = airflow.run("failing", **agents)
        assert airflow.until_ended("failing", run_id) == "failed"
        tasks = {task["task_id"]: task for task in airflow.tasks("failing", run_id)}
        assert {name: task["state"] for name, task in tasks.items()} == dict.fromkeys(SAYS, "failed")
        for name, (agent, words) in SAYS.items():
            told = error_in(airflow.log("failing", run_id, name))
            assert agents[agent] in told, (name, told)
            at = 0
            for part in words:
                assert part in told[at:], (name, told)
                at = told.index(part, at)
        for name in LIMITED_BY_AIRFLOW:
            assert seconds(tasks[name]) < LIMIT + SLACK


def error_in(log: str) -> str:
    """Return class and text of the exception that a task's log shows."""
    for line in log.splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if details := entry.get("error_detail"):
            return f"{details[0]['exc_type']}: {details[0]['exc_value']}"
    raise AssertionError(f"there is no exception in this log:\n{log}")


def seconds(task: dict) -> float:
    began, ended = (datetime.fromisoformat(task[moment]) for moment in ("start_date", "end_date"))
    return (ended - began).total_seconds()
