"""Control paths: what the Python methods do, for tests in another process or language."""

import inspect
from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, ValidationError, validate_call
from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator.errors import ApiError
from connix_provider.emulator.faults import KINDS
from connix_provider.emulator.responses import AsciiJsonResponse, error
from connix_provider.emulator.state import EmulatorState

control = APIRouter(prefix="/_emulator", include_in_schema=False)


class _Plan(BaseModel):
    """When a fault strikes; every other field is the fault's own."""

    model_config = ConfigDict(extra="allow")

    fault: str
    on: str | list[str] | None = None
    times: int | None = 1
    after: int = 0
    agent_id: str | None = None


class _NewStatus(BaseModel):
    status: str
    move_updated_at: bool = True


@control.post("/faults")
async def add_fault(request: Request, plan: _Plan) -> Response:
    """Plan a fault: its name, its options and when it strikes, in one object."""
    kind = KINDS.get(plan.fault)
    if kind is None:
        return _wrong(request, f"fault must be one of {', '.join(KINDS)}")
    options = plan.model_extra or {}
    if unknown := set(options) - set(inspect.signature(kind).parameters):
        return _wrong(request, f"{plan.fault} has no {', '.join(sorted(unknown))}")
    try:
        fault = validate_call(kind)(**options)
        _emulator(request).faults.add(fault, plan.on, plan.times, plan.after, plan.agent_id)
    except (ValidationError, ValueError) as problem:
        return _wrong(request, str(problem))
    return _active(request)


@control.get("/faults")
async def get_faults(request: Request) -> Response:
    """Show what is planned."""
    return _active(request)


@control.delete("/faults")
async def clear_faults(request: Request) -> Response:
    """Forget what is planned."""
    _emulator(request).faults.clear()
    return _active(request)


@control.get("/journal")
async def get_journal(request: Request, call: str | None = None, agent_id: str | None = None) -> Response:
    """Show what was asked."""
    entries = _emulator(request).journal.entries(call, agent_id)
    return AsciiJsonResponse({"entries": [entry.as_json() for entry in entries]})


@control.delete("/journal")
async def clear_journal(request: Request) -> Response:
    """Forget what was asked."""
    _emulator(request).journal.clear()
    return AsciiJsonResponse({"entries": []})


@control.get("/clock")
async def get_clock(request: Request) -> Response:
    """Tell the emulator's time."""
    return _time(request)


@control.post("/clock")
async def advance_clock(
    request: Request, advance: Annotated[float, Body(embed=True, strict=True)]
) -> Response:
    """Move the time forward."""
    try:
        _emulator(request).clock.advance(advance)
    except ValueError as problem:
        return _wrong(request, str(problem))
    return _time(request)


@control.post("/agents/{agent_id}/status")
async def set_status(request: Request, agent_id: str, new: _NewStatus) -> Response:
    """Put an agent into a status at once."""
    emulator = _emulator(request)
    try:
        emulator.controls.set_status(agent_id, new.status, new.move_updated_at)
        return AsciiJsonResponse(emulator.service.get(agent_id))
    except ApiError as refusal:
        return error(request, 404, refusal.code, refusal.message)


def _emulator(request: Request) -> EmulatorState:
    emulator: EmulatorState = request.state.emulator
    return emulator


def _active(request: Request) -> Response:
    return AsciiJsonResponse(
        {"faults": [planned.as_json() for planned in _emulator(request).faults.active()]}
    )


def _time(request: Request) -> Response:
    return AsciiJsonResponse({"now": _emulator(request).clock.now().isoformat()})


def _wrong(request: Request, message: str) -> Response:
    return error(request, 400, "validation_error", message)
