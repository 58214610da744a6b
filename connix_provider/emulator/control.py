"""Control paths: what the Python methods do, for tests in another process or language."""

import inspect
from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, ValidationError, validate_call
from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator.answers import JsonAnswer, error
from connix_provider.emulator.faults import KINDS
from connix_provider.emulator.refusals import RefusedError
from connix_provider.emulator.service import Service

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
        _service(request).faults.add(fault, plan.on, plan.times, plan.after, plan.agent_id)
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
    _service(request).faults.clear()
    return _active(request)


@control.get("/journal")
async def get_journal(request: Request, call: str | None = None, agent_id: str | None = None) -> Response:
    """Show what was asked."""
    entries = _service(request).journal.entries(call, agent_id)
    return JsonAnswer({"entries": [entry.as_json() for entry in entries]})


@control.delete("/journal")
async def clear_journal(request: Request) -> Response:
    """Forget what was asked."""
    _service(request).journal.clear()
    return JsonAnswer({"entries": []})


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
        _service(request).clock.advance(advance)
    except ValueError as problem:
        return _wrong(request, str(problem))
    return _time(request)


@control.post("/agents/{agent_id}/status")
async def set_status(request: Request, agent_id: str, new: _NewStatus) -> Response:
    """Put an agent into a status at once."""
    service = _service(request)
    try:
        service.hand.set_status(agent_id, new.status, new.move_updated_at)
        return JsonAnswer(service.world.get(agent_id))
    except RefusedError as refusal:
        return error(request, 404, refusal.code, refusal.message)


def _service(request: Request) -> Service:
    service: Service = request.state.service
    return service


def _active(request: Request) -> Response:
    return JsonAnswer({"faults": [planned.as_json() for planned in _service(request).faults.active()]})


def _time(request: Request) -> Response:
    return JsonAnswer({"now": _service(request).clock.now().isoformat()})


def _wrong(request: Request, message: str) -> Response:
    return error(request, 400, "validation_error", message)
