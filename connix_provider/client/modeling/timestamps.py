"""
Read times in the forms that services and databases write.

- ISO 8601 with dashes, as in the reference. Pydantic reads it without a call into this module.
- The same with a space before the offset, or with the name of a zone: ``2026-01-15 10:30:00.123+00``, ``…
  UTC``, ``… +0200 CEST``, ``…+02:00[Europe/Berlin]``.
- Basic ISO 8601: ``20260115``, ``20260115103000``.
- Dates of HTTP and mail: ``Thu, 15 Jan 2026 10:30:00 GMT``.
- Numbers since 1970, if their size leaves one unit possible. From 2001 to 2286 seconds have ten digits, and
  milliseconds, microseconds and nanoseconds have three more each. Any other number may be a revision.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["ISO_PATTERN", "aware", "read_timestamp"]

#: Text that pydantic reads by itself.
ISO_PATTERN = r"^\d{4}-\d\d-\d\d"

#: A space before an offset, and names of zones. ISO 8601 has neither.
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=(?:[+-]\d\d(?::?\d\d)?|Z)$)", re.IGNORECASE)
_UTC_NAME = re.compile(r"\s*\b(?:Etc/)?(?:UTC|GMT)$", re.IGNORECASE)
#: The name of a zone beside its offset.
_ZONE_NAME = re.compile(r"(?<=[\dZ])(?:\[[\w/+-]+\])$|(?<=[+-]\d{4})\s[A-Z]{2,5}$")
_OFFSET = re.compile(r"(?:[+-]\d\d(?::?\d\d)?|Z)$", re.IGNORECASE)
_NUMBER = re.compile(r"\d{10,19}(?:\.\d+)?")
_BASIC_ISO = re.compile(r"((?:19|20)\d{6})(\d{6})?")
_HTTP_DATE = re.compile(
    r"(?:[A-Z][a-z]+,?\s+)?(?:\d{1,2}[\s-])?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[\s-].*\d:\d.*"
)
#: Units in a second, by the digits of a number of them since 1970.
_UNITS_BY_DIGITS = {10: 1, 13: 10**3, 16: 10**6, 19: 10**9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def aware(value: datetime) -> datetime:
    """
    Return an aware time.

    :param value: a time; without a zone it is UTC
    :return: the same time with a zone
    """
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def read_timestamp(value: Any) -> datetime | None:
    """
    Read a time in any of the forms above.

    :param value: the value of the service
    :return: an aware time, or ``None`` if the value is none
    """
    try:
        if isinstance(value, datetime):
            return aware(value)
        if isinstance(value, str):
            return _read_text(value.strip())
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _read_number(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        pass
    return None


def _read_text(text: str) -> datetime | None:
    if digits := _BASIC_ISO.fullmatch(text):
        return aware(datetime.fromisoformat(f"{digits[1]}T{digits[2] or '000000'}"))
    if _NUMBER.fullmatch(text):
        return _read_number(float(text) if "." in text else int(text))
    if _HTTP_DATE.fullmatch(text):
        return aware(parsedate_to_datetime(text))
    plain = _ZONE_NAME.sub("", text)
    if plain != text and not _OFFSET.search(plain):
        return None
    return aware(datetime.fromisoformat(_SPACE_BEFORE_OFFSET.sub("", _UTC_NAME.sub("", plain)).upper()))


def _read_number(number: float) -> datetime | None:
    if not math.isfinite(number):
        return None
    unit = _UNITS_BY_DIGITS.get(len(str(int(number)))) if number > 0 else None
    if unit is None:
        return None
    # In integers, because a float lacks digits for nanoseconds. Truncated, as pydantic truncates ISO 8601.
    seconds, rest = divmod(number, unit)
    microseconds = rest * 10**6 // unit if isinstance(number, int) else round(rest * 10**6 / unit)
    return _EPOCH + timedelta(seconds=seconds, microseconds=microseconds)
