"""A project of its own in an emulator that many cases share, and the truth about it afterwards."""

from __future__ import annotations

import dataclasses
import http.client
import json
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from timewarp import Timewarp

from connix_provider.emulator import Emulator

#: Seconds between two cases: whatever a case has planned, used up or been told to wait for is over then.
_APART = 7200.0


@dataclasses.dataclass(frozen=True)
class Scene:
    """
    Hold the place of one case.

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
            answer = json.load(connection.getresponse())
        self.emulator.journal.clear()
        for entry in kept:
            self.emulator.journal.add(entry)
        for fault in planned:
            self.emulator.faults.add(**vars(fault))
        found: list[dict[str, Any]] = answer["agents"]
        return found

    def executed(self, call: str) -> int:
        """Count how often the service has carried a call out."""
        return len(self.emulator.journal.executed(call))


@contextmanager
def stage(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
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
    scene = Scene(emulator, warp, emulator.add_project(), monkeypatch)
    scene.connect()
    yield scene
    emulator.faults.clear()
