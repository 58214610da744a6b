"""What parsing a DAG file costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Modules of users' DAG files, and what a task needs only when it runs.
MODULES = (
    "connix_provider.operators.agent",
    "connix_provider.sensors.agent",
    "connix_provider.triggers.agent",
    "connix_provider.operators.apply",
    "connix_provider.operators.export",
    "connix_provider.operators.fleet",
    "connix_provider.operators.health",
    "connix_provider.sensors.health",
    "connix_provider.triggers.health",
)


def _added(*modules: str, after: str) -> set[str]:
    code = f"import sys, {after}; before = set(sys.modules); import {', '.join(modules)}; "
    code += "print(*set(sys.modules) - before)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.heavy
def test_no_http_client_is_imported_for_them():
    own = _added(*MODULES, after="airflow.triggers.base")
    assert not {"connix_provider.client.client", "connix_provider.client.models"} & own
    assert not [name for name in own if name.partition(".")[0] in {"httpx", "httpcore", "fastapi", "uvicorn"}]


#: Run a trigger in a fresh interpreter, and print what was imported in the thread of its event loop.
_IN_THE_LOOP = """
import asyncio, sys, threading
from airflow.triggers.base import TriggerEvent
import airflow.jobs.triggerer_job_runner
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

class Watch:
    loaded = []

    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread():
            self.loaded.append(name)

async def main():
    trigger = ConnixAgentStatusTrigger(sys.argv[1], sys.argv[2], deadline=2e9)
    sys.meta_path.insert(0, Watch())
    async for event in trigger.run():
        print(event.payload["outcome"])

asyncio.run(main())
print(*Watch.loaded)
"""


@pytest.mark.heavy
def test_triggers_import_nothing_large_in_their_event_loop(emulator, connection):
    (agent_id,) = emulator.seed()
    ran = subprocess.run(
        [sys.executable, "-c", _IN_THE_LOOP, emulator.project_id, agent_id],
        capture_output=True,
        text=True,
        check=True,
    )
    *_, outcome, loaded = ran.stdout.splitlines()
    assert outcome == "done"
    # What Airflow itself imports to read a connection is Airflow's.
    heavy = {"connix_provider", "anyio", "httpx", "httpcore", "pydantic"}
    assert not [name for name in loaded.split() if name.partition(".")[0] in heavy]
