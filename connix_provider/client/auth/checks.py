"""
Check credentials, because errors of libraries would quote them.

No error here quotes the value, because it may be a secret in the wrong field.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from connix_provider.client.transport.addresses import has_two_schemes, is_host_name

__all__ = ["check_header_value", "check_text", "check_token_url", "json_object", "token_in"]


def check_header_value(value: str, what: str) -> str:
    """
    Check a value that is sent in a header.

    :param value: the user's value; white space around it is removed
    :param what: its name in messages
    :raises ValueError: for a value that no header can hold
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


def check_text(value: str | None, what: str) -> str | None:
    """
    Check a value that is sent in a form.

    :param value: the user's value
    :param what: the parameter's name
    :raises ValueError: for any value but text
    """
    if value is not None and not isinstance(value, str):
        raise ValueError(f"the {what} must be a string, not {type(value).__name__}")
    if value and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"the {what} contains a lone surrogate")
    return value


def token_in(content: dict[str, Any], name: str) -> str | None:
    """
    Find a token in a response of the token endpoint.

    :param content: the response
    :return: the token, or ``None`` if the field has no usable token
    """
    try:
        return check_header_value(content.get(name, ""), name)
    except ValueError:
        return None


def check_token_url(url: str) -> str:
    """
    Check the address of a token endpoint.

    :param url: the user's value
    :raises ValueError: for any value but an http or https address, and for one with a user or password
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = usable and is_host_name(parts.hostname or "") and not has_two_schemes(parts)
    except (ValueError, AttributeError, TypeError):
        usable = False
    if not usable:
        # Not quoted, because the text in a wrong field may be a secret.
        raise ValueError("token_url must begin with https:// or http:// and name a host; a port is a number")
    if parts.username is not None or parts.password is not None:
        raise ValueError("token_url must not contain a user or password; give client_id and client_secret")
    return url


def json_object(body: bytes) -> dict[str, Any] | None:
    """
    Read a response of a token endpoint.

    :param body: the response
    :return: its JSON object, ``None`` if it is none
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
