"""A sensor's timeout says the same in every mode, and quotes the last error."""

from __future__ import annotations

import pytest
from in_process import TaskRun

from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixSensorTimeoutError
from connix_provider.sensors.agent import ConnixAgentStatusSensor
from connix_provider.sensors.health import ConnixAgentHealthSensor

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]

MODES = pytest.mark.parametrize(
    "how",
    [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}],
    ids=["poke", "reschedule", "deferred"],
)
SENSORS = pytest.mark.parametrize(
    ("make", "goal"),
    [
        (ConnixAgentStatusSensor, {"target_statuses": {"paused"}}),
        (ConnixAgentHealthSensor, {"health": {"max_cpu_usage": 0.5}}),
    ],
    ids=["status", "health"],
)
FAILED = "no recent poll succeeded; the last poll failed: "
MISSING = "the last poll found no agent: "


@pytest.fixture
def timeout_of(connection, warp):
    """Run a sensor, and return the message of its timeout."""

    def run(make, **arguments):
        arguments = {"poke_interval": 10, "timeout": 60, "deferrable": False, **arguments}
        ran = TaskRun(warp, make, remembering=True, **arguments).try_once()
        assert type(ran.error) is ConnixSensorTimeoutError, ran.error
        return str(ran.error)

    return run


@MODES
@SENSORS
def test_a_missing_name_is_quoted(make, goal, how, timeout_of, emulator):
    text = timeout_of(make, agent_name="alpha", silent_fail=True, **goal, **how)
    assert f"{MISSING}project {emulator.project_id} has no agent named 'alpha'. Check the agent's id" in text
    assert "left as it is" not in text
    assert "longer timeout" not in text


@MODES
@SENSORS
def test_a_deleted_agent_is_quoted(make, goal, how, timeout_of, emulator):
    (agent_id,) = emulator.seed(name="alpha")
    emulator.set_metrics(agent_id, cpu_usage=0.9)
    emulator.script(agent_id, [(25, None)])
    text = timeout_of(make, agent_id=agent_id, silent_fail=True, **goal, **how)
    assert f"{MISSING}Connix responded 404 agent_not_found" in text
    assert "Check the agent's id or name" in text


FAULTS = {
    "503": (Fault.status(503), "ConnixServerError: Connix responded 503"),
    "reset": (Fault.reset_before(), "ConnixConnectionError: "),
    "not JSON": (Fault.bad_json(), "ConnixResponseError: "),
}


@MODES
@SENSORS
@pytest.mark.parametrize("silent_fail", [False, True], ids=["", "silent_fail"])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_outage_quotes_the_last_error(fault, silent_fail, make, goal, how, timeout_of, emulator):
    (agent_id,) = emulator.seed(name="alpha")
    emulator.faults.add(FAULTS[fault][0], times=None)
    text = timeout_of(make, agent_id=agent_id, silent_fail=silent_fail, **goal, **how)
    assert f"was not {'paused' if 'target_statuses' in goal else 'healthy'} within the time allowed" in text
    assert f"(60 s): {FAILED}{FAULTS[fault][1]}" in text


@MODES
@SENSORS
def test_a_silenced_refusal_is_quoted_once(make, goal, how, timeout_of, emulator):
    (agent_id,) = emulator.seed(name="alpha")
    emulator.faults.add(Fault.status(401, code="unauthorized"), times=None)
    text = timeout_of(make, agent_id=agent_id, silent_fail=True, **goal, **how)
    assert f"{FAILED}ConnixAuthenticationError: Connix responded 401 unauthorized" in text
    assert text.count("Put a valid key or token into") == 1
    assert text.count("https://") <= 1
