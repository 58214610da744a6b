"""
Quote text of a service in messages and logs: printable, and of bounded size.

Line breaks could forge log entries, escape sequences could write to a terminal, and bidirectional overrides
could show a text in another order.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

__all__ = ["bounded", "printable", "shortened"]

#: Unicode categories: control, format, private use, surrogates, line and paragraph separators.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Joiners, which emoji and some scripts need.
_KEPT = frozenset("\u200c\u200d")
#: Bounds of a service's ``details``: characters of a text, entries of a container, depth.
_MAX_TEXT, _MAX_ENTRIES, _MAX_DEPTH = 500, 50, 8
#: Characters of a text that are searched for secrets; only the first :data:`_MAX_TEXT` are shown.
_MAX_SEARCHED = 2000
#: Bytes of JSON for all ``details`` of an error, because its event must stay below 10 KiB.
_MAX_BYTES = 2500
_CUT = "…"


def printable(text: str) -> str:
    """
    Escape the characters of a text that are not printable.

    :return: the text with escapes for control characters, line breaks and bidirectional overrides
    """
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _ESCAPED and char not in _KEPT
        else char
        for char in text
    )


def shortened(text: str, max_characters: int, max_bytes: int) -> str:
    """
    Truncate a text.

    :param max_characters: the most characters
    :param max_bytes: the most bytes in JSON, where a character takes up to twelve
    :return: the beginning of the text
    """
    text = text[:max_characters]
    while (size := len(json.dumps(text)) - 2) > max_bytes:
        text = text[: min(len(text) - 1, int(len(text) * max_bytes / size))]
    return text


def bounded(details: Any, redact: Callable[[Any], Any]) -> Any:
    """
    Truncate a service's ``details`` to a size that is quick to search and small enough for an event.

    :param details: JSON of the service
    :param redact: hides secrets in a text or number
    :return: the first entries, with ``…`` in place of the others
    """
    return _bounded(details, redact, [_MAX_BYTES], 0)


def _bounded(value: Any, redact: Callable[[Any], Any], left: list[int], depth: int) -> Any:
    if isinstance(value, str):
        text = printable(str(redact(value[:_MAX_SEARCHED])))
        kept = shortened(text, _MAX_TEXT, max(0, left[0]))
        left[0] -= len(json.dumps(kept)) + 2
        return kept + _CUT if len(kept) < len(text) or len(value) > _MAX_SEARCHED else kept
    if isinstance(value, list | dict):
        left[0] -= 4
        if value and (depth >= _MAX_DEPTH or left[0] <= 0):
            return _CUT
        return (
            _bounded_list(value, redact, left, depth)
            if isinstance(value, list)
            else (_bounded_object(value, redact, left, depth))
        )
    try:
        written = str(value)
    except ValueError:  # Python does not write numbers of thousands of digits
        return _CUT
    left[0] -= len(written) + 2
    return redact(value) if len(written) <= _MAX_TEXT else _CUT


def _bounded_list(value: list[Any], redact: Callable[[Any], Any], left: list[int], depth: int) -> list[Any]:
    items: list[Any] = []
    for item in value:
        if len(items) >= _MAX_ENTRIES or left[0] <= 0:
            return [*items, _CUT]
        items.append(_bounded(item, redact, left, depth + 1))
    return items


def _bounded_object(
    value: dict[str, Any], redact: Callable[[Any], Any], left: list[int], depth: int
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, item in value.items():
        if len(fields) >= _MAX_ENTRIES or left[0] <= 0:
            return {**fields, _CUT: _CUT}
        fields[_bounded(name, redact, left, depth + 1)] = _bounded(item, redact, left, depth + 1)
    return fields
