"""
SecretScan for secrets in all that Airflow keeps, whatever they are encoded in.

What is looked for are the words of a secret: runs of ASCII letters, digits, ``-`` and ``_``. No escaping
(JSON's, Python's, HTML's, a URL's) changes them, so they are found in all of these, and in what was cut off
behind one of them. Base64 does, in three ways that depend on what stands before them. What is compressed, or
encrypted with Airflow's own key, is opened first.
"""

from __future__ import annotations

import base64
import gzip
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

#: So much of a word tells it, in case the rest was cut off.
_TELLING = 16
_WORD = re.compile(r"[A-Za-z0-9_-]{12,}")
_FERNET_TOKEN = re.compile(rb"gAAAAA[A-Za-z0-9_=-]{60,}")
_PACKED_BASE64 = re.compile(rb"(?:eJ|eN|eA|H4sI)[A-Za-z0-9+/_-]{20,}={0,2}")


class SecretScan:
    """
    SecretScan for the given secrets.

    :param secrets: each secret by the name that it is reported under; each needs a word of 12 characters
    :param fernet_key: Airflow's key, to open what is encrypted with it
    """

    def __init__(self, secrets: Mapping[str, str], fernet_key: str | None = None) -> None:
        self._needles: dict[bytes, str] = {}
        for name, secret in secrets.items():
            words = {word[:_TELLING] for word in _WORD.findall(secret)}
            if not words:
                raise ValueError(f"{name} has no word that could be looked for")
            for word in words:
                self._needles.update({needle: f"{name} ({form})" for form, needle in _forms(word)})
        self._fernet = Fernet(fernet_key) if fernet_key else None

    def search(self, data: bytes) -> list[str]:
        """
        Search some bytes.

        :param data: the bytes
        :return: the name of each secret in them, with the form that it was found in
        """
        layers = list(self._opened(data, depth=3))
        return sorted({name for layer in layers for needle, name in self._needles.items() if needle in layer})

    def folder(self, folder: Path) -> list[str]:
        """
        Search every file below a folder: its name and what it holds.

        :param folder: the folder
        :return: one line for each file and secret in it
        """
        found = []
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder)
            data = path.read_bytes() if path.is_file() else b""
            names = {*self.search(str(place).encode()), *self.search(data)}
            found += [f"{place}: {name}" for name in sorted(names)]
        return found

    def database(self, database: Path) -> list[str]:
        """
        Search every column of every row of every table.

        :param database: an SQLite file, which may be in use
        :return: one line for each column and secret in it, such as ``connection.password: key (plain)``
        """
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        connection.text_factory = bytes
        try:
            tables = [
                row[0].decode()
                for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            return sorted({line for table in tables for line in self._table(connection, table)})
        finally:
            connection.close()

    def _table(self, connection: sqlite3.Connection, table: str) -> Iterator[str]:
        cursor = connection.execute(f'SELECT * FROM "{table}"')
        columns = [column[0] for column in cursor.description]
        for row in cursor:
            for column, value in zip(columns, row, strict=True):
                data = value if isinstance(value, bytes) else str(value).encode()
                yield from (f"{table}.{column}: {name}" for name in self.search(data))

    def _opened(self, data: bytes, depth: int) -> Iterator[bytes]:
        yield data
        if not depth:
            return
        for inner in (*_unpacked(data), *self._decrypted(data)):
            yield from self._opened(inner, depth - 1)

    def _decrypted(self, data: bytes) -> Iterator[bytes]:
        for token in _FERNET_TOKEN.findall(data) if self._fernet else ():
            try:
                yield self._fernet.decrypt(token)
            except InvalidToken:
                continue


def _forms(word: str) -> Iterator[tuple[str, bytes]]:
    data = word.encode()
    yield "plain", data
    yield "hex", data.hex().encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        # Only the characters that are made of nothing but the word's own bits.
        whole = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        for alphabet, form in ((whole, "base64"), (whole.translate(_URL_SAFE), "base64url")):
            yield f"{form}, {before} before", alphabet


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Give what is compressed, as a whole or as base64 somewhere inside."""
    packed: Iterable[bytes] = (data, *(_from_base64(text) for text in _PACKED_BASE64.findall(data)))
    for start in packed:
        if start[:2] == b"\x1f\x8b":
            try:
                yield gzip.decompress(start)
            except (OSError, EOFError, zlib.error):
                continue
        elif start[:1] == b"\x78":
            try:
                yield zlib.decompressobj().decompress(start)
            except zlib.error:
                continue


def _from_base64(text: bytes) -> bytes:
    plain = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    # A length of one more than a multiple of four is no base64: the last character is another word's.
    plain = plain[:-1] if len(plain) % 4 == 1 else plain
    return base64.b64decode(plain + b"=" * (-len(plain) % 4))
