"""
Check the proxy settings of the environment.

httpx chooses the proxy. Its errors do not name the variable, and quote a password in the address. So the
settings are checked here before httpx reads them, and messages quote host and port only.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
from urllib.request import getproxies, proxy_bypass

import httpx

from connix_provider.client.transport.addresses import is_host_name

__all__ = ["check_proxies", "proxy_for"]

_SOCKS = frozenset({"socks5", "socks5h"})
_HIGHEST_PORT = 65_535
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
#: A host name, or an IP address.
_HOST = re.compile(r"[\w.:~-]+")


def check_proxies(url: str) -> None:
    """
    Check the proxy settings of the environment.

    :param url: the address that requests go to
    :raises ValueError: for an invalid setting, and for an entry of ``NO_PROXY`` that is meant for the address
        but that httpx does not apply; the message names the variable
    """
    settings = getproxies()
    exceptions = [entry.strip() for entry in settings.get("no", "").split(",")]
    if "*" in exceptions:
        # httpx ignores all other settings then.
        return
    for name in ("http", "https", "all"):
        if settings.get(name):
            _check_proxy(settings[name], _source(name))
    target = httpx.URL(url)
    has_proxy = bool(settings.get(target.scheme) or settings.get("all"))
    for entry in filter(None, exceptions):
        _check_exception(entry)
        if has_proxy and _is_overlooked(entry, target):
            raise ValueError(
                f"{_source('no')} holds {entry[:60]!r}, which stands for {target.host} but has no "
                "effect, because ranges, stars and the port of the scheme are not read; "
                f"list {target.host}, or a domain as .example.com"
            )


def proxy_for(url: httpx.URL) -> str | None:
    """
    Describe the proxy of requests, for messages.

    :return: the proxy's address without user and password, and the variable that sets it; ``None`` where the
        environment names no proxy for the address
    """
    settings = getproxies()
    if proxy_bypass(url.host):
        return None
    for name in (url.scheme, "all"):
        if value := settings.get(name):
            try:
                proxy = httpx.Proxy(_with_scheme(value)).url
            except (ValueError, httpx.InvalidURL):
                return "the proxy"
            return f"the proxy at {proxy.netloc.decode()} ({_source(name)})"
    return None


def _check_proxy(value: str, source: str) -> None:
    try:
        url = httpx.URL(_with_scheme(value))
    except (ValueError, httpx.InvalidURL):
        url = httpx.URL("")
    if url.scheme and url.scheme not in {"http", "https", *_SOCKS}:
        raise ValueError(
            f"{source} names a proxy of a kind that cannot be used; http, https, socks5 and socks5h can"
        )
    # No port means the scheme's default.
    is_host = bool(_HOST.fullmatch(url.host)) and is_host_name(url.host)
    if not is_host or not (url.port is None or 0 < url.port <= _HIGHEST_PORT):
        raise ValueError(f"{source} is not the address of a proxy; write it as http://host:port, or unset it")
    if url.scheme in _SOCKS and importlib.util.find_spec("socksio") is None:
        raise ValueError(
            f"{source} names a SOCKS proxy, and the package socksio is not installed; install it with "
            "pip install 'httpx[socks]', or unset the variable"
        )


def _check_exception(entry: str) -> None:
    try:
        httpx.URL(_pattern(entry))
    except (ValueError, httpx.InvalidURL):
        advice = "list hosts by name, or single addresses without brackets"
        if "/" in entry and ":" in entry:
            advice = "IPv6 ranges cannot be listed, but single addresses can"
        raise ValueError(f"{_source('no')} holds {entry[:60]!r}, which cannot be read: {advice}") from None


def _is_overlooked(entry: str, target: httpx.URL) -> bool:
    """Return whether other programs read an entry as one for an address, which httpx does not."""
    host = target.host
    if target.port is None and entry.endswith(_DEFAULT_PORTS.get(target.scheme, " ")):
        # httpx compares it with the port of the address, which is empty for the default one.
        domain = entry.rpartition(":")[0].lstrip("*.").lower()
        return host.lower() == domain or host.lower().endswith(f".{domain}")
    if entry.startswith("*."):
        return host.lower().endswith(entry[1:].lower())
    try:
        return "/" in entry and ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _pattern(entry: str) -> str:
    """Return the URL pattern that httpx makes from an entry of ``NO_PROXY``."""
    if "://" in entry:
        return entry
    try:
        version = ipaddress.ip_address(entry.split("/")[0]).version
    except ValueError:
        return f"all://*{entry}"
    return f"all://[{entry}]" if version == 6 else f"all://{entry}"


def _with_scheme(value: str) -> str:
    return value if "://" in value else f"http://{value}"


def _source(name: str) -> str:
    """Return the variable's name; the one in lower case has precedence."""
    variable = f"{name}_proxy"
    found = [written for written in os.environ if written.lower() == variable and os.environ[written]]
    return f"{max(found)} of the environment" if found else f"the system's setting of {variable}"
