"""
Decode a text in the ways in which a service may have encoded a quotation in it.

A secret may be quoted with escapes, with URL encoding, as HTML or with other white space. It is searched for
in each decoded text, and each decoded character knows its place in the original text, where the secret is
then hidden.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

__all__ = ["SPACE", "DecodedText", "decoded_texts"]

SPACE = re.compile(r"\s+")
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|\\(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)",
    re.DOTALL,
)
#: One URL-encoded character of UTF-8.
_PERCENT = re.compile(
    r"%[c-d][0-9a-f]%[89ab][0-9a-f]|%e[0-9a-f](?:%[89ab][0-9a-f]){2}|%f[0-7](?:%[89ab][0-9a-f]){3}"
    r"|%[0-9a-f]{2}|\+",
    re.IGNORECASE,
)
#: One character of HTML. Without the semicolon a name may be a part of a word.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_SIMPLE_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}


class DecodedText:
    """
    A decoded text.

    :param starts: for each of its characters, where it begins in the original text
    :param ends: likewise, where it ends
    """

    __slots__ = ("ends", "starts", "text")

    def __init__(self, text: str, starts: list[int], ends: list[int]) -> None:
        self.text, self.starts, self.ends = text, starts, ends

    def decode(self, pattern: re.Pattern[str], meaning: Callable[[str], str]) -> DecodedText:
        """
        Decode each match of a pattern.

        :param meaning: decodes a match
        """
        pieces, starts, ends, at = list[str](), list[int](), list[int](), 0
        for match in pattern.finditer(self.text):
            first, last = match.span()
            meant = meaning(match.group())
            pieces += [self.text[at:first], meant]
            starts += self.starts[at:first]
            starts += [self.starts[first]] * len(meant)
            ends += self.ends[at:first]
            ends += [self.ends[last - 1]] * len(meant)
            at = last
        pieces.append(self.text[at:])
        return DecodedText("".join(pieces), starts + self.starts[at:], ends + self.ends[at:])


def decoded_texts(text: str) -> Iterator[DecodedText]:
    """
    Decode a text in all ways, and each decoded text once more.

    :return: the text and the decoded ones, without white space
    """
    found = [DecodedText(text, list(range(len(text))), list(range(1, len(text) + 1)))]
    level = found
    for _ in range(_LEVELS):
        level = [
            encoded.decode(pattern, meaning)
            for encoded in level
            for sign, pattern, meaning in _ENCODINGS
            if sign.search(encoded.text)
        ]
        found = found + level
    for decoded in found:
        yield decoded.decode(SPACE, lambda _: "")


def _unescape(escape: str) -> str:
    if len(escape) == 2:
        return _SIMPLE_ESCAPES.get(escape[1], escape[1])
    codes = [int(code, 16) for code in re.split(r"\\[uUx]", escape)[1:]]
    if len(codes) == 2:
        return chr(0x10000 + ((codes[0] & 0x3FF) << 10) + (codes[1] & 0x3FF))
    return chr(codes[0]) if codes[0] <= 0x10FFFF else "?"


def _unquote(encoded: str) -> str:
    return " " if encoded == "+" else bytes.fromhex(encoded.replace("%", "")).decode(errors="replace")


#: How often a text is decoded: a gateway may write JSON, which holds escapes already, into a page.
_LEVELS = 2
#: For each encoding: a sign that a text has it, an encoded character, and what that stands for.
_ENCODINGS = (
    (re.compile(r"\\"), _ESCAPE, _unescape),
    (re.compile(r"[%+]"), _PERCENT, _unquote),
    (_ENTITY, _ENTITY, html.unescape),
)
