"""One measurement: its report, and when it fails the task."""

from __future__ import annotations

import json

import pytest
from in_process import TaskRun

from connix_provider.client.errors import ConnixAuthenticationError, ConnixNotFoundError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentUnhealthyError
from connix_provider.health import HealthPolicy
from connix_provider.operators.health import ConnixCheckAgentHealthOperator

pytestmark = pytest.mark.heavy

BROKEN, UNKNOWN, KEPT = {"max_cpu_usage": 0.1}, {"max_silence": 60}, {"statuses": "running"}


@pytest.fixture
def agent_id(emulator):
    (agent_id,) = emulator.seed(name="checked")
    emulator.set_metrics(agent_id, cpu_usage=0.45)
    return agent_id


@pytest.fixture
def check(connection, warp):
    def run(**arguments):
        return TaskRun(warp, ConnixCheckAgentHealthOperator, **{"timeout": 300, **arguments}).try_once()

    return run


@pytest.mark.parametrize("fail_on", ["unhealthy", "unknown", None])
@pytest.mark.parametrize(
    ("health", "state"), [(BROKEN, "unhealthy"), (UNKNOWN, "unknown"), (KEPT, "healthy")]
)
def test_the_state_decides_with_fail_on(health, state, fail_on, check, agent_id):
    fails = {None: [], "unhealthy": ["unhealthy"], "unknown": ["unhealthy", "unknown"]}[fail_on]
    ran = check(agent_id=agent_id, health=health, fail_on=fail_on)
    if state in fails:
        assert type(ran.error) is ConnixAgentUnhealthyError
        assert str(ran.error).startswith(f"Agent 'checked' ({agent_id}) is ")
        assert ran.error.agent_id == agent_id
        assert ran.error.status == "running"
        advice = "Correct the agent or the limits of health, then clear the task (project "
        assert f"{advice}{ran.error.project_id}, https://" in str(ran.error)
        assert f"/agents/{agent_id})." in str(ran.error)
    else:
        assert ran.error is None
        assert json.loads(json.dumps(ran.result)) == ran.result
        assert ran.result["state"] == state


def test_it_fails_on_an_unhealthy_agent_by_default(check, agent_id):
    ran = check(agent_name="checked", health=HealthPolicy(**BROKEN))
    assert type(ran.error) is ConnixAgentUnhealthyError
    assert "the CPU usage is 0.45, wanted at most 0.1 (max_cpu_usage)" in str(ran.error)
    assert check(agent_name="checked", health=UNKNOWN).result["state"] == "unknown"


def test_a_report_has_all_checks(check, agent_id, emulator):
    ran = check(agent_id=agent_id, health={**BROKEN, **UNKNOWN, **KEPT}, fail_on=None)
    assert [(each["name"], each["state"], each["limit"], each["value"]) for each in ran.result["checks"]] == [
        ("statuses", "healthy", ["running"], "running"),
        ("max_silence", "unknown", 60.0, None),
        ("max_cpu_usage", "unhealthy", 0.1, 0.45),
    ]
    assert [entry.call for entry in emulator.journal.entries()] == ["get_agent", "get_metrics"]


@pytest.mark.parametrize(
    "fault",
    [Fault.status(503), Fault.rate_limited(retry_after=5, hints="header"), Fault.reset_before()],
    ids=["503", "429", "reset"],
)
@pytest.mark.parametrize("call", ["get_agent", "get_metrics"])
def test_a_transient_error_is_retried(fault, call, check, agent_id, emulator):
    emulator.faults.add(fault, on=call, times=2)
    assert check(agent_id=agent_id, health={"max_cpu_usage": 1}).result["state"] == "healthy"


def test_a_refusal_names_the_agent(check, agent_id, emulator):
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_metrics")
    ran = check(agent_id=agent_id, health=BROKEN)
    assert type(ran.error) is ConnixAuthenticationError
    assert str(ran.error).startswith(f"Could not check the health of agent {agent_id}: ")
    ran = check(agent_id="agent_none", health=BROKEN, fail_on=None)
    assert type(ran.error) is ConnixNotFoundError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"health": {}}, "a health policy needs statuses or a limit"),
        ({"fail_on": "never"}, "fail_on must be 'unhealthy', 'unknown' or None"),
        ({"agent_name": "x"}, "exactly one of agent_id and agent_name"),
        ({"timeout": 0}, "timeout must be"),
    ],
)
def test_bad_input_is_refused(arguments, says, check, agent_id, emulator):
    ran = check(**{"agent_id": agent_id, "health": KEPT, **arguments})
    assert type(ran.error) is ValueError
    assert says in str(ran.error)
    assert not emulator.journal.entries()
