"""
Quote a service in messages and log lines: without control characters, and not at any length.

Line breaks would forge log lines, escape sequences would write to a terminal, and bidirectional overrides
would show a text in another order than it has.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

__all__ = ["bounded", "printable", "shortened"]

#: Control, format and private characters, surrogates, separators of lines and paragraphs.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Joiners of emoji and of some scripts.
_KEPT = frozenset("\u200c\u200d")
#: Characters of one text, entries of one container, and depth that are kept of a service's ``details``.
_LONGEST_TEXT, _MOST_ENTRIES, _DEEPEST = 500, 50, 8
#: A secret is looked for in so many characters of a text, of which the first are shown.
_LONGEST_READ = 2000
#: Bytes of JSON for all ``details`` of an error, so that an event that carries them stays below 10 KiB.
_MOST_BYTES = 2500
_CUT = "…"


def printable(text: str) -> str:
    """
    Escape what is not to be printed.

    :param text: what a service said
    :return: the same, with escapes for control characters, line breaks and bidirectional overrides
    """
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _ESCAPED and char not in _KEPT
        else char
        for char in text
    )


def shortened(text: str, longest: int, most_bytes: int) -> str:
    """
    Cut a text.

    :param text: the text
    :param longest: characters that it may have
    :param most_bytes: bytes that it may take in JSON, where one character may take twelve
    :return: its beginning
    """
    text = text[:longest]
    while (size := len(json.dumps(text)) - 2) > most_bytes:
        text = text[: min(len(text) - 1, int(len(text) * most_bytes / size))]
    return text


def bounded(details: Any, redact: Callable[[Any], Any]) -> Any:
    """
    Keep a service's ``details`` to a size that is quick to search and may travel in an event.

    :param details: JSON of the service
    :param redact: hides secrets in a text or number
    :return: its first entries, with ``…`` where more came
    """
    return _bounded(details, redact, [_MOST_BYTES], 0)


def _bounded(value: Any, redact: Callable[[Any], Any], left: list[int], depth: int) -> Any:
    if isinstance(value, str):
        text = printable(str(redact(value[:_LONGEST_READ])))
        kept = shortened(text, _LONGEST_TEXT, max(0, left[0]))
        left[0] -= len(json.dumps(kept)) + 2
        return kept + _CUT if len(kept) < len(text) or len(value) > _LONGEST_READ else kept
    if isinstance(value, list | dict):
        left[0] -= 4
        if value and (depth >= _DEEPEST or left[0] <= 0):
            return _CUT
        return (
            _bounded_list(value, redact, left, depth)
            if isinstance(value, list)
            else (_bounded_object(value, redact, left, depth))
        )
    try:
        written = str(value)
    except ValueError:  # Python writes no number of thousands of digits
        return _CUT
    left[0] -= len(written) + 2
    return redact(value) if len(written) <= _LONGEST_TEXT else _CUT


def _bounded_list(value: list[Any], redact: Callable[[Any], Any], left: list[int], depth: int) -> list[Any]:
    items: list[Any] = []
    for item in value:
        if len(items) >= _MOST_ENTRIES or left[0] <= 0:
            return [*items, _CUT]
        items.append(_bounded(item, redact, left, depth + 1))
    return items


def _bounded_object(
    value: dict[str, Any], redact: Callable[[Any], Any], left: list[int], depth: int
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, item in value.items():
        if len(fields) >= _MOST_ENTRIES or left[0] <= 0:
            return {**fields, _CUT: _CUT}
        fields[_bounded(name, redact, left, depth + 1)] = _bounded(item, redact, left, depth + 1)
    return fields
