"""What the OpenAPI document says beyond what the calls' signatures say."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from connix_provider.emulator import schemas

_REFUSALS: Final[dict[int, tuple[str, type[schemas.Answer]]]] = {
    400: ("A value breaks a rule", schemas.Invalid),
    401: ("No valid key and no valid token", schemas.Error),
    403: ("The key may not do this", schemas.Error),
    404: ("No such project or agent", schemas.Error),
    409: ("The present state does not allow this", schemas.Error),
    429: ("Over the limit", schemas.TooMany),
    500: ("A fault of the service", schemas.Error),
}

_INTEGER: Final = {"type": "integer", "minimum": 0}
_STRING: Final = {"type": "string"}


def _header(description: str, schema: dict[str, Any], required: bool = False) -> dict[str, Any]:
    return {"description": description, "schema": schema, "required": required}


_COMMON: Final = {
    "Date": _header("The service's time: what X-RateLimit-Reset is to be compared with", _STRING, True),
    "X-Request-ID": _header("The request's own, or one made up", _STRING, True),
}
_BUDGET: Final = {
    "X-RateLimit-Limit": _header("Requests in a window", _INTEGER),
    "X-RateLimit-Remaining": _header("Requests left in this one", _INTEGER),
    "X-RateLimit-Reset": _header("Epoch second at which it ends", _INTEGER),
}
_KEY_BUDGET: Final = {
    f"{name}-Requests": _header(f"The same for all calls of the key: {header['description']}", _INTEGER)
    for name, header in _BUDGET.items()
}
_SPECIAL: Final = {
    401: {"WWW-Authenticate": _header("How to authenticate", _STRING, True)},
    429: {"Retry-After": _header("Seconds to wait", {"type": "integer", "minimum": 1}, True)},
}


def described(summary: str, success: int, model: type[schemas.Answer], *refusals: int) -> dict[str, Any]:
    """
    Describe a call to the framework.

    :param summary: a few words.
    :param success: the status when all is well.
    :param model: the answer's shape then.
    :param refusals: the statuses it can refuse with; 500 is added.
    """
    responses: dict[int, dict[str, Any]] = {
        success: {"model": model, "description": "Done", "headers": _COMMON | _BUDGET | _KEY_BUDGET}
    }
    for status in (*refusals, 500):
        description, shape = _REFUSALS[status]
        known = {} if status in {401, 500} else _BUDGET | _KEY_BUDGET
        headers = _COMMON | known | _SPECIAL.get(status, {})
        responses[status] = {"model": shape, "description": description, "headers": headers}
    return {"summary": summary, "status_code": success, "responses": responses}


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

TOKEN: Final[dict[str, Any]] = {
    "summary": "Refresh an access token",
    "responses": {
        200: {"model": schemas.TokenIssued, "description": "New tokens", "headers": _COMMON},
        400: {"model": schemas.TokenError, "description": "Refused", "headers": _COMMON},
        401: {"model": schemas.TokenError, "description": "Unknown client", "headers": _COMMON},
        500: {"model": schemas.Error, "description": _REFUSALS[500][0], "headers": _COMMON},
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": _FORM}},
        },
        "security": [{"Client": []}, {}],
    },
}


_SECURITY_SCHEMES: Final = {
    "Key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "OAuth2": {
        "type": "oauth2",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": "https://console.connix.io/oauth2/authorize",
                "tokenUrl": "/oauth2/token",
                "refreshUrl": "/oauth2/token",
                "scopes": {"read": "GET", "write": "Everything else"},
            }
        },
    },
    "Client": {"type": "http", "scheme": "basic"},
}


def document(app: FastAPI) -> dict[str, Any]:
    """
    Return the OpenAPI document of an app.

    :param app: the app, with its calls.
    """
    whole = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    whole["components"]["securitySchemes"] = _SECURITY_SCHEMES
    for methods in whole["paths"].values():
        for method, operation in methods.items():
            needs = "read" if method == "get" else "write"
            operation.setdefault("security", [{"Key": []}, {"OAuth2": [needs]}])
            # The framework's own refusal, which this service words as a 400.
            operation["responses"].pop("422", None)
            for parameter in operation.get("parameters", []):
                _without_null(parameter["schema"])
    for unused in ("HTTPValidationError", "ValidationError"):
        del whole["components"]["schemas"][unused]
    return whole


def _without_null(schema: dict[str, Any]) -> None:
    # A parameter can be left out, but a URL has no way to say null.
    choices = [choice for choice in schema.pop("anyOf", []) if choice != {"type": "null"}]
    for choice in choices:
        schema.update(choice)
