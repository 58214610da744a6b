"""
Prove to Connix who is asking: API key, bearer token, or a bearer token that renews itself.

The reference ("Authentication") knows ``X-API-Key`` and ``Authorization: Bearer``. Its documented grant is
the authorization code, so a machine holds an access token and perhaps a refresh token, which is renewed by
RFC 6749 section 6.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, Callable, Generator

import httpx

from connix_provider.client.addresses import is_default_host
from connix_provider.client.credentials import usable
from connix_provider.client.failures import out_of_time
from connix_provider.client.grant import AccessToken
from connix_provider.client.punctual import time_left, until
from connix_provider.client.registry import grant_for
from connix_provider.client.renewals import Renewals
from connix_provider.client.tokens import TokenEndpoint

__all__ = ["DEFAULT_TOKEN_URL", "ApiKeyAuth", "Auth", "BearerAuth", "RefreshingBearerAuth", "choose_auth"]

DEFAULT_TOKEN_URL = "https://console.connix.io/oauth2/token"  # noqa: S105 - an address, not a token
API_KEY_VARIABLE = "CONNIX_API_KEY"

_USUAL_KEY = re.compile(r"cx_[0-9a-fA-F]{32}")

log = logging.getLogger(__name__)


class Auth(httpx.Auth):
    """Prove who is asking, and know which values no message may show."""

    def secrets(self) -> tuple[str, ...]:
        """
        List the secrets in use at this moment.

        :return: keys and tokens
        """
        raise NotImplementedError

    def identity(self) -> str:
        """
        Tell one key from another, for their budgets; it stays the same when tokens are renewed.

        :return: what the service counts by, as far as it is known; a secret
        """
        return "\n".join(self.secrets())

    def credentials(self) -> tuple[str | None, ...]:
        """
        List what it was made from, to tell whether somebody has changed it.

        :return: secrets among other things
        """
        return self.secrets()


class ApiKeyAuth(Auth):
    """
    Send an API key in ``X-API-Key``.

    :param api_key: the key; white space around it, as pasting leaves it, is dropped
    :raises ValueError: for a key that cannot be one; the key is not shown
    """

    def __init__(self, api_key: str) -> None:
        self._key = usable(api_key, "API key")
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
    Send a bearer token that somebody else keeps fresh.

    :param access_token: the token
    :raises ValueError: for a token that cannot be one; the token is not shown
    """

    def __init__(self, access_token: str) -> None:
        self._token = usable(access_token, "access token")

    def secrets(self) -> tuple[str, ...]:
        """Return the token."""
        return (self._token,)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token to a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class RefreshingBearerAuth(Auth):
    """
    Send a bearer token and renew it when it expires or is refused (RFC 6749 section 6).

    All that begin with the same refresh token share its newest tokens in this process, and one renewal runs
    at a time: whoever meets a 401 while another renews waits and uses the new token. What a renewal brings is
    taken also where the call that began it has ended meanwhile. A request is repeated once after a renewal; a
    second 401 is final. Nothing is written back to the Airflow connection, and no other process learns of it.

    :param refresh_token: the refresh token
    :param access_token: the access token, if there is one yet
    :param client_id: the OAuth2 client
    :param client_secret: its secret; without one the client is a public one
    :param token_url: the token endpoint, http or https
    :param on_new_secret: called with each renewed token, so that it can be masked in logs
    """

    def __init__(
        self,
        refresh_token: str,
        *,
        access_token: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        token_url: str = DEFAULT_TOKEN_URL,
        on_new_secret: Callable[[str], None] | None = None,
    ) -> None:
        refresh_token = usable(refresh_token, "refresh token")
        access_token = usable(access_token, "access token") if access_token else None
        self._given = tuple(filter(None, (access_token, refresh_token)))
        self._endpoint = TokenEndpoint(token_url, client_id, client_secret)
        self._on_new_secret = on_new_secret
        self._identity = "\n".join((token_url, client_id or "", refresh_token))
        self._grant = grant_for(self._identity, refresh_token, access_token)
        self._told: AccessToken | None = None
        #: Of the tasks that share this object, one at a time asks for the grant's turn.
        self._async_lock = asyncio.Lock()

    def secrets(self) -> tuple[str, ...]:
        """Return the tokens, those before them that may still be on their way, and the client's secret."""
        # What was given may be older than all that the grant remembers.
        known = (*self._grant.in_use(), *self._endpoint.secrets(), *self._grant.former(), *self._given)
        return tuple(dict.fromkeys(known))

    def identity(self) -> str:
        """Return what the first of the tokens was: all that follow stand for the same grant."""
        return self._identity

    def credentials(self) -> tuple[str | None, ...]:
        """Return what was given, whatever has been renewed since."""
        return (*self._given, self._endpoint.client_id, self._endpoint.client_secret, self._endpoint.url)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token to a request; renew it where it expired or is refused, and then repeat once."""
        used = self._grant.access
        if used.is_due:
            yield from self._renew(used, request)
            used = self._grant.access
        response = yield self._authorized(request, used)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            # To its end: a wait for one's turn holds no connection.
            response.read()
            yield from self._renew(used, request)
            yield self._authorized(request, self._grant.access)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking the event loop, for a request of an :class:`AsyncClient`."""
        used = self._grant.access
        if used.is_due:
            await self._renew_async(used, request)
            used = self._grant.access
        response = yield self._authorized(request, used)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            # The renewal may need this connection.
            await response.aread()
            await self._renew_async(used, request)
            yield self._authorized(request, self._grant.access)

    def _renew(
        self, used: AccessToken, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        with self._grant.turn(time_left(request.extensions["deadline"])):
            # Whoever had the turn before may have renewed already.
            if self._grant.access is used:
                _refuse_late(request)
                wanted = self._token_request(request)
                with until(wanted.extensions["deadline"]):
                    response = yield wanted
                    response.read()
                self._adopt(response)
        _refuse_late(request)

    async def _renew_async(self, used: AccessToken, request: httpx.Request) -> None:
        renewals: Renewals = request.extensions["renewals"]

        async def renew() -> None:
            async with self._async_lock, self._grant.turn_async():
                if self._grant.access is used:
                    _refuse_late(request)
                    self._adopt(await renewals.answer(self._token_request(request)))

        await renewals.carry_out(renew, request)

    def _authorized(self, request: httpx.Request, used: AccessToken) -> httpx.Request:
        if used is not self._told:
            self._tell_new_secrets()
            self._told = used
        request.headers["Authorization"] = f"Bearer {used.value}"
        return request

    def _tell_new_secrets(self) -> None:
        """Tell what is in use and was not given, whoever renewed it."""
        if self._on_new_secret:
            for secret in self._grant.in_use():
                if secret not in self._given:
                    self._on_new_secret(secret)

    def _token_request(self, request: httpx.Request) -> httpx.Request:
        return self._endpoint.request(self._grant.refresh_token, request)

    def _adopt(self, response: httpx.Response) -> None:
        """Take the new tokens over, or say why there are none."""
        self._grant.renewed(*self._endpoint.tokens(response, self.secrets()))


def _refuse_late(request: httpx.Request) -> None:
    """Begin nothing for a call whose time is over."""
    if not time_left(request.extensions["deadline"]):
        raise out_of_time(request.extensions["send"].call)


def choose_auth(
    api_key: str | None = None,
    *,
    access_token: str | None = None,
    refresh_token: str | None = None,
    client_id: str | None = None,
    client_secret: str | None = None,
    token_url: str | None = None,
    on_new_secret: Callable[[str], None] | None = None,
    base_url: str | None = None,
) -> Auth:
    """
    Choose how to prove who is asking from what is there: key, refresh token, access token, environment.

    :param api_key: an API key
    :param access_token: an OAuth2 access token
    :param refresh_token: an OAuth2 refresh token
    :param client_id: the OAuth2 client, for the refresh token
    :param client_secret: its secret
    :param token_url: the token endpoint
    :param on_new_secret: called with each renewed token
    :param base_url: the service's address, or ``None`` for the default; the environment's key is sent to the
        default host only
    :return: the proof
    :raises ValueError: where there is nothing to prove it with, or a value that cannot be right
    """
    if api_key:
        return ApiKeyAuth(api_key)
    if refresh_token:
        return RefreshingBearerAuth(
            refresh_token,
            access_token=access_token,
            client_id=client_id,
            client_secret=client_secret,
            token_url=token_url or DEFAULT_TOKEN_URL,
            on_new_secret=on_new_secret,
        )
    if access_token:
        return BearerAuth(access_token)
    if from_environment := os.environ.get(API_KEY_VARIABLE):
        if is_default_host(base_url):
            return ApiKeyAuth(from_environment)
        raise ValueError(
            f"there is no Connix API key for this host: {API_KEY_VARIABLE} is sent to "
            "https://api.connix.io only; give the key itself (in Airflow: the connection's password)"
        )
    raise ValueError(
        "there is no Connix API key: give one (in Airflow: the connection's password), or an access_token "
        f"or refresh_token, or set {API_KEY_VARIABLE}"
    )
