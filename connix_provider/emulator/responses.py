"""Responses as JSON, and the service's one shape of error."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator.clock import iso
from connix_provider.emulator.errors import ApiError


class AsciiJsonResponse(Response):
    """Write JSON in ASCII, because otherwise half a surrogate pair in a request could not be sent back."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def error_response(
    request: Request,
    status: int,
    code: str,
    message: str,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> AsciiJsonResponse:
    """
    Return a response in the service's error shape.

    :param more: further fields of the error object.
    """
    state = request.state
    tail = {"request_id": state.entry.request_id, "timestamp": iso(state.emulator.clock.micros())}
    return AsciiJsonResponse({"error": {"code": code, "message": message, **more, **tail}}, status, headers)


def from_error(request: Request, error: ApiError) -> AsciiJsonResponse:
    """Return the response to a refused request."""
    more: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if error.details is not None:
        more["details"] = error.details
    if error.retry_after is not None:
        more["retry_after"] = error.retry_after
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="connix"'
    return error_response(request, error.status, error.code, error.message, headers, **more)
