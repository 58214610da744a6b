"""The app: all calls under one roof. It holds no state; the server hands it the service with each request."""

import logging
import re
import secrets
from email.utils import formatdate
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connix_provider.emulator.calls import api
from connix_provider.emulator.control import control
from connix_provider.emulator.document import document
from connix_provider.emulator.journal import Entry
from connix_provider.emulator.loopback import names_this_machine
from connix_provider.emulator.oauth import oauth
from connix_provider.emulator.responses import error, refused
from connix_provider.emulator.state import EmulatorState
from connix_provider.emulator.validation import complaints

_log: Final = logging.getLogger("connix_provider.emulator")
_ECHOED: Final = re.compile(r"[\x21-\x7e]{1,200}")
_NOT_JOURNALLED: Final = ("/_emulator/", "/openapi.json", "/docs")


class Envelope:
    """
    Put the time and the request's id on every answer, and note in the journal what has gone out.

    :param app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        emulator: EmulatorState = scope["state"]["emulator"]
        entry = _entry(Request(scope), emulator)
        scope["state"]["entry"] = entry

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["Date"] = formatdate(emulator.clock.timestamp(), usegmt=True)
                headers["X-Request-ID"] = entry.request_id
            elif not message.get("more_body", False):
                # Noted before it is sent: a test may look as soon as it has its answer.
                entry.delivered = not scope["state"]["transport"].is_closing()
            await send(message)

        # Nothing is read from such a request: also the control paths, which ask for no key, are closed to it.
        host = Request(scope).headers.get("Host")
        app = self._app if names_this_machine(host) else _not_this_machine
        try:
            await app(scope, receive, sending)
        finally:
            if not entry.path.startswith(_NOT_JOURNALLED):
                struck = f" fault={entry.fault}" if entry.fault else ""
                _log.info("%s %s %s %s%s", entry.method, entry.path, entry.status, entry.request_id, struck)


def build() -> ASGIApp:
    """Build the app."""
    app = FastAPI(
        title="Connix Agents API (emulator)",
        version="1",
        description="A Connix service on loopback, for tests.",
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(api)
    app.include_router(oauth)
    app.include_router(control)
    app.add_exception_handler(HTTPException, _no_such_thing)
    app.add_exception_handler(RequestValidationError, _bad_control)
    app.add_exception_handler(Exception, _broken)

    def openapi() -> dict[str, Any]:
        app.openapi_schema = app.openapi_schema or document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    # Around the whole app and not among its middleware: what the framework answers to a crash is inside too.
    return Envelope(app)


def _entry(request: Request, emulator: EmulatorState) -> Entry:
    sent = request.headers.get("X-Request-ID", "")
    request_id = sent if _ECHOED.fullmatch(sent) else f"req_{secrets.token_hex(8)}"
    return Entry(emulator.clock.now(), request.method, request.url.path, request_id)


async def _not_this_machine(scope: Scope, receive: Receive, send: Send) -> None:
    message = "The emulator serves loopback addresses and localhost; the Host header names another host"
    answer = error(Request(scope), 421, "misdirected_request", message)
    await answer(scope, receive, send)


async def _no_such_thing(request: Request, problem: Exception) -> Response:
    entry: Entry = request.state.entry
    if not entry.path.startswith(_NOT_JOURNALLED):
        request.state.emulator.journal.add(entry)
    if isinstance(problem, HTTPException) and problem.status_code == 405:
        # The framework names only the first route's methods, where several share a path.
        matching = [
            route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE
        ]
        allowed = sorted({method for route in matching for method in route.methods})
        message = f"Method {request.method} is not allowed here"
        return error(request, 405, "method_not_allowed", message, {"Allow": ", ".join(allowed)})
    return error(request, 404, "not_found", f"Path '{entry.path}' not found")


async def _bad_control(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, RequestValidationError)
    return refused(request, complaints(problem))


async def _broken(request: Request, problem: Exception) -> Response:
    message = "An unexpected error occurred. Please try again later."
    return error(request, 500, "internal_error", message)
