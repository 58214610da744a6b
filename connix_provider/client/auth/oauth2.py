"""
Bearer tokens that are refreshed (RFC 6749 sections 4.4 and 6).

:class:`RefreshingBearerAuth` is an ``httpx.Auth``; it works under a plain ``httpx.Client`` too. The refresh
itself is :class:`~connix_provider.client.auth.token_cache.TokenCache`'s, on a connection of its own.
"""

from __future__ import annotations

import asyncio
import copy
import math
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Self

import httpx

from connix_provider.client.auth.base import Auth
from connix_provider.client.auth.checks import check_header_value
from connix_provider.client.auth.token_cache import AccessToken, token_cache_for
from connix_provider.client.auth.token_endpoint import REFRESH_TIMEOUT, TokenEndpoint
from connix_provider.client.errors import ConnixTimeoutError

__all__ = ["DEFAULT_TOKEN_URL", "RefreshingBearerAuth"]

DEFAULT_TOKEN_URL = "https://console.connix.io/oauth2/token"  # noqa: S105 - an address, not a token


class RefreshingBearerAuth(Auth):
    """
    Send a bearer token, and refresh it when it expires or is refused.

    A request is repeated once after a 401; a second 401 is final. All instances of a process that began with
    the same refresh token share its newest tokens. Nothing is written back to the Airflow connection, and no
    other process learns of the new tokens.

    :param refresh_token: the refresh token; without one, ``client_id`` and ``client_secret`` get a token by
        the client credentials grant
    :param access_token: the access token, if there is one yet
    :param client_id: the OAuth2 client
    :param client_secret: its secret; a public client has none
    :param token_url: the address of the token endpoint, http or https; default :data:`DEFAULT_TOKEN_URL`
    :param scope: the scopes to request, separated by spaces; default those of the grant
    :param verify: the certificates of the token endpoint, as for ``httpx.Client``
    :param on_new_secret: called with each new token, so that it can be masked in logs
    :raises ValueError: for a value that cannot be right; it is not quoted
    """

    def __init__(
        self,
        refresh_token: str | None = None,
        *,
        access_token: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        token_url: str | None = None,
        scope: str | None = None,
        verify: ssl.SSLContext | str | bool = True,
        on_new_secret: Callable[[str], None] | None = None,
    ) -> None:
        if refresh_token is not None:
            refresh_token = check_header_value(refresh_token, "refresh token")
        elif not (client_id and client_secret):
            raise ValueError("a refresh_token, or a client_id with its client_secret, must be given")
        access_token = check_header_value(access_token, "access token") if access_token else None
        token_url = DEFAULT_TOKEN_URL if token_url is None else token_url
        self._given = tuple(filter(None, (access_token, refresh_token)))
        self._endpoint = TokenEndpoint(token_url, client_id, client_secret, scope=scope, verify=verify)
        self._on_new_secret = on_new_secret
        self._identity = "\n".join((token_url, client_id or "", scope or "", refresh_token or ""))
        self._cache = token_cache_for(self._identity, refresh_token, access_token)
        #: Shared with the copies that :meth:`until` makes.
        self._reported = set(self._given)
        self._deadline = math.inf

    def secrets(self) -> tuple[str, ...]:
        """Return the tokens, the ones before them, which may still be quoted, and the client's secret."""
        # The given ones may be older than all that the cache remembers.
        known = (*self._cache.secrets(), *self._endpoint.secrets(), *self._cache.previous(), *self._given)
        return tuple(dict.fromkeys(known))

    def identity(self) -> str:
        """Return what the grant began with; later tokens stand for the same grant."""
        return self._identity

    def credentials(self) -> tuple[str | None, ...]:
        """Return the given values, whatever was refreshed since."""
        return (*self._given, *self._endpoint.credentials())

    def until(self, deadline: float) -> Self:
        """Wait for a refresh until a deadline, and send no request after it."""
        bounded = copy.copy(self)
        bounded._deadline = deadline  # noqa: SLF001 - a copy of this object
        return bounded

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token to a request; refresh it when it is due or refused, and then repeat once."""
        used = self._cache.access
        if used.is_due:
            used = self._refresh(used)
        response = yield self._authorize(request, used)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            stream = _take_stream(response)
            assert isinstance(stream, httpx.SyncByteStream)
            stream.close()
            yield self._authorize(request, self._refresh(used))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking the event loop."""
        used = self._cache.access
        if used.is_due:
            used = await self._refresh_async(used)
        response = yield self._authorize(request, used)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            stream = _take_stream(response)
            assert isinstance(stream, httpx.AsyncByteStream)
            await stream.aclose()
            yield self._authorize(request, await self._refresh_async(used))

    def _refresh(self, used: AccessToken) -> AccessToken:
        try:
            self._start_refresh(used).result(self._left())
        except FutureTimeoutError:
            raise _too_late() from None
        except Exception as error:
            # A copy for each caller: the flow adds the call's own particulars.
            raise copy.copy(error) from None
        return self._refreshed()

    async def _refresh_async(self, used: AccessToken) -> AccessToken:
        # A refresh is marked as running, so cancelling this call does not cancel it.
        waiting = asyncio.wrap_future(self._start_refresh(used))
        try:
            async with asyncio.timeout(self._left()):
                await waiting
        except TimeoutError:
            raise _too_late() from None
        except Exception as error:
            raise copy.copy(error) from None
        return self._refreshed()

    def _start_refresh(self, used: AccessToken) -> Future[None]:
        self._check_time()
        secrets = self.secrets()
        return self._cache.refresh(used, lambda token: self._endpoint.fetch(token, secrets))

    def _refreshed(self) -> AccessToken:
        self._check_time()
        return self._cache.access

    def _left(self) -> float:
        return min(self._deadline - time.monotonic(), REFRESH_TIMEOUT)

    def _check_time(self) -> None:
        if self._left() <= 0:
            raise _too_late()

    def _authorize(self, request: httpx.Request, used: AccessToken) -> httpx.Request:
        if self._on_new_secret:
            for secret in self._cache.secrets():
                if secret not in self._reported:
                    self._reported.add(secret)
                    self._on_new_secret(secret)
        request.headers["Authorization"] = f"Bearer {used.value}"
        return request


def _take_stream(response: httpx.Response) -> httpx.SyncByteStream | httpx.AsyncByteStream:
    """Take the unread body away, because httpx reads all of it before it repeats the request."""
    stream, response.stream = response.stream, httpx.ByteStream(b"")
    return stream


def _too_late() -> ConnixTimeoutError:
    return ConnixTimeoutError("no new access token was received before the deadline")
