"""An error of an export names the agent by name and id, as far as the task knows both."""

from __future__ import annotations

from datetime import timedelta

import pytest
from in_process import TaskRun

from connix_provider.client.errors import ConnixNotFoundError
from connix_provider.emulator import Fault
from connix_provider.operators.export import ConnixExportAgentLogsOperator, ConnixExportAgentMetricsOperator

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("operator", [ConnixExportAgentLogsOperator, ConnixExportAgentMetricsOperator])
@pytest.mark.parametrize("by", ["agents", "agent_name", "agent_id"])
@pytest.mark.parametrize("call", ["get_agent", "export"])
def test_a_deleted_agent_is_named(call, by, operator, connection, warp, emulator, tmp_path):
    (agent_id,) = emulator.seed(name="alpha")
    now = emulator.clock.now()
    call = call if call == "get_agent" else f"get_{operator.exported.split()[-1]}"
    gone = Fault.status(404, code="agent_not_found")
    emulator.faults.add(gone, on="get_logs" if call == "get_lines" else call, times=None)
    ran = TaskRun(
        warp,
        operator,
        timeout=60,
        path=str(tmp_path / "rows.jsonl"),
        start_time=(now - timedelta(hours=1)).isoformat(),
        end_time=now.isoformat(),
        **{by: {"agents": {"name": "*"}, "agent_name": "alpha", "agent_id": agent_id}[by]},
    ).try_once()
    assert isinstance(ran.error, ConnixNotFoundError)
    is_known = by != "agent_id" or call != "get_agent"
    named = f"agent 'alpha' ({agent_id}): " if is_known else f"agent {agent_id}: "
    assert named in str(ran.error)
    assert (ran.error.agent_id, ran.error.agent_name) == (agent_id, "alpha" if is_known else None)
