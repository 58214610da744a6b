"""The ASGI app. It holds no state: the server puts the emulator's state into each request's."""

import logging
import re
import secrets
from email.utils import formatdate
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connix_provider.emulator import calls
from connix_provider.emulator.control_routes import control
from connix_provider.emulator.journal import Entry
from connix_provider.emulator.loopback import is_local_host_header
from connix_provider.emulator.oauth import oauth
from connix_provider.emulator.responses import error_response, from_error
from connix_provider.emulator.state import EmulatorState
from connix_provider.emulator.validation import from_framework

_log: Final = logging.getLogger("connix_provider.emulator")
_ECHOED_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")
_NOT_IN_JOURNAL: Final = ("/_emulator/", "/openapi.json", "/docs")


class _Envelope:
    """Check ``Host``, add ``Date`` and ``X-Request-ID`` to each response, and log each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        emulator: EmulatorState = scope["state"]["emulator"]
        sent_id = request.headers.get("X-Request-ID", "")
        request_id = sent_id if _ECHOED_ID.fullmatch(sent_id) else f"req_{secrets.token_hex(8)}"
        entry = Entry(emulator.clock.now(), request.method, request.url.path, request_id)
        scope["state"]["entry"] = entry

        async def send_and_record(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["Date"] = formatdate(emulator.clock.timestamp(), usegmt=True)
                headers["X-Request-ID"] = entry.request_id
            elif not message.get("more_body", False):
                # Before it is sent, because a test may read the journal as soon as it has the response.
                entry.delivered = not scope["state"]["transport"].is_closing()
            await send(message)

        app = self._app if is_local_host_header(request.headers.get("Host")) else _misdirected
        try:
            await app(scope, receive, send_and_record)
        finally:
            if not entry.path.startswith(_NOT_IN_JOURNAL):
                fault = f" fault={entry.fault}" if entry.fault else ""
                _log.info("%s %s %s %s%s", entry.method, entry.path, entry.status, entry.request_id, fault)


def build() -> ASGIApp:
    """Build the app."""
    app = FastAPI(
        title="Connix Agents API (emulator)",
        version="1",
        description="A Connix service on loopback, for tests.",
        redoc_url=None,
        redirect_slashes=False,
    )
    for router in (calls.read, calls.write, oauth, control):
        app.include_router(router)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(RequestValidationError, _invalid_control)
    app.add_exception_handler(Exception, _internal_error)
    # Around the whole app, because middleware would not see the response to an internal error.
    return _Envelope(app)


async def _misdirected(scope: Scope, receive: Receive, send: Send) -> None:
    message = "The emulator serves loopback addresses and localhost; the Host header names another host"
    response = error_response(Request(scope), 421, "misdirected_request", message)
    await response(scope, receive, send)


async def _no_route(request: Request, problem: Exception) -> Response:
    entry: Entry = request.state.entry
    if not entry.path.startswith(_NOT_IN_JOURNAL):
        request.state.emulator.journal.add(entry)
    if isinstance(problem, HTTPException) and problem.status_code == 405:
        # Several routes share a path, but the framework names only the methods of the first.
        routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        allowed = ", ".join(sorted({method for route in routes for method in route.methods}))
        message = f"Method {request.method} is not allowed here"
        return error_response(request, 405, "method_not_allowed", message, {"Allow": allowed})
    return error_response(request, 404, "not_found", f"Path '{entry.path}' not found")


async def _invalid_control(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, RequestValidationError)
    return from_error(request, from_framework(problem, is_control=True))


async def _internal_error(request: Request, problem: Exception) -> Response:
    message = "An unexpected error occurred. Please try again later."
    return error_response(request, 500, "internal_error", message)
