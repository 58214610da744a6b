"""
Check and encode the arguments of calls.

An argument of a wrong type or value is a :class:`ValueError` that names it. Messages quote no value of a
body, because it may be a secret.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from enum import Enum
from typing import Any
from urllib.parse import quote, urlencode

import pendulum

from connix_provider.values import quoted

__all__ = ["body", "check_choice", "check_int", "check_text", "path_segment", "period", "plain", "query"]


def path_segment(value: str, name: str) -> str:
    """
    Quote an id as one segment of a path.

    :raises ValueError: for an empty id, and for ``.`` and ``..``, which would lead to another path
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a non-empty string, not {quoted(value)}")
    if value in {".", ".."}:
        # Quoting does not help, because servers resolve %2E%2E, too.
        raise ValueError(f"{name} must be an id, not the relative path {value!r}")
    return quote(_encodable(value, name), safe="")


def query(**parameters: Any) -> str:
    """
    Encode a query string.

    :param parameters: names and values; parameters that are ``None`` are left out
    :return: the query string without the question mark
    """
    return urlencode({name: value for name, value in parameters.items() if value is not None})


def check_int(value: int | None, name: str, low: int, high: int | None = None) -> int | None:
    """
    Check an integer.

    :param value: the integer, or ``None``
    :param low: the smallest allowed value
    :param high: the largest allowed value; default no bound
    :raises ValueError: for any other value
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high and value > high):
        bounds = f"from {low} to {high}" if high else f"{low} or more"
        raise ValueError(f"{name} must be a whole number {bounds}, not {quoted(value)}")
    return value


def check_choice(value: str | None, name: str, allowed: tuple[str, ...]) -> str | None:
    """
    Check a text that must be one of several.

    :param value: the text, or ``None``
    :param allowed: the allowed values
    :raises ValueError: for any other value
    """
    if value is not None and value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {quoted(value)}")
    return value


def check_text(value: str | None, name: str) -> str | None:
    """
    Check a text that must not be empty.

    :param value: the text, or ``None``
    :raises ValueError: for any other value
    """
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError(f"{name} must be a non-empty string, not {quoted(value)}")
    return value if value is None else _encodable(value, name)


def _encodable(value: str, name: str) -> str:
    if not _is_unicode(value):
        raise ValueError(f"{name} contains a lone surrogate: {quoted(value)}")
    return value


def period(start: str | datetime | None, end: str | datetime | None) -> dict[str, str | None]:
    """
    Check and encode a period.

    :param start: its start as ISO 8601 text or a datetime; without a zone it is UTC
    :param end: its end, likewise
    :return: the parameters ``start_time`` and ``end_time``
    :raises ValueError: for a value that is no time, and for a start after the end
    """
    since, until = _time(start, "start_time"), _time(end, "end_time")
    if since and until and since > until:
        raise ValueError(f"start_time {start} lies after end_time {end}")
    return {"start_time": _iso(since), "end_time": _iso(until)}


def _time(value: str | datetime | None, name: str) -> datetime | None:
    """Return a time in UTC."""
    if value is None:
        return None
    parsed: Any = value
    try:
        # "now" is pendulum's, not ISO 8601. exact=True, because otherwise a time without a date becomes
        # today's.
        if isinstance(value, str) and value != "now":
            parsed = pendulum.parse(value, exact=True)
            if isinstance(parsed, date) and not isinstance(parsed, datetime):
                parsed = datetime.combine(parsed, time())
        if isinstance(parsed, datetime):
            aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            return aware.astimezone(UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        # pendulum raises each of these, and a time may have no year in UTC.
        pass
    raise ValueError(f"{name} must be ISO 8601 text or a datetime, not {quoted(value)}")


def _iso(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None


def body(value: Mapping[str, Any], name: str) -> bytes:
    """
    Encode a body as JSON.

    :raises ValueError: for a body that is no mapping, or cannot be written as JSON
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping, not {type(value).__name__}")
    try:
        encoded = json.dumps(plain(value), allow_nan=False)
    except RecursionError as error:
        raise ValueError(f"{name} cannot be sent as JSON: {error}") from None
    except (TypeError, ValueError) as error:
        path = ".".join((name, *(_path_to(value, _is_no_json) or ())))
        # The encoder's message names a type or "out of range", never a value.
        raise ValueError(f"{path} cannot be sent as JSON: {error}") from None
    if "\\ud" in encoded and (where := _path_to(value, _has_lone_surrogate)) is not None:
        raise ValueError(f"{'.'.join((name, *where))} contains a lone surrogate, which is not valid Unicode")
    return encoded.encode()


def plain(value: Any) -> Any:
    """
    Convert mappings and sequences to dicts and lists, and enums to their values, at any depth.

    :param value: a value of a body
    :return: the converted value; any other value stays as it is
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {_key(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return [plain(item) for item in value]
    return value


def _key(name: Any) -> Any:
    """Return the name of a field as JSON writes it, because a response is compared with it."""
    if isinstance(name, Enum):
        return _key(name.value)
    return json.dumps(name) if name is None or isinstance(name, bool | int | float) else name


def _path_to(value: Any, is_invalid: Callable[[Any], bool]) -> list[str] | None:
    """Return the path to the first invalid value at any depth; a mapping with an invalid key is invalid."""
    if isinstance(value, Mapping):
        if any(is_invalid(str(name)) for name in value):
            return []
        items = [(str(name), item) for name, item in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        return [] if is_invalid(value) else None
    for step, item in items:
        if (where := _path_to(item, is_invalid)) is not None:
            return [step, *where]
    return None


def _has_lone_surrogate(value: Any) -> bool:
    """Return whether a text is not valid Unicode, which JSON allows and services refuse."""
    return isinstance(value, str) and not _is_unicode(value)


def _is_no_json(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return not isinstance(value, str | int | None)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
