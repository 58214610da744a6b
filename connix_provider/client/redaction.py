"""
Know what is secret in an agent, and hide it in what a service says, in case it quotes it.

A service may send a value back as it came, escaped as JSON or Python writes it, encoded for a URL (after it
was escaped, too), or cut off after a while. All of these are looked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

__all__ = ["SECRET_FIELDS", "redact", "secrets_of"]

#: The fields of a configuration that the reference lets users keep secrets in.
SECRET_FIELDS = frozenset({"environment_variables", "system_prompt"})

_MASK = "***"
#: A shorter value is left in messages: hiding "3" would hide every 3. Airflow's masker does the same.
_SHORTEST_SECRET = 5
#: So much of a secret's beginning is taken for the secret, cut off.
_TELLING_START = 16
#: JSON deeper than this is nobody's: printing it could overflow the stack.
_DEEPEST = 20


def secrets_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """
    List the values that the reference lets users keep secrets in.

    :param body: an agent's description, as for Create and Update
    :return: the values of ``system_prompt`` and ``environment_variables``, as text
    """
    return tuple(_leaves(list(_secret_parts(body.get("config")))))


def _secret_parts(value: Any) -> Iterator[Any]:
    """Find the secret fields at any depth, because a configuration may hold fields of its own."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name in SECRET_FIELDS:
                yield item
            else:
                yield from _secret_parts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secret_parts(item)


def redact(value: Any, secrets: Iterable[str]) -> Any:
    """
    Hide secrets in text, or in JSON that may hold text anywhere.

    :param value: what the service said
    :param secrets: the values to hide; very short ones are left, they would hide everything
    :return: the same with ``***`` for each secret, and without what lies absurdly deep
    """
    forms = {form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in _forms(secret)}
    # The longest first: hiding a part of a secret would leave the rest of it to be read.
    return _redact(value, sorted(forms, key=len, reverse=True), 0)


def _forms(secret: str) -> Iterable[str]:
    yield repr(secret)[1:-1]
    # A body that was sent on in a URL is both: escaped as JSON, and that encoded.
    for text in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield text
        yield quote(text, safe="", errors="replace")
        # A slash may stay as it is.
        yield quote(text, errors="replace")
        yield quote_plus(text, errors="replace")


def _redact(value: Any, forms: list[str], depth: int) -> Any:
    if isinstance(value, str):
        return _hide(value, forms)
    if isinstance(value, list | dict) and depth >= _DEEPEST:
        return "…"
    if isinstance(value, list):
        return [_redact(item, forms, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_hide(name, forms): _redact(item, forms, depth + 1) for name, item in value.items()}
    # A number may be a secret as well, a PIN for one.
    return _MASK if isinstance(value, int | float) and str(value) in forms else value


def _hide(text: str, forms: list[str]) -> str:
    if not forms:
        return text
    # Once each: forms that begin alike would be tried in vain at every place, one after the other.
    beginnings = dict.fromkeys(form[:_TELLING_START] for form in forms)
    starts = re.compile("|".join(map(re.escape, beginnings)))
    pieces, at = [], 0
    while found := starts.search(text, at):
        pieces += [text[at : found.start()], _MASK]
        # Forms that begin alike differ further on: the one that goes on longest is the one that stands there.
        at = found.start() + max(_agreeing(text, found.start(), form) for form in forms)
    return "".join((*pieces, text[at:]))


def _agreeing(text: str, at: int, form: str) -> int:
    """Count the characters of a form that stand in a text from a place on."""
    return next((n for n, wanted in enumerate(form) if text[at + n : at + n + 1] != wanted), len(form))


def _leaves(value: Any) -> Iterator[str]:
    """Give every value in JSON as text, however deep it lies."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
