"""TLS contexts, and clear errors for wrong settings of certificates."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path

import httpx

__all__ = ["ssl_context"]


def ssl_context(verify: bool | str) -> ssl.SSLContext:
    """
    Return the TLS context of a setting. Contexts are cached, because making one reads the whole CA bundle.

    :param verify: whether to check certificates, or the path of a CA bundle
    :raises ValueError: for a CA bundle that cannot be read, from ``verify``, ``SSL_CERT_FILE`` or
        ``SSL_CERT_DIR``
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, str):
        return _from_bundle(verify)
    if not isinstance(verify, bool):
        raise ValueError(
            f"verify must be True, False or the path of a CA bundle, not {type(verify).__name__}"
        )
    # The variables are part of the cache's key, because the environment may change.
    return _by_default(verify, os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))


@functools.lru_cache(maxsize=8)
def _from_bundle(path: str) -> ssl.SSLContext:
    problem = f"verify names a CA bundle that cannot be read: {path!r}"
    if not path.strip():
        raise ValueError("verify is empty; it must be True, False or the path of a CA bundle")
    if _is_directory(path):
        raise ValueError(f"{problem} (it is a directory; name a file of certificates in PEM format)")
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise ValueError(f"{problem} ({error})") from None


@functools.lru_cache(maxsize=8)
def _by_default(verify: bool, cert_file: str, cert_dir: str) -> ssl.SSLContext:
    if verify and cert_file:
        problem = f"SSL_CERT_FILE of the environment names a CA bundle that cannot be read: {cert_file!r}"
        if _is_directory(cert_file):
            raise ValueError(f"{problem} (it is a directory; SSL_CERT_DIR may name one)")
        try:
            return httpx.create_ssl_context(verify=True)
        except (OSError, ValueError) as error:
            raise ValueError(f"{problem} ({error})") from None
    # OpenSSL reports no missing directory, but would trust no certificate.
    if verify and cert_dir and not any(map(_is_readable_directory, cert_dir.split(os.pathsep))):
        raise ValueError(
            f"SSL_CERT_DIR of the environment names no directory that can be read: {cert_dir!r}; unset it, "
            "or set verify to the path of a CA bundle"
        )
    return httpx.create_ssl_context(verify=verify)


def _is_directory(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except ValueError:  # a NUL in it
        return False


def _is_readable_directory(path: str) -> bool:
    return _is_directory(path) and os.access(path, os.R_OK | os.X_OK)
