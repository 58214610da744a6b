"""
Read times in the forms that services and databases write.

ISO 8601 with dashes, as the reference shows it, is read by pydantic without a call into this module. A number
is a time only where its size leaves one unit possible: seconds have ten digits from 2001 to 2286, and
milliseconds, microseconds and nanoseconds of the same years have three digits more each. A smaller number may
be a revision.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["USUAL", "aware", "read_moment"]

#: What pydantic reads by itself. Without the pattern it would take any number for a time.
USUAL = r"^\d{4}-\d\d-\d\d"

#: The space before an offset, and names of the zone, which ISO 8601 has not.
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=(?:[+-]\d\d(?::?\d\d)?|Z)$)", re.IGNORECASE)
_NAME_OF_UTC = re.compile(r"\s*\b(?:Etc/)?(?:UTC|GMT)$", re.IGNORECASE)
#: A name beside an offset repeats it: ``+0200 CEST``, ``+02:00[Europe/Berlin]``.
_NAME_BESIDE_OFFSET = re.compile(r"(?<=[\dZ])(?:\[[\w/+-]+\])$|(?<=[+-]\d{4})\s[A-Z]{2,5}$")
_OFFSET = re.compile(r"(?:[+-]\d\d(?::?\d\d)?|Z)$", re.IGNORECASE)
_NUMBER = re.compile(r"\d{10,19}(?:\.\d+)?")
_DIGITS_OF_A_DATE = re.compile(r"((?:19|20)\d{6})(\d{6})?")
_DATE_IN_WORDS = re.compile(
    r"(?:[A-Z][a-z]+,?\s+)?(?:\d{1,2}[\s-])?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[\s-].*\d:\d.*"
)
#: Units in a second, by the digits that a time of these centuries has in them.
_UNITS = {10: 1, 13: 10**3, 16: 10**6, 19: 10**9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def aware(value: datetime) -> datetime:
    """
    Complete a time by its zone.

    :param value: a time
    :return: the same, in UTC where it has no zone
    """
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def read_moment(value: Any) -> datetime | None:
    """
    Read a time in any of these forms.

    :param value: what the service sent
    :return: an aware time, or ``None`` for what is no time
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
    if digits := _DIGITS_OF_A_DATE.fullmatch(text):
        return aware(datetime.fromisoformat(f"{digits[1]}T{digits[2] or '000000'}"))
    if _NUMBER.fullmatch(text):
        return _read_number(float(text) if "." in text else int(text))
    if _DATE_IN_WORDS.fullmatch(text):
        return aware(parsedate_to_datetime(text))
    plain = _NAME_BESIDE_OFFSET.sub("", text)
    if plain != text and not _OFFSET.search(plain):
        return None
    return aware(datetime.fromisoformat(_SPACE_BEFORE_OFFSET.sub("", _NAME_OF_UTC.sub("", plain)).upper()))


def _read_number(number: float) -> datetime | None:
    if not math.isfinite(number):
        return None
    unit = _UNITS.get(len(str(int(number)))) if number > 0 else None
    if unit is None:
        return None
    # In whole numbers, because a float has not all digits of a nanosecond. Cut off, as ISO's digits are.
    seconds, rest = divmod(number, unit)
    parts = rest * 10**6 // unit if isinstance(number, int) else round(rest * 10**6 / unit)
    return _EPOCH + timedelta(seconds=seconds, microseconds=parts)
