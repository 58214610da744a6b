"""What the service says of values that break the reference's rules."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator, PlainValidator
from pydantic.json_schema import WithJsonSchema
from starlette.requests import Request

from connix_provider.emulator.clock import micros_of
from connix_provider.emulator.errors import ApiError, Detail, invalid

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


def complaints(error: RequestValidationError) -> ApiError:
    """
    Turn what the framework found into the service's refusal: one message for each field.

    :param error: all that was found.
    """
    messages: dict[str, str] = {}
    in_body = False
    for found in error.errors():
        place, *path = found["loc"]
        in_body = in_body or place == "body"
        # A number in the path is a place in a list or, for a body that is no JSON, in the text.
        field = ".".join(part for part in path if isinstance(part, str)) or "body"
        while field not in _MESSAGES and "." in field:
            field = field.rpartition(".")[0]
        found_there = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
        messages.setdefault(field, _MESSAGES.get(field, f"{field} {found_there}"))
    details: list[Detail] = [{"field": field, "message": message} for field, message in messages.items()]
    return invalid(details, "Invalid agent configuration" if in_body else "Invalid request parameters")


def check_query(request: Request) -> None:
    """
    Refuse a parameter that is given twice: which one counts would be anybody's guess.

    :param request: the request.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    twice = sorted({name for name in names if names.count(name) > 1} & _known(request))
    if twice:
        raise invalid([{"field": name, "message": f"{name} must be given once"} for name in twice])


def _known(request: Request) -> set[str]:
    return {field.alias for field in request.scope["route"].dependant.query_params}


def _digits(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,30}", value):
        raise ValueError("must be an integer")
    return value


def _moment(value: Any) -> int:
    # An offset that stands for UTC is assumed where there is none, as ISO 8601 leaves it open.
    # A date alone is its first moment.
    text, complaint = str(value).upper(), "must be a time in ISO 8601 format"
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:|\Z)", text):
        raise ValueError(complaint)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # Python's own words are not the service's.
        raise ValueError(complaint) from None
    return micros_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


Digits: Final = BeforeValidator(_digits)
"""Lets an integer in a query be digits only, with none of the freedoms Python allows."""

Instant = Annotated[int, PlainValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time in a query, as microseconds since the epoch."""
