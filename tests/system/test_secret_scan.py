"""The hunter finds a secret in whatever it is encoded in, or its silence would prove nothing."""

from __future__ import annotations

import base64
import gzip
import html
import json
import sqlite3
import zlib
from urllib.parse import quote, quote_plus

import pytest
from cryptography.fernet import Fernet
from secret_scan import SecretScan

SECRET = "postgres://user:4f1c77e0b2-canary'\"\n@höst/9d0be5a1c4-canary"
HIDDEN = {
    "plain": SECRET.encode(),
    "JSON": json.dumps({"a": SECRET}).encode(),
    "JSON without ASCII": json.dumps({"a": SECRET}, ensure_ascii=False).encode(),
    "JSON in JSON": json.dumps(json.dumps({"a": SECRET})).encode(),
    "repr": repr({"a": SECRET}).encode(),
    "repr of bytes": repr(SECRET.encode()).encode(),
    "ascii": ascii(SECRET).encode(),
    "URL": quote(SECRET, safe="").encode(),
    "form": quote_plus(SECRET).encode(),
    "HTML": html.escape(SECRET).encode(),
    "hex": SECRET.encode().hex().encode(),
    "second half": SECRET.encode()[-20:],
    "cut off": SECRET.encode()[:32],
    "gzip": gzip.compress(SECRET.encode()),
    "zlib": zlib.compress(SECRET.encode()),
    "base64 of zlib": b'{"data": "' + base64.b64encode(zlib.compress(SECRET.encode())) + b'"}',
    "base64 of gzip": b"data: " + base64.urlsafe_b64encode(gzip.compress(SECRET.encode())),
    **{f"base64 after {n}": base64.b64encode(b"x" * n + SECRET.encode()) for n in range(4)},
    **{f"base64url after {n}": base64.urlsafe_b64encode(b"~" * n + SECRET.encode()) for n in range(4)},
    "HTTP Basic": b"Basic " + base64.b64encode(b"client:" + SECRET.encode()),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_it_is_found(how, tmp_path):
    scan = SecretScan({"it": SECRET, "another": "never-stored-anywhere"})
    assert {line.split()[0] for line in scan.search(HIDDEN[how])} == {"it"}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(HIDDEN[how])
    assert [line for line in scan.folder(tmp_path) if line.startswith("deep/file: it")]
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute('CREATE TABLE "a table" (number INTEGER, "a column" TEXT)')
        connection.execute('INSERT INTO "a table" VALUES (1, NULL), (2, ?)', (HIDDEN[how],))
    connection.close()
    found = scan.database(tmp_path / "db")
    assert found
    assert all(line.startswith("a table.a column: it (") for line in found)


def test_encrypted_columns_are_decrypted():
    key = Fernet.generate_key()
    token = Fernet(key).encrypt(json.dumps({"a": SECRET}).encode())
    assert SecretScan({"it": SECRET}, key.decode()).search(b'{"kwargs": "' + token + b'"}')
    assert not SecretScan({"it": SECRET}).search(token)
    assert not SecretScan({"it": SECRET}, Fernet.generate_key().decode()).search(token)


def test_a_name_of_a_file_is_searched(tmp_path):
    (tmp_path / "run_4f1c77e0b2-canary").mkdir()
    assert SecretScan({"it": SECRET}).folder(tmp_path)


def test_nothing_is_found_where_nothing_is(tmp_path):
    (tmp_path / "file").write_text("postgres://user:***@host/other" * 1000)
    assert not SecretScan({"it": SECRET}).folder(tmp_path)


def test_a_secret_without_a_word_cannot_be_hunted():
    with pytest.raises(ValueError, match="short has no word"):
        SecretScan({"short": "päss wörd"})
