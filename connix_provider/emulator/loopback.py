"""
Loopback addresses: the only ones that the emulator listens on and serves.

The control paths need no key. The ``Host`` header is checked, because otherwise a web page could reach them
by DNS rebinding: through a name of its own that points at this machine. A browser sends the name of the
page's address, so a foreign name means a foreign page.
"""

import ipaddress
import re
from typing import Final

_HOST: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:@/?#\[\]\s]+))(?::[0-9]*)?")


def listen_address(host: str) -> str:
    """
    Return the address to listen on.

    :param host: a loopback address or ``localhost``.
    :raises ValueError: for any other host.
    """
    if host == "localhost":
        return "127.0.0.1"
    if not _is_loopback(host):
        raise ValueError(f"the emulator listens on loopback only, not on {host!r}")
    return host


def is_local_host_header(header: str | None) -> bool:
    """Return whether a ``Host`` header names this machine; without it, no browser sent the request."""
    if header is None:
        return True
    match = _HOST.fullmatch(header.strip())
    if match is None:
        return False
    host: str = match["v6"] or match["name"]
    return host.lower().removesuffix(".") == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
