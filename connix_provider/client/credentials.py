"""
Check what a client proves itself with, before a library fails on it in words that quote it.

Nothing that is refused is shown: what stands in the wrong field may be a secret.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

__all__ = ["endpoint", "json_object", "text", "token_in", "usable"]


def usable(value: str, what: str) -> str:
    """
    Check what is sent in a header.

    :param value: what the user gave; white space around it, as pasting leaves it, is dropped
    :param what: its name in messages
    :return: the value
    :raises ValueError: for what cannot be a header's value
    """
    if not isinstance(value, str):
        raise ValueError(f"the {what} must be a string, not {type(value).__name__}")
    value = value.strip()
    if not value:
        raise ValueError(f"the {what} is empty")
    if not value.strip("*"):
        raise ValueError(
            f"the {what} is the mask {value!r}: the form or file it was copied from hides the real one. "
            "Enter the real one again"
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"the {what} holds characters that no {what} has (spaces, line breaks or non-ASCII)")
    return value


def text(value: str | None, what: str) -> str | None:
    """
    Check what is written into a form.

    :param value: what the user gave
    :param what: the parameter's name
    :return: the same
    :raises ValueError: for what is no text
    """
    if value is not None and not isinstance(value, str):
        raise ValueError(f"the {what} must be a string, not {type(value).__name__}")
    if value and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"the {what} holds half of a character")
    return value


def token_in(answer: dict[str, Any], name: str = "access_token") -> str | None:
    """
    Find a new token in the token endpoint's answer.

    :param answer: the answer
    :param name: which token
    :return: the token, or ``None`` where there is none that can be one
    """
    try:
        return usable(answer.get(name, ""), name)
    except ValueError:
        return None


def endpoint(url: str) -> str:
    """
    Check the address of a token endpoint.

    :param url: what the user gave
    :return: the same
    :raises ValueError: for what is no address
    """
    try:
        place = urlsplit(url)
        usable = place.scheme in {"http", "https"} and bool(place.hostname) and place.port != 0
    except (ValueError, AttributeError, TypeError):
        usable = False
    if not usable:
        # Not quoted: what stands in the wrong field may be a secret.
        raise ValueError("token_url must begin with https:// or http:// and name a host; a port is a number")
    return url


def json_object(response: httpx.Response) -> dict[str, Any]:
    """
    Read an answer of a token endpoint.

    :param response: the answer
    :return: the object in it, or an empty one where there is none
    """
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
