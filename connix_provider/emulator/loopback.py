"""The guard against DNS rebinding: pages of other sites that reach this machine by a name of their own."""

import ipaddress
import re
from typing import Final

_HOST: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:@/?#\[\]\s]+))(?::[0-9]*)?")


def names_this_machine(header: str | None) -> bool:
    """
    Return whether a ``Host`` header names a loopback address or ``localhost``.

    A browser sends the name from the page's address, so a foreign name means a foreign page. Requests
    without the header come from no browser.

    :param header: the header's value.
    """
    if header is None:
        return True
    found = _HOST.fullmatch(header.strip())
    if found is None:
        return False
    host = found["v6"] or found["name"]
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
