"""
The steps that every request to the service passes: fault, key, rate limit, scope, project, then the call.

A fault that is not executed comes first, as a proxy in front of the service would.
"""

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
from connix_provider.emulator.responses import from_error
from connix_provider.emulator.state import EmulatorState
from connix_provider.emulator.validation import check_query, check_storable, from_framework

Handler = Callable[[Request], Awaitable[Response]]


class _StrictRequest(Request):
    """Read JSON as RFC 8259 has it, because Python's parser also takes NaN and Infinity."""

    async def json(self) -> Any:
        """Parse the body once."""
        if not hasattr(self, "_parsed"):
            body = await self.body()
            try:
                self._parsed: Any = json.loads(body)
                check_storable(self._parsed)
            except (RecursionError, ValueError) as problem:
                raise json.JSONDecodeError(str(problem)[:100], "", 0) from None
        return self._parsed


class ServiceRoute(APIRoute):
    """Route a call of the service. The function's name is the call's name in faults, journal and limits."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the pipeline in front of the call."""
        handle = super().get_route_handler()
        call = self.name

        async def run(request: Request) -> Response:
            return await _run(call, _StrictRequest(request.scope, request.receive), handle)

        return run


async def _run(call: str, request: Request, handle: Handler) -> Response:
    emulator: EmulatorState = request.state.emulator
    entry: Entry = request.state.entry
    entry.call = call
    entry.project_id = request.path_params.get("project_id")
    entry.agent_id = request.path_params.get("agent_id")
    entry.key = _last_characters(request)
    emulator.journal.add(entry)

    caller, error = (None, None) if call == "token" else _identify(emulator, request, call)
    planned = emulator.faults.take(call, entry.agent_id, refused=error is not None)
    if planned is not None:
        entry.fault = planned.fault.name
        if not planned.fault.executed:
            return fault_responses.instead(request, planned)

    request.state.fails = entry.fault == "ends_in_error"
    if caller is not None and error is None:
        emulator.limiter.count(caller.owner, call)
    response = from_error(request, error) if error else await _handle(emulator, request, caller, handle)
    entry.executed = response.status_code < 300
    if planned is not None:
        response = fault_responses.afterwards(request, planned, response)
    if caller is not None:
        response.headers.update(emulator.limiter.headers(caller.owner, call))
    return response


def _identify(emulator: EmulatorState, request: Request, call: str) -> tuple[Caller | None, ApiError | None]:
    try:
        caller = emulator.keyring.identify(*_credentials(request))
    except ApiError as error:
        return None, error
    return caller, emulator.limiter.check(caller.owner, call)


async def _handle(
    emulator: EmulatorState, request: Request, caller: Caller | None, handle: Handler
) -> Response:
    try:
        if caller is not None:
            _check_access(emulator, request, caller)
            check_query(request)
        return await handle(request)
    except ApiError as error:
        return from_error(request, error)
    except RequestValidationError as error:
        return from_error(request, from_framework(error))


def _check_access(emulator: EmulatorState, request: Request, caller: Caller) -> None:
    project_id = request.path_params.get("project_id")
    what = "agent" if "agent_id" in request.path_params else "project"
    if ("read" if request.method == "GET" else "write") not in caller.scopes:
        raise errors.insufficient_permissions(what)
    if project_id is not None:
        if project_id not in emulator.service.projects():
            raise errors.project_not_found(project_id)
        if caller.projects is not None and project_id not in caller.projects:
            raise errors.insufficient_permissions(what)
    request.state.caller = caller


def _credentials(request: Request) -> tuple[str | None, str | None]:
    """Return the API key and the bearer token of a request."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return request.headers.get("X-API-Key"), token.strip() if scheme.lower() == "bearer" else None


def _last_characters(request: Request) -> str | None:
    key, token = _credentials(request)
    secret = key or token
    # Of a short secret, four characters could be all of it.
    return secret[-4:] if secret and len(secret) >= 16 else None
