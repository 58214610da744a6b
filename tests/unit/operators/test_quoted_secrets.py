"""An error that quotes the secrets of an agent that exists shows none of them."""

from __future__ import annotations

import pytest

from connix_provider.emulator import Fault
from connix_provider.operators.agent import (
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

pytestmark = pytest.mark.heavy

PROMPT, VALUE = "You are the keeper of the seventh gate.", "postgres://user:hunter22@db/prod"
QUOTE = f"refused: {PROMPT} with {VALUE}"
CASES = [
    (ConnixStopAgentOperator, "stop_agent", "running", {}),
    (ConnixPauseAgentOperator, "pause_agent", "running", {}),
    (ConnixStartAgentOperator, "start_agent", "stopped", {}),
    (ConnixRestartAgentOperator, "restart_agent", "running", {}),
    (ConnixUpdateAgentOperator, "update_agent", "running", {"description": "new"}),
    (ConnixAgentStatusSensor, "get_agent", "creating", {"poke_interval": 5}),
]


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(("kind", "call", "status", "arguments"), CASES)
def test_a_quoted_secret_is_hidden(kind, call, status, arguments, deferrable, emulator, run, warp, capfd):
    (agent_id,) = emulator.seed(
        status=status,
        config={"model": "gpt-4", "system_prompt": PROMPT, "environment_variables": {"URL": VALUE}},
    )
    # The agent was read once before.
    after = 2 if call == "get_agent" else 0
    emulator.faults.add(Fault.status(403, message=QUOTE), on=call, times=None, after=after)
    ran = run(kind, agent_id=agent_id, deferrable=deferrable, timeout=60, **arguments)
    assert ran.state == "failed"
    shown = str(ran.error) + "".join(capfd.readouterr())
    assert "refused: ***" in str(ran.error)
    assert PROMPT not in shown
    assert "hunter22" not in shown
