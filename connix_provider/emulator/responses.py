"""Answers as bytes, and the service's one shape of error."""

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator.clock import iso
from connix_provider.emulator.errors import ApiError

STATUS_OF: Final = {
    "validation_error": 400,
    "unauthorized": 401,
    "insufficient_permissions": 403,
    "agent_not_found": 404,
    "project_not_found": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "agent_conflict": 409,
    "rate_limit_exceeded": 429,
    "internal_error": 500,
}


class AsciiJsonResponse(Response):
    """Write JSON in ASCII, so that any string a client may have sent can be sent back."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """
        Turn a value into JSON.

        :param content: what ``json`` can write.
        """
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def error(
    request: Request,
    status: int,
    code: str,
    message: str,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> AsciiJsonResponse:
    """
    Answer in the service's error shape.

    :param request: the request that failed.
    :param status: the HTTP status.
    :param code: the error code.
    :param message: the text for people.
    :param headers: more headers.
    :param more: more fields of the error.
    """
    state = request.state
    tail = {"request_id": state.entry.request_id, "timestamp": iso(state.emulator.clock.micros())}
    return AsciiJsonResponse({"error": {"code": code, "message": message, **more, **tail}}, status, headers)


def refused(request: Request, refusal: ApiError) -> AsciiJsonResponse:
    """
    Answer a refusal.

    :param request: the request that is refused.
    :param refusal: why.
    """
    more: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if refusal.details is not None:
        more["details"] = refusal.details
    if refusal.retry_after is not None:
        more["retry_after"] = refusal.retry_after
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.code == "unauthorized":
        headers["WWW-Authenticate"] = 'Bearer realm="connix"'
    return error(request, STATUS_OF[refusal.code], refusal.code, refusal.message, headers, **more)
