"""API keys, and access tokens with the refresh token grant of RFC 6749 section 6."""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from connix_provider.emulator import errors
from connix_provider.emulator.clock import Clock

SCOPES: Final = ("read", "write")


@dataclass(frozen=True)
class Caller:
    """
    Describe the owner of a valid key or token.

    :param owner: the key of the rate limits; a refreshed token keeps it.
    :param user_id: what an agent's ``created_by`` shows.
    :param scopes: ``read`` allows GET, ``write`` everything else.
    :param projects: the projects it may see; ``None``: all.
    """

    owner: str = field(repr=False)
    user_id: str
    scopes: frozenset[str]
    projects: frozenset[str] | None = None


@dataclass(frozen=True)
class OAuthGrant:
    """
    Hold the credentials of an authorized OAuth2 client.

    :param access_token: for ``Authorization: Bearer``.
    :param refresh_token: for the token endpoint; each use replaces it.
    :param client_id: the client's public name.
    :param client_secret: the client's password at the token endpoint.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(eq=False)
class TokenError(Exception):
    """Raised when the token endpoint refuses a request, with the fields of RFC 6749 section 5.2."""

    error: str
    description: str


@dataclass(frozen=True)
class IssuedTokens:
    """Hold the fields of the token endpoint's response; ``expires_in`` is in seconds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    scope: str


@dataclass(frozen=True)
class _Client:
    client_id: str
    client_secret: str
    caller: Caller
    expires_in: int


class Keyring:
    """Keep keys and tokens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._keys: dict[str, Caller] = {}
        self._access: dict[str, tuple[Caller, int]] = {}
        self._refresh: dict[str, _Client] = {}
        self._clients: dict[str, _Client] = {}

    def add_key(
        self, scopes: Iterable[str] = SCOPES, projects: Iterable[str] | None = None, key: str | None = None
    ) -> str:
        """Accept a key from now on, by default a random one of the documented shape, and return it."""
        key = key or f"cx_{secrets.token_hex(16)}"
        with self._lock:
            self._keys[key] = _caller(scopes, projects)
        return key

    def revoke_key(self, key: str) -> None:
        """Refuse a key from now on."""
        with self._lock:
            del self._keys[key]

    def add_token(
        self, expires_in: int, scopes: Iterable[str], projects: Iterable[str] | None = None
    ) -> OAuthGrant:
        """Authorize a new client and return its credentials."""
        client = _Client(
            f"client_{secrets.token_hex(8)}", secrets.token_hex(16), _caller(scopes, projects), expires_in
        )
        with self._lock:
            self._clients[client.client_id] = client
            issued = self._issue(client, client.caller)
        return OAuthGrant(issued.access_token, issued.refresh_token, client.client_id, client.client_secret)

    def revoke_token(self, access_token: str) -> None:
        """Refuse an access token from now on; its refresh token stays valid."""
        with self._lock:
            del self._access[access_token]

    def identify(self, api_key: str | None, bearer: str | None) -> Caller:
        """Return the owner of a key or token. A key, where there is one, decides alone."""
        with self._lock:
            if api_key is not None:
                caller = self._keys.get(api_key)
            else:
                caller, expires = self._access.get(bearer or "", (None, 0))
                if self._clock.micros() >= expires:
                    caller = None
        if caller is None:
            raise errors.unauthorized()
        return caller

    def refresh(
        self, client_id: str | None, client_secret: str | None, refresh_token: str, scope: str | None
    ) -> IssuedTokens:
        """Exchange a refresh token, which is used up, for new tokens; ``scope`` may narrow the new one's."""
        with self._lock:
            client = self._clients.get(client_id or "")
            is_right = client is not None and hmac.compare_digest(
                client.client_secret.encode(), (client_secret or "").encode(errors="surrogatepass")
            )
            if client is None or not is_right:
                raise TokenError("invalid_client", "Client authentication failed")
            if self._refresh.get(refresh_token) is not client:
                raise TokenError("invalid_grant", "The refresh token is invalid, used or another client's")
            caller = client.caller
            if scope is not None:
                wanted = frozenset(scope.split(" "))
                if not wanted <= caller.scopes:
                    raise TokenError("invalid_scope", "The scope exceeds what was granted")
                caller = replace(caller, scopes=wanted)
            del self._refresh[refresh_token]
            return self._issue(client, caller)

    def _issue(self, client: _Client, caller: Caller) -> IssuedTokens:
        issued = IssuedTokens(
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(32),
            client.expires_in,
            " ".join(sorted(caller.scopes)),
        )
        self._access[issued.access_token] = (caller, self._clock.micros() + client.expires_in * 1_000_000)
        self._refresh[issued.refresh_token] = client
        return issued


def _caller(scopes: Iterable[str], projects: Iterable[str] | None) -> Caller:
    granted = frozenset(scopes)
    if not granted <= set(SCOPES):
        raise ValueError(f"scopes are {SCOPES}, not {sorted(granted)}")
    visible = None if projects is None else frozenset(projects)
    return Caller(f"owner_{secrets.token_hex(8)}", f"user_{secrets.token_hex(8)}", granted, visible)
