"""
Check the addresses to which a client sends its credentials.

An editor of connections must not get a key by naming a host. So the key of the environment is sent to the
default host only, and an ``http://`` address of another machine gets a warning.
"""

from __future__ import annotations

import ipaddress
import logging
from urllib.parse import SplitResult, urlsplit

__all__ = [
    "DEFAULT_BASE_URL",
    "complete_url",
    "has_two_schemes",
    "is_default_host",
    "is_host_name",
    "is_sent_in_clear",
    "warn_in_clear",
]

DEFAULT_BASE_URL = "https://api.connix.io/api/v1"
_API_PATH = "/api/v1"
_DEFAULT_ORIGIN = ("https", "api.connix.io", 443)
#: Hosts that this process has warned about.
_warned: set[str] = set()

log = logging.getLogger(__name__)


def complete_url(url: str | None) -> str:
    """
    Complete a base URL with ``/api/v1`` if it has no path.

    :param url: the URL, or ``None`` for the default
    :return: the base URL without a slash at its end
    :raises ValueError: for a URL that is not http(s), or has a query, a fragment or a user
    """
    if url is None or not url.strip():
        return DEFAULT_BASE_URL
    url = url.strip()
    import httpx  # Not at the top, because a DAG file that imports the hook must not load an HTTP client.

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        is_usable = is_host_name(httpx.URL(url).host) and not any(map(str.isspace, parts.netloc))
    except (ValueError, httpx.InvalidURL):
        is_usable = False
    if not is_usable:
        # Raised outside of the handler, because urlsplit's error quotes the text, which may be a password.
        raise ValueError(f"the base URL cannot be read; write it as {DEFAULT_BASE_URL}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the base URL must not contain a user or password; the key has a field of its own")
    if parts.scheme.lower() not in {"http", "https"} or not host or has_two_schemes(parts):
        # Not quoted, because it may be the key, or contain a password.
        raise ValueError(
            f"the base URL must begin with https:// (or http://) and name a host, as {DEFAULT_BASE_URL}"
        )
    if "?" in url or "#" in url:
        raise ValueError(f"the base URL must not have a query or a fragment; write it as {DEFAULT_BASE_URL}")
    return f"{parts.scheme.lower()}://{parts.netloc}{parts.path.rstrip('/') or _API_PATH}"


def is_host_name(host: str) -> bool:
    """
    Return whether a name can be looked up.

    Python and httpx raise a ``UnicodeError`` for others, such as ``a..b``, only when a request is sent.

    :return: false for an empty label, and for one of more than 63 characters
    """
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def has_two_schemes(parts: SplitResult) -> bool:
    """
    Return whether an address such as ``https://https://host`` names a host called https.

    :param parts: the address
    :return: true if a second scheme stands in the place of the host
    """
    return parts.hostname in {"http", "https"} and parts.path.startswith("//")


def is_default_host(url: str | None) -> bool:
    """
    Return whether an address is on Connix's own host, over TLS.

    :param url: the base URL, or ``None`` for the default
    :return: false for any other host, scheme or port, and for text that is not an address
    """
    if url is None:
        return True
    try:
        parts = urlsplit(url)
        return (parts.scheme.lower(), parts.hostname, parts.port or 443) == _DEFAULT_ORIGIN
    except ValueError:
        return False


def is_sent_in_clear(url: str) -> bool:
    """
    Return whether credentials are sent to an address unencrypted over a network.

    :return: true for ``http://``, unless the host is this machine
    """
    parts = urlsplit(url)
    if parts.scheme.lower() != "http":
        return False
    host = parts.hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def warn_in_clear(url: str, credentials: str) -> None:
    """
    Log one warning for each process and host to which credentials are sent unencrypted.

    :param credentials: the credentials in words, as ``API key``
    """
    if not is_sent_in_clear(url):
        return
    parts = urlsplit(url)
    host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if host not in _warned:
        _warned.add(host)
        log.warning(
            "The %s is sent unencrypted to %s, because the address is not https://.", credentials, host
        )
