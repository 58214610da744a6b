"""A real scheduler and a real triggerer carry an agent through its life."""

from __future__ import annotations

import pathlib
import re

import pytest
from real_airflow import RealAirflow

from connix_provider.emulator import Durations, Emulator

pytestmark = pytest.mark.slow

DAGS = pathlib.Path(__file__).with_name("dags")
# Long enough that every deferral lasts: see airflow's race with short ones in the DAG's comment.
SLOW = Durations(creating=8, restarting_down=3, restarting_up=5, pausing=3, deleting=6, updating=5)


def test_every_way_of_waiting_with_scheduler_and_triggerer(tmp_path):
    with Emulator(durations=SLOW) as emulator, RealAirflow(tmp_path / "home", DAGS, emulator) as airflow:
        run_id = airflow.run("deferred_life")
        state = airflow.until_ended("deferred_life", run_id)
        assert state == "success", airflow.states("deferred_life", run_id)
        agent_id = airflow.xcom("deferred_life", run_id, "create")
        history = [status for _, status in emulator.history(agent_id)]
        assert history[:2] == ["creating", "running"]
        assert history[2:] == ["stopped", "running", "paused"]
        changed = [entry.call for entry in emulator.journal.executed() if entry.method != "GET"]
        assert changed == ["create_agent", "restart_agent", "pause_agent", "delete_agent"]
        told = airflow.log("deferred_life", run_id, "create")
        agent = f"Agent 'Deferred agent' ({agent_id})"
        assert f"{agent} is creating" in told
        assert "deferring; the triggerer continues the polls" in told
        assert re.search(rf"{re.escape(agent)} is running \(\d+ s waited\)\.", told), told
        assert emulator.api_key not in "".join(path.read_text() for path in tmp_path.rglob("*.log"))
