"""The last poll is sent at the deadline, and its response may come later, in every mode."""

from __future__ import annotations

import pytest

from connix_provider.emulator import Emulator, Fault
from connix_provider.operators.agent import ConnixStopAgentOperator
from connix_provider.sensors.agent import ConnixAgentStatusSensor
from connix_provider.sensors.health import ConnixAgentHealthSensor

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("kind", [ConnixAgentStatusSensor, ConnixAgentHealthSensor])
def test_a_sensors_last_response_may_be_late(kind, monkeypatch):
    # In real time, because a clock that stands still during a request hides how much of it is left.
    with Emulator() as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", emulator.airflow_connection)
        (agent_id,) = emulator.seed(status="paused")
        emulator.script(agent_id, [(1.0, "running")])
        emulator.faults.add(Fault.slow_body(0.4), on="get_agent", times=None)
        more = {"health": {"statuses": "running"}} if kind is ConnixAgentHealthSensor else {}
        sensor = kind(
            task_id="task", agent_id=agent_id, poke_interval=60, timeout=1.5, deferrable=False, **more
        )
        assert sensor.execute({}) == agent_id


def test_an_operators_last_response_may_be_late(monkeypatch):
    with Emulator() as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", emulator.airflow_connection)
        (agent_id,) = emulator.seed()
        emulator.faults.add(Fault.slow_body(0.4), on="get_agent", after=1, times=None)
        stop = ConnixStopAgentOperator(
            task_id="task", agent_id=agent_id, poll_interval=60, timeout=2.5, deferrable=False
        )
        assert stop.execute({}) == agent_id
