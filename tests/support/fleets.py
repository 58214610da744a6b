"""Tasks that act on a fleet, and their requests in the journal."""

from __future__ import annotations

import pytest
from in_process import TaskRun

from connix_provider.operators.fleet import ConnixFleetOperator

TEAM = {"name": "team-*"}


@pytest.fixture
def fleet(connection, warp):
    """Make a task that restarts the team."""

    def make(**arguments):
        arguments = {
            "action": "restart",
            "agents": TEAM,
            "timeout": 7200.0,
            "deferrable": False,
            **arguments,
        }
        return TaskRun(warp, ConnixFleetOperator, remembering=True, **arguments)

    return make


def requests(emulator, call):
    """Return the agents of the requests that were executed."""
    return [entry.agent_id for entry in emulator.journal.entries(call) if entry.executed]
