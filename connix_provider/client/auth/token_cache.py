"""
Keep the newest tokens of an OAuth2 grant, and refresh them once for all callers of a process.

A service may replace the refresh token with each refresh and refuse the previous one from then on (RFC 6749
section 6). Two rules follow:

- The newest tokens belong to the process, not to a client that is closed some time. All clients that began
  with the same refresh token share one :class:`TokenCache`.
- A response that no caller takes would lose the only valid refresh token. So a refresh runs in a thread of
  its own, which no cancelled call can stop, and stores the tokens itself. Callers only wait for it.

Example: three calls get a 401 for the same access token. The first starts the refresh, the other two wait for
the same :class:`~concurrent.futures.Future`. The first is cancelled; the others get the new token.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future

__all__ = ["AccessToken", "TokenCache", "Tokens", "token_cache_for"]

#: An access token is refreshed this many seconds before it expires, or after nine tenths of a short life.
_EARLY = 30.0
#: Seconds after which another refresh may start beside one whose response never ends.
_LONGEST_REFRESH = 90.0
#: Previous tokens that are still redacted, since a response may quote a request that was sent before.
_MAX_PREVIOUS = 8
#: Of more caches than this, the least recently used is dropped. None is dropped for its age: its refresh
#: token may be the only valid one.
_MAX_CACHES = 256


@dataclasses.dataclass(frozen=True, slots=True)
class Tokens:
    """
    Hold what a token endpoint returned.

    :param access_token: the new access token
    :param refresh_token: the new refresh token, or ``None`` where the previous one stays valid
    :param expires_in: seconds for which the access token is valid
    """

    access_token: str
    refresh_token: str | None = None
    expires_in: float = math.inf


class AccessToken:
    """
    Hold an access token and the time of its refresh.

    :param value: the token, or ``None`` before the first refresh
    :param expires_in: seconds for which it is valid from now on
    """

    __slots__ = ("refresh_at", "value")

    def __init__(self, value: str | None, expires_in: float = math.inf) -> None:
        self.value = value
        #: Seconds of the monotonic clock.
        self.refresh_at = time.monotonic() + expires_in - min(_EARLY, expires_in / 10)

    @property
    def is_due(self) -> bool:
        """Whether a refresh must come before the next request."""
        return self.value is None or time.monotonic() >= self.refresh_at


class TokenCache:
    """
    Hold the newest tokens of one grant; at most one refresh runs at a time.

    :param refresh_token: the first refresh token, or ``None`` for the client credentials grant
    """

    def __init__(self, refresh_token: str | None) -> None:
        self.access = AccessToken(None)
        self.refresh_token = refresh_token
        self._given: deque[str] = deque(maxlen=_MAX_PREVIOUS)
        self._previous: deque[str] = deque(maxlen=_MAX_PREVIOUS)
        self._refresh: Future[None] | None = None
        self._began = 0.0
        # Reentrant, because a signal handler may run while this thread holds the lock.
        self._lock = threading.RLock()

    def secrets(self) -> tuple[str, ...]:
        """
        List the newest tokens.

        :return: the access token, if there is one, and the refresh token
        """
        return tuple(filter(None, (self.access.value, self.refresh_token)))

    def previous(self) -> tuple[str, ...]:
        """
        List the last replaced tokens.

        :return: access and refresh tokens
        """
        return tuple(self._previous)

    def offer(self, access_token: str) -> None:
        """
        Use an access token that a caller has, unless the same token was offered before.

        :param access_token: the token that a connection holds beside the refresh token
        """
        with self._lock:
            if access_token not in self._given:
                self._given.append(access_token)
                self._replace(AccessToken(access_token))

    def refresh(self, used: AccessToken, fetch: Callable[[str | None], Tokens]) -> Future[None]:
        """
        Replace an access token: start a refresh, or join the one that is running.

        :param used: the token that is due or was refused
        :param fetch: requests tokens with a refresh token; it runs in a thread of its own
        :return: done when :attr:`access` is another token, or failed with the error of ``fetch``
        """
        with self._lock:
            if self._refresh is not None and time.monotonic() - self._began < _LONGEST_REFRESH:
                return self._refresh
            future: Future[None] = Future()
            future.set_running_or_notify_cancel()
            if self.access is not used:
                future.set_result(None)
                return future
            self._refresh, self._began = future, time.monotonic()
        threading.Thread(
            target=self._run, args=(future, fetch), daemon=True, name="connix-token-refresh"
        ).start()
        return future

    def after_fork(self) -> None:
        """Forget a refresh of the parent process: its thread does not exist in the child."""
        self._lock = threading.RLock()
        self._refresh = None

    def _run(self, future: Future[None], fetch: Callable[[str | None], Tokens]) -> None:
        error: BaseException | None = None
        try:
            tokens = fetch(self.refresh_token)
        except BaseException as caught:
            error = caught
        with self._lock:
            if error is None:
                if tokens.refresh_token and self.refresh_token:
                    self._previous.append(self.refresh_token)
                self.refresh_token = tokens.refresh_token or self.refresh_token
                self._replace(AccessToken(tokens.access_token, tokens.expires_in))
            if self._refresh is future:
                self._refresh = None
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def _replace(self, access: AccessToken) -> None:
        if self.access.value:
            self._previous.append(self.access.value)
        self.access = access


_caches: OrderedDict[bytes, TokenCache] = OrderedDict()
_salt = secrets.token_bytes(32)
# Reentrant for signal handlers, as above.
_lock = threading.RLock()


def token_cache_for(identity: str, refresh_token: str | None, access_token: str | None) -> TokenCache:
    """
    Find the cache that this process shares for a grant.

    It is found by a salted digest, so the key of the table is no secret.

    :param identity: what identifies the grant: token endpoint, client, scope and first refresh token
    :param refresh_token: the first refresh token
    :param access_token: an access token that the caller has beside it
    """
    digest = hashlib.blake2b(identity.encode(), key=_salt, digest_size=16).digest()
    with _lock:
        cache = _caches.setdefault(digest, TokenCache(refresh_token))
        _caches.move_to_end(digest)
        if len(_caches) > _MAX_CACHES:
            _caches.popitem(last=False)
        if access_token:
            cache.offer(access_token)
        return cache


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    for cache in tuple(_caches.values()):
        cache.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
