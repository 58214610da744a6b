"""Control paths: the methods that a test in another process or language needs, over HTTP."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, ValidationError, validate_call
from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator.errors import agent_not_found
from connix_provider.emulator.faults import KINDS
from connix_provider.emulator.responses import AsciiJsonResponse, error_response, from_error
from connix_provider.emulator.state import EmulatorState


class _ControlRoute(APIRoute):
    """Read every body as JSON, because ``curl -d`` sends the content type of a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the content type in front of the handler."""
        handle = super().get_route_handler()

        async def run(request: Request) -> Response:
            others = [header for header in request.scope["headers"] if header[0] != b"content-type"]
            headers = [*others, (b"content-type", b"application/json")]
            return await handle(Request({**request.scope, "headers": headers}, request.receive))

        return run


control = APIRouter(prefix="/_emulator", include_in_schema=False, route_class=_ControlRoute)


class _FaultPlan(BaseModel):
    """A fault, the requests that it is planned for and, as further fields, its own options."""

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
async def add_fault(request: Request, plan: _FaultPlan) -> Response:
    """Plan a fault."""
    kind = KINDS.get(plan.fault)
    if kind is None:
        return _bad_request(request, f"fault must be one of {', '.join(KINDS)}")
    options = plan.model_extra or {}
    if unknown := set(options) - set(inspect.signature(kind).parameters):
        return _bad_request(request, f"{plan.fault} has no {', '.join(sorted(unknown))}")
    try:
        fault = validate_call(kind)(**options)
        _emulator(request).faults.add(fault, plan.on, plan.times, plan.after, plan.agent_id)
    except (ValidationError, ValueError) as problem:
        return _bad_request(request, str(problem))
    return _faults(request)


@control.get("/faults")
async def get_faults(request: Request) -> Response:
    """Show the planned faults."""
    return _faults(request)


@control.delete("/faults")
async def clear_faults(request: Request) -> Response:
    """Drop the planned faults."""
    _emulator(request).faults.clear()
    return _faults(request)


@control.get("/journal")
async def get_journal(request: Request, call: str | None = None, agent_id: str | None = None) -> Response:
    """Show the journal."""
    entries = _emulator(request).journal.entries(call, agent_id)
    return AsciiJsonResponse({"entries": [entry.as_json() for entry in entries]})


@control.delete("/journal")
async def clear_journal(request: Request) -> Response:
    """Clear the journal."""
    _emulator(request).journal.clear()
    return AsciiJsonResponse({"entries": []})


@control.get("/clock")
async def get_clock(request: Request) -> Response:
    """Show the emulator's time."""
    return _time(request)


@control.post("/clock")
async def advance_clock(
    request: Request, advance: Annotated[float, Body(embed=True, strict=True)]
) -> Response:
    """Move the time forward."""
    try:
        _emulator(request).clock.advance(advance)
    except ValueError as problem:
        return _bad_request(request, str(problem))
    return _time(request)


@control.post("/agents/{agent_id}/status")
async def set_status(request: Request, agent_id: str, new: _NewStatus) -> Response:
    """Put an agent into a status at once."""
    controls = _emulator(request).controls
    try:
        controls.set_status(agent_id, new.status, new.move_updated_at)
        return AsciiJsonResponse(controls.agent(agent_id))
    except KeyError:
        return from_error(request, agent_not_found(agent_id))


def _emulator(request: Request) -> EmulatorState:
    emulator: EmulatorState = request.state.emulator
    return emulator


def _faults(request: Request) -> Response:
    planned = _emulator(request).faults.active()
    return AsciiJsonResponse({"faults": [fault.as_json() for fault in planned]})


def _time(request: Request) -> Response:
    return AsciiJsonResponse({"now": _emulator(request).clock.now().isoformat()})


def _bad_request(request: Request, message: str) -> Response:
    return error_response(request, 400, "validation_error", message)
