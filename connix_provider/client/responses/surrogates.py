"""Read JSON with half a character, such as a log line that was cut in the middle of an emoji."""

from __future__ import annotations

import re

__all__ = ["replace_lone_surrogates"]

#: An escape: a surrogate pair, half a pair, or any other. The last keeps the text after an escaped backslash.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_REPLACEMENT = rb"\ufffd"


def replace_lone_surrogates(body: bytes) -> bytes:
    """
    Replace each half of a surrogate pair by U+FFFD, because JSON may hold one and Python text should not.

    :param body: the body of a response
    :return: the body; the same object if it has none
    """
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    return _ESCAPE.sub(lambda escape: _REPLACEMENT if escape[1] else escape[0], body)
