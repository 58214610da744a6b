"""
Find the secrets of an agent, and hide them in text of a service, which may quote them.

A service may quote a value unchanged, escaped as in JSON, Python or HTML, URL-encoded, without its line
breaks, or cut. So text is decoded in several ways, by :mod:`connix_provider.client.redaction.decoded_text`,
and white space is ignored. These are hidden:

- a whole value, and each of its lines that :func:`secrets_of` lists;
- the beginning of either, from 12 characters on, because services cut quotations;
- any part of 24 characters or more.

White space does not count in these lengths.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from connix_provider.client.redaction.decoded_text import SPACE, DecodedText, decoded_texts

__all__ = ["SECRET_FIELDS", "Redactor", "encoded_forms", "redact", "secrets_of"]

#: The fields of a configuration that may hold secrets (reference: "Agent Object").
SECRET_FIELDS = frozenset({"environment_variables", "system_prompt"})

_MASK = "***"
#: A shorter value is not hidden, because hiding "3" would hide every 3. Airflow's masker does the same.
_SHORTEST_SECRET = 5
#: A line of words alone in a prompt is a secret from this length on, because "You are" is in most texts.
_SHORTEST_PHRASE = 12
#: A secret is found by blocks of so many characters. One block is enough at its beginning. Elsewhere two are
#: needed, because any part of that length holds a whole block.
_BLOCK, _TELLING_PART = 12, 24
#: Shorter secrets are found by their first characters; those with fewer are searched for unchanged.
_KEY = 4
#: Levels of JSON that are kept, because deeper JSON could overflow the stack when it is printed.
_DEEPEST = 20

_WORDS = re.compile(r"[^\W\d_]+(?:[\s.,:;!?'\"()-]+[^\W\d_]+)*[\s.,:;!?]*")


def secrets_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """
    List the secrets of an agent's description.

    :param body: the description, as for Create and Update
    :return: the values of ``system_prompt`` and ``environment_variables`` as text, and those of their lines
        that are hidden by themselves
    """
    found: dict[str, None] = {}
    for name, part in _secret_parts(body.get("config")):
        shortest_phrase = _SHORTEST_PHRASE if name == "system_prompt" else _SHORTEST_SECRET
        for leaf in _leaves(part):
            found[leaf] = None
            lines = [line.strip() for line in leaf.splitlines()]
            for line in lines if len(lines) > 1 else ():
                if len(line) >= (shortest_phrase if _WORDS.fullmatch(line) else _SHORTEST_SECRET):
                    found[line] = None
    return tuple(found)


def _secret_parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Find the secret fields at any depth, because a configuration may hold fields of its own."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name in SECRET_FIELDS:
                yield name, item
            else:
                yield from _secret_parts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secret_parts(item)


def encoded_forms(secret: str) -> tuple[str, ...]:
    """
    Return a key or token and its forms in base64 and hexadecimal, in which gateways log headers.

    :return: the secret first; both cases of the digits, both alphabets of base64, without padding
    """
    data = secret.encode(errors="replace")
    digits = data.hex()
    base64s = (base64.b64encode(data), base64.urlsafe_b64encode(data))
    return (secret, digits, digits.upper(), *(form.decode().rstrip("=") for form in base64s))


def redact(value: Any, secrets: Iterable[str]) -> Any:
    """
    Hide secrets in text, or in JSON that may hold text anywhere.

    :param value: text or JSON of the service
    :param secrets: the values to hide; those of less than 5 characters are not hidden
    :return: the value with ``***`` for each secret, and ``…`` for JSON below 20 levels
    """
    return Redactor(secrets).redact(value)


class Redactor:
    """Hide the same secrets in many texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._short: dict[str, list[str]] = {}
        self._blocks: dict[str, list[tuple[str, int]]] = {}
        self._numbers: set[float] = set()
        self._blanks: list[str] = []
        for secret in dict.fromkeys(secrets):
            if len(secret) < _SHORTEST_SECRET:
                continue
            bare = SPACE.sub("", secret)
            if len(bare) < _KEY:
                self._blanks += [secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]]
            elif len(bare) < _BLOCK:
                self._short.setdefault(bare[:_KEY], []).append(bare)
            for at in range(0, len(bare) - _BLOCK + 1, _BLOCK):
                self._blocks.setdefault(bare[at : at + _BLOCK], []).append((bare, at))
            if (number := _as_number(secret)) is not None:
                self._numbers.add(number)

    def redact(self, value: Any, depth: int = 0) -> Any:
        """
        Hide the secrets in text or JSON.

        :param value: text or JSON of the service
        :param depth: its level in the JSON
        :return: the value with ``***`` for each secret
        """
        if isinstance(value, str):
            return self._hide(value)
        if isinstance(value, list | dict) and depth >= _DEEPEST:
            return "…"
        if isinstance(value, list):
            return [self.redact(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {self._hide(name): self.redact(item, depth + 1) for name, item in value.items()}
        # A number may be a secret, too, such as a PIN.
        return _MASK if self._numbers and _as_number(value) in self._numbers else value

    def _hide(self, text: str) -> str:
        for blank in self._blanks:
            text = text.replace(blank, _MASK)
        if not (self._short or self._blocks):
            return text
        hidden = sorted(span for decoded in decoded_texts(text) for span in self._spans(decoded))
        pieces, at = [], 0
        for start, end in hidden:
            if start >= at:
                pieces += [text[at:start], _MASK]
            at = max(at, end)
        return "".join((*pieces, text[at:]))

    def _spans(self, decoded: DecodedText) -> Iterator[tuple[int, int]]:
        """Find the secrets in a decoded text, and yield their places in the original text."""
        text, at = decoded.text, 0
        while at < len(text):
            start, end = at, at
            for secret in self._short.get(text[at : at + _KEY], ()):
                if text.startswith(secret, at):
                    end = max(end, at + len(secret))
            if block := self._blocks.get(text[at : at + _BLOCK]):
                first, last = _longest_part(text, at, block)
                if last > end:
                    start, end = first, last
            if end > at:
                yield decoded.starts[start], decoded.ends[end - 1]
            at = max(end, at + 1)


def _longest_part(text: str, at: int, block: list[tuple[str, int]]) -> tuple[int, int]:
    """
    Find the longest part of a secret around a block of it in a text.

    :param at: the place of the block in the text
    :param block: the secrets that contain the block, with its place in each
    :return: begin and end of the part in the text; equal if it is too short to hide
    """
    found, end = block, at + _BLOCK
    for step in (16, 1):
        while end < len(text):
            longer = min(end + step, len(text))
            more = [(secret, place) for secret, place in found if secret.startswith(text[at:longer], place)]
            if not more:
                break
            found, end = more, longer
    best = (at, at)
    # More than 100 are left only if they are equal here.
    for secret, place in found[:100]:
        start = at
        while start and place and text[start - 1] == secret[place - 1]:
            start, place = start - 1, place - 1
        if (not place or end - start >= _TELLING_PART) and end - start > best[1] - best[0]:
            best = start, end
    if best == (at, at) and any(not place for _, place in block):
        # The block begins one secret, but the longest part belongs to another.
        return at, at + _BLOCK
    return best


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _leaves(value: Any) -> Iterator[str]:
    """Yield every value in JSON as text, at any depth."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
        elif isinstance(value, float):
            yield from {repr(value): None} | dict.fromkeys(_decimal(value))
        elif value is not None and not isinstance(value, bool):
            yield str(value)


def _decimal(value: float) -> Iterator[str]:
    """Yield a number without an exponent, and without a fraction of zero."""
    try:
        written = format(Decimal(repr(value)), "f")
    except (ValueError, ArithmeticError):
        return
    yield written
    yield written.removesuffix(".0")
