"""Check values of parameters, such as amounts and mappings with known keys, and write values in messages."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

__all__ = [
    "agent_label",
    "amount_of",
    "check_amount",
    "check_flag",
    "check_keys",
    "check_number",
    "did_you_mean",
    "from_mapping",
    "is_missing_value",
    "looks_like_a_key",
    "looks_like_json",
    "nearest",
    "quoted",
]

T = TypeVar("T")

#: Texts that a template writes for a missing value.
_NOTHING = frozenset({"none", "null", "undefined", "nan"})
_JSON = re.compile(r"\s*\[?\s*\{\s*['\"]")
_KEY = re.compile(r"\s*cx_[0-9A-Za-z_]{8,}")
#: Characters of a text that a message quotes.
_LONGEST_QUOTE = 100
#: Texts that Airflow reads as booleans in its configuration.
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
#: What a number of each kind must be, and the highest one. No datetime lies much further than 300 years away.
_KINDS = {
    "rate": ("a number from 0 to 1, where 0.95 stands for 95 %", 1.0),
    "seconds": ("a number of seconds from 0 to 300 years, or a timedelta", 300 * 365 * 86400.0),
    "count": ("a whole number, 0 or more", 1e15),
}


def agent_label(agent_id: str, name: str | None) -> str:
    """Return the words that go after "agent" in a message; ``repr`` escapes control characters in a name."""
    return f"{name!r} ({agent_id})" if name else agent_id


def check_amount(name: str, value: Any) -> int | float:
    """
    Check a number or a percentage, before it is known of what.

    :param value: a whole number such as ``3`` or ``"3"``, or a percentage such as ``"10%"``; 0 or more, and
        at most 100 %
    :return: the number as an ``int``, or the percentage as a ``float`` between 0 and 1
    :raises ValueError: for any other value
    """
    text = value.strip() if isinstance(value, str) else ""
    try:
        if text.endswith("%"):
            part = float(text[:-1])
            if 0 <= part <= 100:
                return part / 100
        elif text or (isinstance(value, int | float) and not isinstance(value, bool)):
            number = float(text or value)
            if number >= 0 and number == int(number):
                return int(number)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"{name} must be a whole number, or a percentage from '0%' to '100%' as text, not {quoted(value)}"
    )


def amount_of(name: str, value: Any, total: int, *, round_up: bool) -> int:
    """
    Read a number, or a percentage of a number.

    :param value: as for :func:`check_amount`
    :param total: what a percentage is of
    :param round_up: whether a fraction counts as one more
    :return: the number; a number that is given may be larger than ``total``
    :raises ValueError: for any other value
    """
    amount = check_amount(name, value)
    if isinstance(amount, int):
        return amount
    # Rounded first, because 0.1 * 30 is a little more than 3.
    exact = round(amount * total, 6)
    # Any part above zero is at least one.
    return max(math.ceil(exact), int(amount * total > 0)) if round_up else math.floor(exact)


def check_number(name: str, value: Any, kind: str) -> float | int:
    """
    Check a rate, a number of seconds or a count.

    :param value: the number, also as text, because templates give text; for seconds also a ``timedelta``
    :param kind: ``rate`` (0 to 1), ``seconds`` (0 or more) or ``count`` (a whole number, 0 or more)
    :return: the number; a count is an ``int``
    :raises ValueError: for any other value
    """
    number: Any = value.total_seconds() if isinstance(value, timedelta) and kind == "seconds" else value
    if isinstance(number, str):
        try:
            number = float(number)
        except ValueError:
            number = None
    wanted, highest = _KINDS[kind]
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if is_number and 0 <= number <= highest and (kind != "count" or number == int(number)):
        return int(number) if kind == "count" else float(number)
    raise ValueError(f"{name} must be {wanted}, not {quoted(value)}")


def check_keys(value: Any, known: Collection[str], what: str) -> dict[str, Any]:
    """
    Check a mapping that stands for an object of this provider.

    :param known: the keys that it may have
    :param what: the object, for messages
    :raises ValueError: for any other value, an unknown key, or a value of ``None``
    """
    if not isinstance(value, Mapping):
        hint = ""
        if isinstance(value, str):
            hint = "; a template gives a mapping with render_template_as_native_obj=True"
        raise ValueError(f"must be {what} or a mapping, not {quoted(value)}{hint}")
    for key, item in value.items():
        if key not in known:
            raise ValueError(f"{quoted(key)} is unknown.{did_you_mean(key, known)}")
        if is_missing_value(item):
            # Otherwise a template that renders to nothing would silently drop a check.
            raise ValueError(f"{key} is {quoted(item)}: leave it out, or correct its template")
    return {str(key): item for key, item in value.items()}


def from_mapping(cls: type[T], value: Any, parameter: str) -> T:
    """
    Return an object of this provider that may be given as a mapping.

    :param cls: a dataclass
    :param value: an instance, or a mapping with the names of its parameters
    :param parameter: the name of the task's parameter, for messages
    :raises ValueError: for any other value, an unknown name, or a value of ``None``
    """
    if isinstance(value, cls):
        return value
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]  # is a dataclass
    article = "an" if cls.__name__.startswith("A") else "a"
    try:
        return cls(**check_keys(value, names, f"{article} {cls.__name__}"))
    except ValueError as error:
        raise ValueError(f"{parameter}: {error}") from None


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """
    Return the known word that is most like a word.

    :param known: the known words
    :param cutoff: how alike they must be, 0 to 1
    :return: the known word, or ``None``
    """
    import difflib  # Not at the top, because most DAG files never need it.

    return next(iter(difflib.get_close_matches(word, sorted(map(str, known)), n=1, cutoff=cutoff)), None)


def did_you_mean(word: Any, known: Collection[str]) -> str:
    """
    Return the hint for a word that is unknown.

    :param known: the known words
    :return: a question with the nearest known word, if one is near, and the list of the known words
    """
    near = nearest(str(word), known)
    meant = f" Did you mean {near!r}?" if near else ""
    return f"{meant} Known: {', '.join(sorted(known))}"


def check_flag(name: str, value: Any) -> bool:
    """
    Read a boolean as Airflow reads its own settings.

    :param value: a boolean, or ``true``, ``t``, ``yes``, ``y``, ``on``, ``1``, ``false``, ``f``, ``no``,
        ``n``, ``off``, ``0`` as text
    :raises ValueError: for any other value, because Python takes any text for true
    """
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{name} must be true or false, not {quoted(value)}")


def looks_like_json(text: str) -> bool:
    """Return whether a text is a mapping or a list of mappings, as a template writes them."""
    return _JSON.match(text) is not None


def looks_like_a_key(text: str) -> bool:
    """Return whether a text begins like an API key of Connix, so that it must not be quoted."""
    return _KEY.match(text) is not None


def quoted(value: Any) -> str:
    """
    Quote the value of a parameter in a message, unless it may hold secrets.

    Another task may return a whole agent, with its prompt and environment variables, where an id is expected.

    :return: the value, or its kind for JSON, and for text that is long or may be JSON
    """
    if isinstance(value, str):
        if looks_like_a_key(value):
            return "what looks like an API key"
        is_short = len(value) <= _LONGEST_QUOTE and not value.lstrip().startswith(("{", "["))
        return repr(value) if is_short else f"a text of {len(value)} characters"
    if value is None or isinstance(value, bool | int | float | datetime | timedelta):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def is_missing_value(value: Any, *, empty_is_fine: bool = False) -> bool:
    """
    Return whether a template or another task gave a missing value.

    :param empty_is_fine: whether an empty text counts as a value
    :return: true for ``None``, and for the texts that templates write for it
    """
    if not isinstance(value, str):
        return value is None
    text = value.strip().lower()
    return text in _NOTHING or (not text and not empty_is_fine)
