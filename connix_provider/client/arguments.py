"""
Check what a call is given, and write it as it is sent.

Whatever is wrong with an argument, its type or its value, is a :class:`ValueError` that names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import quote, urlencode

import pendulum

__all__ = ["body", "one_of", "period", "plain", "query", "segment", "text", "whole"]


def segment(value: str, name: str) -> str:
    """
    Quote an id as one segment of a path; no id may walk to another path.

    :param value: the id
    :param name: the parameter's name
    :return: the segment
    :raises ValueError: for an empty id, or a step up the path
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a string that is not empty, not {value!r}")
    if value in {".", ".."}:
        # Quoting does not help here: servers read %2E%2E as a step up too.
        raise ValueError(f"{name} must be an id, not the path step {value!r}")
    return quote(_encodable(value, name), safe="")


def query(**parameters: Any) -> str:
    """
    Encode a query string from the parameters that are given.

    :param parameters: names and values; ``None`` is left out
    :return: the query, without the question mark
    """
    return urlencode({name: value for name, value in parameters.items() if value is not None})


def whole(value: int | None, name: str, low: int, high: int | None = None) -> int | None:
    """
    Check a whole number.

    :param value: the number, or ``None``
    :param name: the parameter's name
    :param low: the smallest allowed
    :param high: the largest allowed
    :return: the number
    :raises ValueError: for anything else
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high and value > high):
        bounds = f"from {low} to {high}" if high else f"{low} or more"
        raise ValueError(f"{name} must be a whole number {bounds}, not {value!r}")
    return value


def one_of(value: str | None, name: str, allowed: tuple[str, ...]) -> str | None:
    """
    Check a word against the words there are.

    :param value: the word, or ``None``
    :param name: the parameter's name
    :param allowed: the words
    :return: the word
    :raises ValueError: for any other
    """
    if value is not None and value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def text(value: str | None, name: str) -> str | None:
    """
    Check a text that must not be empty.

    :param value: the text, or ``None``
    :param name: the parameter's name
    :return: the text
    :raises ValueError: for anything else
    """
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError(f"{name} must be a string that is not empty, not {value!r}")
    return value if value is None else _encodable(value, name)


def _encodable(value: str, name: str) -> str:
    if not _is_unicode(value):
        raise ValueError(f"{name} holds half of a character: {value!r}")
    return value


def period(start: str | datetime | None, end: str | datetime | None) -> dict[str, str | None]:
    """
    Check a period, and write it as the service reads it.

    :param start: its start: ISO 8601 text or a datetime; without a zone it is UTC
    :param end: its end
    :return: ``start_time`` and ``end_time``
    :raises ValueError: for what is no time, or a start after the end
    """
    since, until = _time(start, "start_time"), _time(end, "end_time")
    if since and until and since > until:
        raise ValueError(f"start_time {start} lies after end_time {end}")
    return {"start_time": _iso(since), "end_time": _iso(until)}


def _time(value: str | datetime | None, name: str) -> datetime | None:
    """Read a time; without a zone it is UTC, as everywhere in Airflow."""
    if value is None:
        return None
    moment: Any = value
    try:
        # exact: a time without a date is not silently taken for today's. pendulum takes "now", ISO 8601 not.
        if isinstance(value, str) and value != "now":
            moment = pendulum.parse(value, exact=True)
            if isinstance(moment, date) and not isinstance(moment, datetime):
                moment = datetime.combine(moment, time())
        if isinstance(moment, datetime):
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return aware.astimezone(UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        # No time at all, on which pendulum fails in several ways, or one that is in no year of UTC.
        pass
    raise ValueError(f"{name} must be ISO 8601 text or a datetime, not {value!r}")


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None


def body(value: Mapping[str, Any], name: str) -> bytes:
    """
    Encode a body as JSON.

    :param value: the body
    :param name: the parameter's name
    :return: the JSON
    :raises ValueError: for what is not a mapping, or not JSON; no value is quoted
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping, not {type(value).__name__}")
    try:
        encoded = json.dumps(plain(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        # The encoder's own message names a type or "out of range", never a value.
        raise ValueError(f"{name} cannot be sent as JSON: {error}") from None
    if "\\ud" in encoded and (where := _half_a_character(value)) is not None:
        raise ValueError(f"{'.'.join((name, *where))} holds half of a character, which no service can read")
    return encoded.encode()


def plain(value: Any) -> Any:
    """
    Write any mapping or sequence as the dict or list that JSON knows.

    :param value: what a body is made of
    :return: the same in dicts and lists; anything else stays what it is
    """
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return [plain(item) for item in value]
    return value


def _half_a_character(value: Any) -> list[str] | None:
    """Find the text that is no Unicode; JSON would carry it, and the service refuse all of it."""
    if isinstance(value, str):
        return None if _is_unicode(value) else []
    if isinstance(value, Mapping):
        items = [(str(name), item) for name, item in value.items()]
        if not all(_is_unicode(name) for name, _ in items):
            return []
    elif isinstance(value, Sequence):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        return None
    for step, item in items:
        if (where := _half_a_character(item)) is not None:
            return [step, *where]
    return None


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
