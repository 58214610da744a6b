"""The service's error messages for values that break a rule of the reference, and the types of parameters."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator, PlainValidator
from pydantic.json_schema import WithJsonSchema
from starlette.requests import Request

from connix_provider.emulator.clock import micros_of
from connix_provider.emulator.errors import ApiError, Detail, validation_error

#: Levels of lists and objects in a body.
_MAX_DEPTH: Final = 100
# The first two are the reference's own words.
_MESSAGES: Final = {
    "config.temperature": "Temperature must be between 0 and 2",
    "config.max_tokens": "Max tokens must be a positive integer",
    "name": "Name must be a non-empty string of at most 255 characters",
    "description": "Description must be a string",
    "config": "Config must be an object",
    "config.model": "Model must be a string",
    "config.tools": "Tools must be a list of strings",
    "config.system_prompt": "System prompt must be a string",
    "config.environment_variables": "Environment variables must be an object of strings",
    "metadata": "Metadata must be an object",
    "body": "Request body must be a JSON object",
}


def check_storable(value: Any) -> None:
    """
    Check that a value can be shown as JSON again.

    :raises ValueError: it holds something else than JSON, a number that is not finite, or too many levels.
    """
    level, depth = [value], 0
    while level:
        if depth > _MAX_DEPTH:
            raise ValueError(f"it has more than {_MAX_DEPTH} levels")
        level = [child for item in level for child in _children(item)]
        depth += 1
    try:
        json.dumps(value, allow_nan=False)
    except TypeError as problem:
        raise ValueError(str(problem)) from None


def _children(item: Any) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def from_framework(error: RequestValidationError, *, is_control: bool = False) -> ApiError:
    """
    Return the service's error for what FastAPI found: one message for each field.

    :param is_control: whether a control path was requested, and not the service.
    """
    messages: dict[str, str] = {}
    in_body = False
    for found in error.errors():
        place, *path = found["loc"]
        in_body = in_body or place == "body"
        # A number in the path is a position in a list or, for a body that is no JSON, in the text.
        field = ".".join(part for part in path if isinstance(part, str)) or "body"
        while field not in _MESSAGES and "." in field:
            field = field.rpartition(".")[0]
        complaint = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
        messages.setdefault(field, _MESSAGES.get(field, f"{field} {complaint}"))
    details: list[Detail] = [{"field": field, "message": message} for field, message in messages.items()]
    if is_control:
        return validation_error(details, "Invalid control request")
    return validation_error(
        details, "Invalid agent configuration" if in_body else "Invalid request parameters"
    )


def check_query(request: Request) -> None:
    """Refuse a parameter that is given twice, because the reference does not say which of the two counts."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    names = [name for name, _ in request.query_params.multi_items()]
    if twice := sorted({name for name in names if names.count(name) > 1} & known):
        raise validation_error([{"field": name, "message": f"{name} must be given once"} for name in twice])


def _digits(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,30}", value):
        raise ValueError("must be an integer")
    return value


def _micros(value: Any) -> int:
    # A time without an offset is UTC, a date alone is its midnight: ISO 8601 leaves both open.
    text, complaint = str(value).upper(), "must be a time in ISO 8601 format"
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:|\Z)", text):
        raise ValueError(complaint)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(complaint) from None
    return micros_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


Digits: Final = BeforeValidator(_digits)
"""Makes an integer in a query digits only, because Python's own reading also takes ``1_0`` and spaces."""

Instant = Annotated[int, PlainValidator(_micros), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time in a query, as microseconds since the epoch."""
