"""The numbers of healthy agents are the same in every mode, in results and in messages."""

from __future__ import annotations

import pytest
from in_process import TaskRun

from connix_provider.client.errors import ConnixAuthenticationError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentGoneError
from connix_provider.sensors.health import ConnixAgentHealthSensor

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]

MODES = pytest.mark.parametrize(
    "how",
    [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}],
    ids=["poke", "reschedule", "deferred"],
)
#: What the third of three agents shows when two are healthy.
THIRD = {
    "healthy": (None, {"healthy": 3, "not_healthy": 0, "not_measured": 0}),
    "in error": ("error", {"healthy": 2, "not_healthy": 1, "not_measured": 0}),
    "503": (Fault.status(503), {"healthy": 2, "not_healthy": 0, "not_measured": 1}),
    "403": (
        Fault.status(403, code="insufficient_permissions"),
        {"healthy": 2, "not_healthy": 0, "not_measured": 1},
    ),
}


@pytest.fixture
def sense(connection, warp):
    """Run a sensor of the agents ``team-*`` to its end."""

    def run(**arguments):
        common = {"agents": {"name": "team-*"}, "poke_interval": 10, "timeout": 60, "deferrable": False}
        arguments = {"health": {"statuses": "running", "max_cpu_usage": 1.0}, **common, **arguments}
        return TaskRun(warp, ConnixAgentHealthSensor, remembering=True, **arguments).try_once()

    return run


@MODES
@pytest.mark.parametrize("third", THIRD)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_each_agent_is_measured_before_success(position, third, how, sense, emulator):
    agents = emulator.seed(3, name="team-{n}")
    for agent_id in agents:
        emulator.set_metrics(agent_id)
    shows, expected = THIRD[third]
    if isinstance(shows, str):
        emulator.set_status(agents[position], shows)
    elif shows is not None:
        emulator.faults.add(shows, on="get_metrics", agent_id=agents[position], times=None)
    ran = sense(at_least=2, **how)
    if third == "403" and ran.error is not None:
        # It ends the wait if it comes before the two healthy agents.
        assert "403" in str(ran.error)
        return
    lists = {"not_healthy": [], "not_measured": []}
    lists |= {name: [agents[position]] for name in lists if expected[name]}
    assert (ran.error, ran.result) == (None, {"agents": 3, "healthy": expected["healthy"], **lists})


@MODES
@pytest.mark.parametrize("at_least", [2, "34%"])
def test_a_loss_counts_each_healthy_agent(at_least, how, sense, emulator):
    agents = emulator.seed(3, name="team-{n}")
    for agent_id in agents[:2]:
        emulator.set_status(agent_id, "stopped")
        emulator.script(agent_id, [(15, None)])
    ran = sense(at_least=at_least, health={"statuses": "running"}, **how)
    assert isinstance(ran.error, ConnixAgentGoneError)
    assert "1 of 3 agents are healthy, wanted 2; 2 cannot become healthy anymore" in str(ran.error)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_refused_key_sends_no_further_polls(mode, sense, emulator):
    emulator.seed(3, name="team-{n}")
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_agent", times=None)
    ran = sense(at_least=1, health={"statuses": "running"}, mode=mode)
    assert isinstance(ran.error, ConnixAuthenticationError)
    assert len(emulator.journal.entries("get_agent")) == 1


@MODES
def test_a_success_costs_one_poll_an_agent(how, sense, emulator):
    emulator.seed(30, name="team-{n}")
    ran = sense(at_least=1, health={"statuses": "running"}, **how)
    assert ran.result == {"agents": 30, "healthy": 30, "not_healthy": [], "not_measured": []}
    assert len(emulator.journal.entries("get_agent")) <= 30
