"""The OAuth2 token endpoint: RFC 6749 section 6, refreshing an access token."""

import base64
import binascii
from typing import Final
from urllib.parse import parse_qs, unquote_plus

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator.document import TOKEN
from connix_provider.emulator.keys import TokenError
from connix_provider.emulator.request_pipeline import Route
from connix_provider.emulator.responses import AsciiJsonResponse

oauth = APIRouter(route_class=Route, generate_unique_id_function=lambda route: route.name)

_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@oauth.post("/oauth2/token", **TOKEN)
async def token(request: Request) -> Response:
    """Exchange a refresh token for new tokens."""
    basic = request.headers.get("Authorization") is not None
    try:
        form = await _form(request)
        client_id, client_secret = _client(request, form)
        refresh_token = _refresh_token(form)
        issued = request.state.emulator.keyring.refresh(
            client_id, client_secret, refresh_token, form.get("scope")
        )
    except TokenError as refusal:
        unknown = refusal.error == "invalid_client"
        headers = {"WWW-Authenticate": 'Basic realm="connix"'} if unknown and basic else {}
        body = {"error": refusal.error, "error_description": refusal.description}
        return AsciiJsonResponse(body, 401 if unknown else 400, _NO_STORE | headers)
    answer = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "refresh_token": issued.refresh_token,
        "scope": issued.scope,
    }
    return AsciiJsonResponse(answer, headers=_NO_STORE)


async def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise TokenError("invalid_request", "The body must be application/x-www-form-urlencoded")
    # Parameters without a value count as omitted, which is what parse_qs does with them.
    fields = parse_qs((await request.body()).decode(errors="replace"))
    if twice := sorted(name for name, values in fields.items() if len(values) > 1):
        raise TokenError("invalid_request", f"{twice[0]} must be given once")
    return {name: values[0] for name, values in fields.items()}


def _refresh_token(form: dict[str, str]) -> str:
    for name in ("grant_type", "refresh_token"):
        if name not in form:
            raise TokenError("invalid_request", f"{name} is missing")
    if form["grant_type"] != "refresh_token":
        raise TokenError("unsupported_grant_type", "Only refresh_token is supported")
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
