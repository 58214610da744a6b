"""A refusal of one agent fails that agent alone; a refused key ends the task."""

from __future__ import annotations

import pytest
from in_process import TaskRun

from connix_provider.client.errors import ConnixAuthenticationError, ConnixPermissionError
from connix_provider.emulator import Fault
from connix_provider.operators.apply import ConnixApplyAgentsOperator
from connix_provider.operators.fleet import ConnixFleetOperator

pytestmark = pytest.mark.heavy


@pytest.fixture
def apply(connection, warp):
    def run(spec):
        return TaskRun(warp, ConnixApplyAgentsOperator, spec=spec, owner="team", timeout=600).try_once()

    return run


def spec_of(*names):
    return [{"name": name, "description": "declared", "state": "paused"} for name in names]


@pytest.mark.parametrize("call", ["update_agent", "pause_agent"])
def test_a_403_of_one_agent_stops_no_other(call, apply, emulator):
    first, second = emulator.seed(2, name="agent-{n}")
    emulator.faults.add(Fault.status(403), on=call, times=None, agent_id=first)
    ran = apply(spec_of("agent-1", "agent-2", "agent-3"))
    assert type(ran.error) is ConnixPermissionError
    assert ran.error.agent_id == first
    assert emulator.agent(second)["status"] == "paused"
    assert len(emulator.journal.executed("create_agent")) == 1


@pytest.mark.parametrize(
    ("status", "call", "kind"),
    [
        (401, "update_agent", ConnixAuthenticationError),
        (403, "create_agent", ConnixPermissionError),
        (403, "list_agents", ConnixPermissionError),
    ],
)
def test_a_refused_key_ends_the_task(status, call, kind, apply, emulator):
    emulator.seed(1, name="agent-1", description="declared" if call == "create_agent" else None)
    emulator.faults.add(Fault.status(status), on=call, times=None)
    ran = apply(spec_of("agent-0", "agent-1", "agent-2"))
    assert type(ran.error) is kind
    assert len([entry for entry in emulator.journal.entries(call) if entry.status == status]) <= 2


@pytest.mark.parametrize(
    ("operator", "arguments", "said"),
    [
        (ConnixFleetOperator, {"action": "stop", "agents": {"name": "*"}}, "Could not stop the agents: "),
        (ConnixApplyAgentsOperator, {"spec": [{"name": "a"}]}, "Could not apply the agents: "),
    ],
)
def test_a_refused_listing_is_about_all_agents(operator, arguments, said, connection, warp, emulator):
    emulator.faults.add(Fault.status(403), on="list_agents", times=None)
    ran = TaskRun(warp, operator, remembering=True, timeout=60, **arguments).try_once()
    assert str(ran.error).startswith(said)
