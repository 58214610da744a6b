"""The OAuth2 token endpoint: refresh an access token, RFC 6749 section 6."""

import base64
import binascii
from typing import Any, Final
from urllib.parse import parse_qs, unquote_plus

from fastapi import APIRouter, Depends
from fastapi.security.http import HTTPBase
from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator import schemas
from connix_provider.emulator.keys import TokenError
from connix_provider.emulator.request_pipeline import ServiceRoute
from connix_provider.emulator.responses import AsciiJsonResponse

oauth = APIRouter(route_class=ServiceRoute, generate_unique_id_function=lambda route: route.name)

_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_FORM: Final = {
    "type": "object",
    "required": ["grant_type", "refresh_token"],
    "properties": {
        "grant_type": {"type": "string", "enum": ["refresh_token"]},
        "refresh_token": {"type": "string", "minLength": 1},
        "client_id": {"type": "string"},
        "client_secret": {"type": "string"},
        "scope": {"type": "string"},
    },
}
# For the OpenAPI document alone.
_BASIC: Final = HTTPBase(scheme="basic", scheme_name="Client", auto_error=False)
_REFUSED: Final[dict[str, Any]] = {
    "model": schemas.TokenErrorResponse,
    "description": "The request is refused",
}


@oauth.post(
    "/oauth2/token",
    dependencies=[Depends(_BASIC)],
    response_model=schemas.TokenResponse,
    responses={400: _REFUSED, 401: _REFUSED, "default": {"model": schemas.Error}},
    openapi_extra={"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": _FORM}}}},
)
async def token(request: Request) -> Response:
    """Exchange a refresh token for new tokens."""
    used_basic = "Authorization" in request.headers
    try:
        form = await _form(request)
        client_id, client_secret = _client(request, form)
        refresh_token = _refresh_token(form)
        issued = request.state.emulator.keyring.refresh(
            client_id, client_secret, refresh_token, form.get("scope")
        )
    except TokenError as refusal:
        is_unknown = refusal.error == "invalid_client"
        headers = {"WWW-Authenticate": 'Basic realm="connix"'} if is_unknown and used_basic else {}
        body = {"error": refusal.error, "error_description": refusal.description}
        return AsciiJsonResponse(body, 401 if is_unknown else 400, _NO_STORE | headers)
    body = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "refresh_token": issued.refresh_token,
        "scope": issued.scope,
    }
    return AsciiJsonResponse(body, headers=_NO_STORE)


async def _form(request: Request) -> dict[str, str]:
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise TokenError("invalid_request", "The body must be application/x-www-form-urlencoded")
    # RFC 6749 treats parameters without a value as omitted, and so does parse_qs.
    fields = parse_qs((await request.body()).decode(errors="replace"))
    if twice := sorted(name for name, values in fields.items() if len(values) > 1):
        raise TokenError("invalid_request", f"{twice[0]} must be given once")
    return {name: values[0] for name, values in fields.items()}


def _refresh_token(form: dict[str, str]) -> str:
    if form.get("grant_type", "refresh_token") != "refresh_token":
        raise TokenError("unsupported_grant_type", "Only refresh_token is supported")
    for name in ("grant_type", "refresh_token"):
        if name not in form:
            raise TokenError("invalid_request", f"{name} is missing")
    return form["refresh_token"]


def _client(request: Request, form: dict[str, str]) -> tuple[str | None, str | None]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        return form.get("client_id"), form.get("client_secret")
    if "client_secret" in form:
        raise TokenError("invalid_request", "The client authenticates in two ways")
    try:
        plain = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        plain = ""
    client_id, _, client_secret = plain.partition(":")
    if scheme.lower() != "basic":
        raise TokenError("invalid_client", "The client may authenticate with HTTP Basic or in the body")
    return unquote_plus(client_id), unquote_plus(client_secret)
