"""An API key or an access token that never changes (reference: "Authentication")."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator

import httpx

from connix_provider.client.auth.base import Auth
from connix_provider.client.auth.checks import check_header_value

__all__ = ["ApiKeyAuth", "BearerAuth"]

_USUAL_KEY = re.compile(r"cx_[0-9a-fA-F]{32}")

log = logging.getLogger(__name__)


class ApiKeyAuth(Auth):
    """
    Send an API key in ``X-API-Key``.

    A key of an unusual shape is used all the same, after a warning: the service may issue other keys.

    :param api_key: the key; surrounding white space, as pasting leaves it, is dropped
    :raises ValueError: for text that no key can be; the text is not quoted
    """

    def __init__(self, api_key: str) -> None:
        self._key = check_header_value(api_key, "API key")
        if not _USUAL_KEY.fullmatch(self._key):
            log.warning(
                "The Connix API key has an unusual shape (%d characters; usual is cx_ and 32 hexadecimal "
                "characters). It is used as it is.",
                len(self._key),
            )

    def secrets(self) -> tuple[str, ...]:
        """Return the key."""
        return (self._key,)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the key to a request."""
        request.headers["X-API-Key"] = self._key
        yield request


class BearerAuth(Auth):
    """
    Send an access token that is never refreshed.

    :param access_token: the token
    :raises ValueError: for text that no token can be; the text is not quoted
    """

    def __init__(self, access_token: str) -> None:
        self._token = check_header_value(access_token, "access token")

    def secrets(self) -> tuple[str, ...]:
        """Return the token."""
        return (self._token,)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token to a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request
