"""
Digests of values that may hold secrets, to notice a change without keeping the values.

Airflow stores the digests as plain text. A plain hash would confirm a guess at a short secret, so the hash
has a key, which is made from the credentials of the client. A mark of the key stands before the digest,
because digests of different keys say nothing about each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

__all__ = ["digest", "digest_key", "may_be_equal"]


def digest_key(credentials: Iterable[str | None]) -> bytes:
    """Return the key of a client's digests; the same credentials give the same key in every process."""
    text = json.dumps(list(credentials))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), person=b"connix-digest").digest()


def digest(key: bytes, *values: Any) -> str:
    """Return ``<key id>:<hash>``, the keyed hash of the values' JSON."""
    mark = hashlib.blake2b(b"mark", key=key, digest_size=2).hexdigest()
    text = json.dumps(values, sort_keys=True, default=str).encode(errors="surrogatepass")
    return f"{mark}:{hashlib.blake2b(text, key=key, digest_size=8).hexdigest()}"


def may_be_equal(one: str, other: str) -> bool:
    """Return whether two digests may be of equal values: if they are equal, or of different keys."""
    return one == other or one.partition(":")[0] != other.partition(":")[0]
