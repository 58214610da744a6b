"""What every request passes, in this order: fault, key, budget, scope, project, the call itself."""

import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator import errors, fault_responses
from connix_provider.emulator.errors import ApiError
from connix_provider.emulator.journal import Entry
from connix_provider.emulator.keys import Caller
from connix_provider.emulator.responses import refused
from connix_provider.emulator.state import EmulatorState
from connix_provider.emulator.validation import check_query, complaints

Handler = Callable[[Request], Awaitable[Response]]


class StrictRequest(Request):
    """Read JSON as RFC 8259 has it: Python's parser also takes NaN and Infinity."""

    async def json(self) -> Any:
        """Parse the body once."""
        if not hasattr(self, "_parsed"):
            body = await self.body()
            try:
                self._parsed: Any = json.loads(body, parse_constant=_no_constant)
            except (RecursionError, ValueError) as problem:
                raise json.JSONDecodeError(str(problem)[:100], "", 0) from None
        return self._parsed


class Route(APIRoute):
    """A call of the service. The function's name is the call's name in faults, journal and limits."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the gate in front of the call."""
        handle = super().get_route_handler()
        call = self.name

        async def guarded(request: Request) -> Response:
            return await _pass(call, StrictRequest(request.scope, request.receive), handle)

        return guarded


def credential(request: Request) -> tuple[str | None, str | None]:
    """
    Return the API key and the bearer token a request carries.

    :param request: the request.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return request.headers.get("X-API-Key"), token.strip() if scheme.lower() == "bearer" else None


async def _pass(call: str, request: Request, handle: Handler) -> Response:
    emulator: EmulatorState = request.state.emulator
    entry: Entry = request.state.entry
    entry.call = call
    entry.project_id = request.path_params.get("project_id")
    entry.agent_id = request.path_params.get("agent_id")
    entry.key = _last_characters(request)
    emulator.journal.add(entry)

    caller, refusal = (None, None) if call == "token" else _identify(emulator, request, call)
    planned = emulator.faults.take(call, entry.agent_id, refused=refusal is not None)
    if planned is not None:
        entry.fault = planned.fault.name
        if not planned.fault.executed:
            return fault_responses.instead(request, planned)

    request.state.fails = entry.fault == "ends_in_error"
    if caller is not None and refusal is None:
        emulator.meter.count(caller.owner, call)
    answer = refused(request, refusal) if refusal else await _handle(emulator, request, caller, handle)
    entry.executed = answer.status_code < 300
    if planned is not None:
        answer = fault_responses.afterwards(request, planned, answer)
    if caller is not None:
        answer.headers.update(emulator.meter.headers(caller.owner, call))
    return answer


def _identify(emulator: EmulatorState, request: Request, call: str) -> tuple[Caller | None, ApiError | None]:
    try:
        caller = emulator.keyring.identify(*credential(request))
    except ApiError as refusal:
        return None, refusal
    return caller, emulator.meter.refusal(caller.owner, call)


async def _handle(
    emulator: EmulatorState, request: Request, caller: Caller | None, handle: Handler
) -> Response:
    try:
        if caller is not None:
            _admit(emulator, request, caller)
            check_query(request)
        return await handle(request)
    except ApiError as refusal:
        return refused(request, refusal)
    except RequestValidationError as error:
        return refused(request, complaints(error))


def _admit(emulator: EmulatorState, request: Request, caller: Caller) -> None:
    project_id = request.path_params.get("project_id")
    asked_for = "agent" if "agent_id" in request.path_params else "project"
    if ("read" if request.method == "GET" else "write") not in caller.scopes:
        raise errors.forbidden(asked_for)
    if project_id is not None:
        if not emulator.service.has_project(project_id):
            raise errors.project_not_found(project_id)
        if caller.projects is not None and project_id not in caller.projects:
            raise errors.forbidden(asked_for)
    request.state.caller = caller


def _last_characters(request: Request) -> str | None:
    key, token = credential(request)
    secret = key or token
    # Of a short secret, four characters could be all of it.
    return secret[-4:] if secret and len(secret) >= 16 else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
