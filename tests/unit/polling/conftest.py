"""Wait for many agents of an emulator in one event loop, on a clock that jumps instead of sleeping."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scenarios import Scenario, open_scenario
from timewarp import Timewarp
from waiting import wait_until_async

from connix_provider.emulator import Clock, Durations, Emulator, Limits
from connix_provider.triggers.agent import ConnixAgentStatusTrigger


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(clock=Clock(frozen=True), durations=Durations()) as running:
        yield running


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    """An emulator without limits, on a clock that jumps, in place of the fixtures below."""
    with (
        Emulator(clock=Clock(frozen=True), limits=Limits.off()) as emulator,
        open_scenario(emulator, monkeypatch) as scenario,
    ):
        yield scenario


@pytest.fixture
def warp(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Timewarp:
    warp = Timewarp(emulator.clock)
    warp.install(monkeypatch)
    return warp


@pytest.fixture
def connection(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define ``connix_default`` for the emulator; call it to change something."""

    def define(**changes: Any) -> None:
        fields = {
            "conn_type": "connix",
            "host": emulator.url,
            "password": emulator.api_key,
            "extra": {"project_id": emulator.project_id},
            **changes,
        }
        monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", json.dumps(fields))

    define()
    return define


@pytest.fixture
def wait(emulator: Emulator, warp: Timewarp, connection: Any) -> Callable[..., Any]:
    """Wait for an agent as a deferred task does, and return the event's payload."""

    async def wait_for(agent_id: str, **arguments: Any) -> dict[str, Any]:
        trigger = ConnixAgentStatusTrigger(
            emulator.project_id, agent_id, **{"poll_interval": 5, "deadline": warp.time() + 600, **arguments}
        )
        (event,) = [event async for event in trigger.run()]
        return dict(event.payload)

    return wait_for


@pytest.fixture
def asked(emulator: Emulator) -> Callable[..., Any]:
    """Wait, in real time, until the service has received so many requests."""

    async def until(count: int) -> None:
        await wait_until_async(f"{count} requests", lambda: len(emulator.journal.entries()) >= count)

    return until
