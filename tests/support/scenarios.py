"""What an emulator holds and does before a task runs, and how a test reads its state afterwards."""

from __future__ import annotations

import dataclasses
import http.client
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from in_process import TaskRun
from timewarp import Timewarp

from connix_provider.emulator import Emulator, Fault
from connix_provider.sensors.agent import ConnixAgentStatusSensor

#: The parameters of a create.
CREATE: dict[str, Any] = {"name": "alpha", "config": {"model": "gpt-4", "temperature": 0.3}}
#: A refusal that ends a task at once.
FORBIDDEN = Fault.status(403, code="insufficient_permissions", message="no")
#: Seconds between two cases: whatever a case has planned, used up or been told to wait for is over then.
_APART = 7200.0


@dataclasses.dataclass(frozen=True)
class Scenario:
    """
    One test case and its project in a shared emulator.

    :param emulator: shared, with an empty journal and no faults
    :param warp: its clock, which the provider lives by too
    :param project_id: an empty project
    :param monkeypatch: undone when the case is over
    """

    emulator: Emulator
    warp: Timewarp
    project_id: str
    monkeypatch: pytest.MonkeyPatch

    def connect(self) -> None:
        """
        Define ``connix_default``.

        It is the same for all cases, and names no project: Airflow remembers every secret that it ever
        masked, and takes a connection's whole extra for one.
        """
        connection = {
            "conn_type": "connix",
            "host": self.emulator.url,
            "password": self.emulator.api_key,
        }
        self.monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", json.dumps(connection))

    def agents(self) -> list[dict[str, Any]]:
        """Ask for the agents there are, past all faults and without leaving a trace in the journal."""
        kept, planned = self.emulator.journal.entries(), self.emulator.faults.active()
        self.emulator.faults.clear()
        url = urlsplit(f"{self.emulator.url}/projects/{self.project_id}/agents?limit=100")
        with closing(http.client.HTTPConnection(str(url.hostname), url.port)) as connection:
            connection.request("GET", f"{url.path}?{url.query}", headers={"X-API-Key": self.emulator.api_key})
            page = json.load(connection.getresponse())
        self.emulator.journal.clear()
        for entry in kept:
            self.emulator.journal.add(entry)
        for fault in planned:
            self.emulator.faults.add(**vars(fault))
        found: list[dict[str, Any]] = page["agents"]
        return found

    def seed(self, status: str = "running", **fields: Any) -> str:
        """Seed one agent, a minute before the task."""
        (agent_id,) = self.emulator.seed(status=status, project_id=self.project_id, **fields)
        self.emulator.clock.advance(60)
        return agent_id

    def task(self, operator: Callable[..., Any], **arguments: Any) -> TaskRun:
        """Return a run of one task of the scenario's project."""
        return TaskRun(self.warp, operator, **{"project_id": self.project_id, **arguments})

    def sensor(self, mode: str, **arguments: Any) -> TaskRun:
        """Return a run of a status sensor in ``poke``, ``reschedule`` or ``deferred`` mode."""
        how = {"deferrable": True} if mode == "deferred" else {"mode": mode, "deferrable": False}
        return self.task(ConnixAgentStatusSensor, **how, **arguments)

    def executed(self, call: str) -> int:
        """Count how often the service has carried a call out."""
        return len(self.emulator.journal.executed(call))


@contextmanager
def open_scenario(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    """
    Set up a case.

    :param emulator: the shared emulator, on a frozen clock
    :param monkeypatch: undone by the caller when the case is over
    """
    emulator.faults.clear()
    emulator.journal.clear()
    emulator.clock.advance(_APART)
    warp = Timewarp(emulator.clock)
    warp.install(monkeypatch)
    # Thousands of lines about requests that the journal holds anyway.
    monkeypatch.setattr(logging.getLogger("connix_provider.emulator"), "disabled", True)
    scenario = Scenario(emulator, warp, emulator.add_project(), monkeypatch)
    scenario.connect()
    yield scenario
    emulator.faults.clear()


#: Prepares an emulator and returns arguments for the task.
Prepare = Callable[[Emulator], dict[str, Any] | None]

#: Transient errors, which must not end a wait.
PASSING = {
    "503": Fault.status(503),
    "502 in HTML": Fault.html_502(),
    "429 without a hint": Fault.rate_limited(hints="none"),
    "429": Fault.rate_limited(retry_after=20, hints="header"),
    "reset": Fault.reset_before(),
    "reset after": Fault.reset_after(),
    "cut": Fault.cut_body(),
    "not JSON": Fault.bad_json(),
}


def agent(status: str, *steps: tuple[float, str], **arguments: Any) -> Prepare:
    """Prepare an agent in a status, and the statuses that it takes later without a request."""

    def prepare(emulator: Emulator) -> dict[str, Any]:
        (agent_id,) = emulator.seed(status=status, name="scenario")
        if steps:
            emulator.script(agent_id, list(steps))
        return {"agent_id": agent_id, **arguments}

    return prepare


def faulty(fault: Fault, on: str, prepare: Prepare = lambda _: None, **how: Any) -> Prepare:
    """Prepare a fault after the rest."""

    def with_fault(emulator: Emulator) -> dict[str, Any] | None:
        arguments = prepare(emulator)
        emulator.faults.add(fault, on=on, **how)
        return arguments

    return with_fault
