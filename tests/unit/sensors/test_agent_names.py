"""A sensor that is given a name has the endings of one that is given an id, in every mode."""

from __future__ import annotations

import pytest

from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentGoneError, ConnixSensorTimeoutError
from connix_provider.sensors.agent import ConnixAgentStatusSensor

pytestmark = pytest.mark.heavy

MODES = pytest.mark.parametrize(
    "how",
    [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}],
    ids=["poke", "reschedule", "deferred"],
)
NAMED = {"agent_name": "named", "poke_interval": 3, "timeout": 10}


@MODES
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_time_out_names_the_agent(soft_fail, how, emulator, run, warp):
    (agent_id,) = emulator.seed(name="named", status="paused")
    ran = run(ConnixAgentStatusSensor, soft_fail=soft_fail, **how, **NAMED)
    if soft_fail:
        assert ran.state == "skipped", ran.log
    else:
        assert type(ran.error) is ConnixSensorTimeoutError, ran.log
        # The same words in every mode: the last poll is at the deadline.
        assert str(ran.error).startswith(
            f"Agent 'named' ({agent_id}) was not running within the time allowed (10 s): it was last seen "
            "paused at "
        )
        assert ran.error.agent_id == agent_id
        assert ran.error.agent_name == "named"
        assert ran.error.project_id == emulator.project_id
        assert ran.error.status == "paused"


@MODES
@pytest.mark.parametrize("soft_fail", [False, True])
def test_the_lookup_fails_for_good(soft_fail, how, emulator, run, warp):
    emulator.faults.add(Fault.status(503), on="list_agents", times=None)
    ran = run(ConnixAgentStatusSensor, soft_fail=soft_fail, **how, **NAMED)
    if soft_fail:
        assert ran.state == "skipped", ran.log
    else:
        assert type(ran.error) is ConnixSensorTimeoutError, ran.log
        assert "Connix responded 503" in str(ran.error)


@MODES
def test_the_lookup_fails_for_a_while(how, emulator, run, warp):
    emulator.seed(name="named", status="running")
    emulator.faults.add(Fault.status(503), on="list_agents", times=8)
    assert run(ConnixAgentStatusSensor, **how, **{**NAMED, "timeout": 300}).state == "success"


@pytest.mark.parametrize("never_fail", [False, True])
def test_it_is_deleted_between_two_pokes(never_fail, emulator, run, warp, monkeypatch):
    (agent_id,) = emulator.seed(name="named", status="paused")
    emulator.script(agent_id, [(4, None)])
    how = {"mode": "reschedule", "never_fail": never_fail}
    ran = run(ConnixAgentStatusSensor, **how, **{**NAMED, "timeout": 100})
    if never_fail:
        assert ran.state == "skipped", ran.log
    else:
        assert type(ran.error) is ConnixAgentGoneError, ran.log
