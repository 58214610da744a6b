"""Options and flow of a call, shared by both clients."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from connix_provider.client.attempts.flow import perform
from connix_provider.client.auth import Auth, choose_auth
from connix_provider.client.auth.httpcore_log import hide_secrets_of
from connix_provider.client.calls.call import Call
from connix_provider.client.calls.steps import Flow, Send
from connix_provider.client.known_secrets import KnownSecrets
from connix_provider.client.models import Agent
from connix_provider.client.ratelimit import RateLimiter
from connix_provider.client.ratelimit.registry import check_share, limiter_for
from connix_provider.client.redaction import encoded_forms, redact
from connix_provider.client.retry import RetryPolicy
from connix_provider.client.transport.addresses import complete_url, warn_in_clear
from connix_provider.client.transport.certificates import ssl_context
from connix_provider.client.transport.proxies import check_proxies
from connix_provider.client.transport.request import build_request
from connix_provider.digest import digest, digest_key
from connix_provider.values import quoted

if TYPE_CHECKING:
    import ssl

    import httpx
    from typing_extensions import Unpack

    from connix_provider.client.auth import TokenOptions

__all__ = ["BaseClient"]

T = TypeVar("T")
ClientT = TypeVar("ClientT", bound="BaseClient")


class BaseClient:
    """
    Hold what both clients share: address, credentials, bounds.

    The parameters are those of :class:`Client`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        auth: Auth | None = None,
        timeout: float = 30.0,
        verify: bool | str = True,
        max_attempts: int = 5,
        total_timeout: float = 300.0,
        rate_limit_share: float = 1.0,
        **tokens: Unpack[TokenOptions],
    ) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {quoted(timeout)}")
        share = check_share(rate_limit_share)
        self.base_url = complete_url(base_url)
        self.policy = RetryPolicy(max_attempts=max_attempts, total_timeout=total_timeout)
        certificates = ssl_context(verify)
        self._auth = auth or choose_auth(api_key, base_url=self.base_url, verify=certificates, **tokens)
        warn_in_clear(self.base_url, "API key or token")
        hide_secrets_of(self._auth)
        #: The key of digests that may cover secrets; only a process with the credentials can make it.
        self.digest_key = digest_key(self._auth.credentials())
        #: The limiter of the key, shared with everything else in this process that uses the key.
        self.limiter: RateLimiter = limiter_for(self.base_url, self._auth.identity(), share)
        self._known_secrets = KnownSecrets()
        self._background = False
        self._timeout = float(timeout)
        check_proxies(self.base_url)
        self._open(certificates)
        self._bind()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def with_options(
        self: ClientT,
        *,
        max_attempts: int | None = None,
        total_timeout: float | None = None,
        deadline: float | None = None,
        background: bool | None = None,
        max_permit_wait: float | None = None,
        response_grace: float | None = None,
    ) -> ClientT:
        """
        Make a client with other bounds on the same connections.

        :param max_attempts: how often a call is sent at most
        :param total_timeout: seconds for a call as a whole, retries included; with a deadline alone, all the
            time until then
        :param deadline: epoch seconds after which nothing is sent
        :param background: whether its calls are polls, which are spread over time and leave a reserve
        :param max_permit_wait: seconds; a call that would wait longer for its permit, or after a 429, raises
            :class:`~connix_provider.client.errors.ConnixRateLimitError` at once
        :param response_grace: seconds after the deadline during which the response to an earlier request is
            awaited
        :return: the other client; closing either closes both
        """
        if total_timeout is None and deadline is not None:
            total_timeout = math.inf
        bounds = {
            "max_attempts": max_attempts,
            "total_timeout": total_timeout,
            "deadline": deadline,
            "max_permit_wait": max_permit_wait,
            "response_grace": response_grace,
        }
        given: dict[str, Any] = {name: bound for name, bound in bounds.items() if bound is not None}
        other = copy.copy(self)
        other.policy = dataclasses.replace(self.policy, **given)
        if background is not None:
            other._background = background  # noqa: SLF001 - a copy of this object
        other._bind()  # noqa: SLF001 - a copy of this object
        return other

    def is_like(self, other: BaseClient) -> bool:
        """
        Return whether another client calls the same service with the same credentials.

        :return: true if both get the same responses
        """
        return self.limiter is other.limiter and self._auth.credentials() == other._auth.credentials()

    def server_now(self) -> float:
        """Return the service's time in epoch seconds; that of this machine before the first response."""
        return self.limiter.server_time() or time.time()

    def redact(self, value: Any, more: Iterable[str] = ()) -> Any:
        """
        Hide this client's key and tokens in text of the service.

        :param value: text, or JSON that may hold text anywhere
        :param more: other values to hide
        :return: the value with ``***`` for each secret
        """
        return redact(value, (*self._secrets(), *more))

    def secrets_of_agent(self, agent_id: str | None) -> tuple[str, ...]:
        """Return the secrets of an agent, former ones included, as far as this client knows them."""
        return self._known_secrets.of_agent(agent_id)

    def secrets_digest(self, agent_id: str | None) -> str | None:
        """
        Return a digest of the secrets of an agent that this client knows.

        :return: the digest, with the key of the client; ``None`` if there are none
        """
        secrets = self.secrets_of_agent(agent_id)
        return digest(self.digest_key, *sorted(secrets)) if secrets else None

    def can_hide_secrets(self, agent_id: str | None, earlier_digest: str | None) -> bool:
        """
        Return whether this client knows all secrets of an agent that an earlier process of a task knew.

        That process may have sent secrets that no response shows, or replaced some that are valid elsewhere.

        :param earlier_digest: the :meth:`secrets_digest` of that process, ``None`` if it knew none
        """
        return earlier_digest is None or earlier_digest == self.secrets_digest(agent_id)

    def flow(self, call: Call[T]) -> Flow[T]:
        """
        Return the steps of one call, within this client's bounds.

        :return: its flow, for :meth:`Client.run_flow`; a flow of several calls yields from it
        """
        result = yield from perform(
            call,
            self.policy,
            limiter=self.limiter,
            background=self._background,
            secrets=lambda: (*self._secrets(), *self.secrets_of_agent(call.agent_id)),
            clock=time.monotonic,
            epoch=time.time,
        )
        if isinstance(result, Agent):
            result.set_digest_key(self.digest_key)
            self._known_secrets.add(result, call.secrets)
        return result

    def _secrets(self) -> tuple[str, ...]:
        return tuple(form for secret in self._auth.secrets() for form in encoded_forms(secret))

    def _prepare(self, send: Send) -> tuple[Auth, httpx.Request]:
        """Return the auth of a request and the request."""
        request = build_request(self.base_url, send, timeout=self._timeout)
        return self._auth.until(time.monotonic() + send.timeout), request

    def _open(self, certificates: ssl.SSLContext) -> None:
        """Open the pool of connections."""
        raise NotImplementedError

    def _bind(self) -> None:
        """Bind ``agents`` to this client, because a copy has other bounds."""
        raise NotImplementedError
