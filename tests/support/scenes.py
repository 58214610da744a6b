"""Scenes that tests set in the emulator before a task runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connix_provider.emulator import Emulator, Fault

#: Sets the scene and returns arguments for the task.
Prepare = Callable[[Emulator], dict[str, Any] | None]

#: What may pass by itself, and must not end a wait.
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
    """An agent that exists in a status, and what becomes of it by itself."""

    def prepare(emulator: Emulator) -> dict[str, Any]:
        (agent_id,) = emulator.seed(status=status, name="scene")
        if steps:
            emulator.script(agent_id, list(steps))
        return {"agent_id": agent_id, **arguments}

    return prepare


def faulty(fault: Fault, on: str, prepare: Prepare = lambda _: None, **how: Any) -> Prepare:
    """A scene in which Connix misbehaves."""

    def with_fault(emulator: Emulator) -> dict[str, Any] | None:
        arguments = prepare(emulator)
        emulator.faults.add(fault, on=on, **how)
        return arguments

    return with_fault
