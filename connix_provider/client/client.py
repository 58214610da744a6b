"""
Drive the flow of a call: two thin clients, one synchronous and one asynchronous.

All decisions are made in :mod:`connix_provider.client.attempts.flow`; a client sends requests and sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import math
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

import httpx

from connix_provider.client.agents import Agents, AsyncAgents
from connix_provider.client.attempts.flow import perform
from connix_provider.client.auth import Auth, choose_auth
from connix_provider.client.auth.httpcore_log import hide_secrets_of
from connix_provider.client.calls.call import Call
from connix_provider.client.calls.steps import Flow, Outcome, Send, Sleep
from connix_provider.client.errors import ConnixError
from connix_provider.client.ratelimit import RateLimiter
from connix_provider.client.ratelimit.registry import check_share, limiter_for
from connix_provider.client.redaction import redact
from connix_provider.client.responses.failures import too_slow
from connix_provider.client.retry import RetryPolicy
from connix_provider.client.transport.addresses import complete_url, warn_in_clear
from connix_provider.client.transport.certificates import ssl_context
from connix_provider.client.transport.exchange import ASYNC_HOOKS, HOOKS, exchange, exchange_async
from connix_provider.client.transport.httpx_errors import translate
from connix_provider.client.transport.pool import AsyncPool, ForkSafePool
from connix_provider.client.transport.proxies import check_proxies
from connix_provider.client.transport.request import build_request

__all__ = ["AsyncClient", "Client"]

T = TypeVar("T")
ClientT = TypeVar("ClientT", bound="_Base")


class _Base:
    """
    Hold what both clients share: address, proof, bounds.

    The parameters are those of :class:`Client`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        access_token: str | None = None,
        refresh_token: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        token_url: str | None = None,
        scope: str | None = None,
        on_new_secret: Callable[[str], None] | None = None,
        auth: Auth | None = None,
        timeout: float = 30.0,
        verify: bool | str = True,
        max_attempts: int = 5,
        total_timeout: float = 300.0,
        rate_limit_share: float = 1.0,
    ) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
        share = check_share(rate_limit_share)
        self.base_url = complete_url(base_url)
        self.policy = RetryPolicy(max_attempts=max_attempts, total_timeout=total_timeout)
        certificates = ssl_context(verify)
        self._auth = auth or choose_auth(
            api_key,
            access_token=access_token,
            refresh_token=refresh_token,
            client_id=client_id,
            client_secret=client_secret,
            token_url=token_url,
            scope=scope,
            verify=certificates,
            on_new_secret=on_new_secret,
            base_url=self.base_url,
        )
        warn_in_clear(self.base_url, "API key or token")
        hide_secrets_of(self._auth)
        #: The limiter of the key, shared with everything else in this process that uses the key.
        self.limiter: RateLimiter = limiter_for(self.base_url, self._auth.identity(), share)
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
        longest_pause: float | None = None,
        response_grace: float | None = None,
    ) -> ClientT:
        """
        Make a client with other bounds on the same connections.

        :param max_attempts: how often a call is sent at most
        :param total_timeout: seconds for a call as a whole, retries included; with a deadline alone, all the
            time until then
        :param deadline: epoch seconds after which nothing is sent
        :param background: whether its calls are polling, which is spread over time and makes way for others
        :param longest_pause: seconds; a call that would wait longer for its permit, or after a refusal for
            the rate limit, raises :class:`~connix_provider.client.errors.ConnixRateLimitError` at once
        :param response_grace: seconds after the end of the time allowed for which the response to a request
            that was sent before it is still awaited
        :return: the other client; closing either closes both
        """
        if total_timeout is None:
            total_timeout = self.policy.total_timeout if deadline is None else math.inf
        other = copy.copy(self)
        other.policy = dataclasses.replace(
            self.policy,
            max_attempts=self.policy.max_attempts if max_attempts is None else max_attempts,
            total_timeout=total_timeout,
            deadline=self.policy.deadline if deadline is None else deadline,
            longest_pause=self.policy.longest_pause if longest_pause is None else longest_pause,
            response_grace=self.policy.response_grace if response_grace is None else response_grace,
        )
        other._background = self._background if background is None else background  # noqa: SLF001 - one of us
        other._bind()  # noqa: SLF001 - it is one of us
        return other

    def is_like(self, other: _Base) -> bool:
        """
        Tell whether another client asks the same service in the same name, by the same proof.

        :param other: the other client
        :return: true where neither would be answered what the other would not
        """
        return self.limiter is other.limiter and self._auth.credentials() == other._auth.credentials()

    def redact(self, value: Any, more: Iterable[str] = ()) -> Any:
        """
        Hide this client's key and tokens in what the service says.

        :param value: text, or JSON that may hold text anywhere
        :param more: other values to hide
        :return: the same with ``***`` for each
        """
        return redact(value, (*self._auth.secrets(), *more))

    def flow(self, call: Call[T]) -> Flow[T]:
        """
        Make the steps that carry one call out, within this client's bounds.

        :param call: the call
        :return: its steps, for :meth:`Client.drive`; a flow of several calls has them among its own
        """
        return perform(
            call,
            self.policy,
            limiter=self.limiter,
            background=self._background,
            secrets=self._auth.secrets,
            clock=time.monotonic,
            epoch=time.time,
        )

    def _open(self, certificates: ssl.SSLContext) -> None:
        """Open the pool of connections."""
        raise NotImplementedError

    def _bind(self) -> None:
        """Offer the calls through this very client and its bounds."""
        raise NotImplementedError


class Client(_Base):
    """
    Call Connix from synchronous code.

    One client holds one pool of connections; close it, or use it in a ``with`` block. It may be shared by
    threads.

    :param api_key: the API key; without one and without a token, ``CONNIX_API_KEY`` is read, for the default
        host only
    :param base_url: the address of the API; default ``https://api.connix.io/api/v1``, and a URL without a
        path gets ``/api/v1``
    :param access_token: an OAuth2 access token, instead of a key
    :param refresh_token: an OAuth2 refresh token, which gets new access tokens
    :param client_id: the OAuth2 client; with its secret and without any token, the client credentials grant
        gets the access tokens
    :param client_secret: its secret
    :param token_url: the token endpoint; default ``https://console.connix.io/oauth2/token``
    :param scope: the OAuth2 scopes to request, separated by spaces; default those of the grant
    :param on_new_secret: called with each refreshed token, so that it can be masked in logs
    :param auth: a ready auth, instead of all of these
    :param timeout: seconds to wait for the service to go on with a response, default 30. A response whose
        headers come byte by byte is bounded by this alone; an :class:`AsyncClient` bounds it as a whole
    :param verify: ``False`` not to check certificates, or the path of a CA bundle
    :param max_attempts: how often a call is sent at most, default 5
    :param total_timeout: seconds for a call as a whole, retries included, default 300
    :param rate_limit_share: the part of the key's limits that this process keeps to, more than 0 and at most
        1, the default; less than 1 where others need the same key
    :raises ValueError: for a parameter that cannot be right, or such a setting of proxies or certificates in
        the environment
    """

    agents: Agents

    def _open(self, certificates: ssl.SSLContext) -> None:
        self._pool = ForkSafePool(lambda: httpx.Client(verify=certificates, event_hooks=HOOKS))

    @property
    def _http(self) -> httpx.Client:
        return self._pool.get()

    def _bind(self) -> None:
        self.agents = Agents(self)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def perform(self, call: Call[T]) -> T:
        """
        Carry out one call.

        :param call: the call
        :return: its result
        :raises ConnixError: when it fails for good
        """
        return self.drive(self.flow(call))

    def drive(self, steps: Flow[T]) -> T:
        """
        Take the steps of a flow: send what is to be sent, and sleep.

        :param steps: the flow
        :return: its result
        :raises ConnixError: where the flow fails
        """
        outcome: Outcome = None
        # Closed in any case: a call that is broken off gives its place in the limiter's queue up.
        with contextlib.closing(steps) as flow:
            while True:
                try:
                    step = flow.send(outcome)
                except StopIteration as end:
                    result: T = end.value
                    return result
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                    outcome = None
                else:
                    outcome = self._send(step)

    def _send(self, send: Send) -> Outcome:
        try:
            request = build_request(self.base_url, send, timeout=self._timeout)
            auth = self._auth.until(time.monotonic() + send.timeout)
            return exchange(self._http, auth, request, send.timeout)
        except TimeoutError:
            return too_slow(send.call, send.timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return translate(error, send)
        except ConnixError as error:  # no token could be had
            return error


class AsyncClient(_Base):
    """
    Call Connix from asynchronous code.

    One client belongs to one event loop; close it, or use it in an ``async with`` block. The parameters
    are those of :class:`Client`.
    """

    agents: AsyncAgents

    def _open(self, certificates: ssl.SSLContext) -> None:
        self._pool = AsyncPool(lambda: httpx.AsyncClient(verify=certificates, event_hooks=ASYNC_HOOKS))

    @property
    def _http(self) -> httpx.AsyncClient:
        return self._pool.client

    def _bind(self) -> None:
        self.agents = AsyncAgents(self)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    close = aclose

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def perform(self, call: Call[T]) -> T:
        """
        Carry out one call.

        :param call: the call
        :return: its result
        :raises ConnixError: when it fails for good
        """
        return await self.drive(self.flow(call))

    async def drive(self, steps: Flow[T]) -> T:
        """
        Take the steps of a flow: send what is to be sent, and sleep.

        :param steps: the flow
        :return: its result
        :raises ConnixError: where the flow fails
        """
        outcome: Outcome = None
        with contextlib.closing(steps) as flow:
            while True:
                try:
                    step = flow.send(outcome)
                except StopIteration as end:
                    result: T = end.value
                    return result
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                    outcome = None
                else:
                    outcome = await self._send(step)

    async def _send(self, send: Send) -> Outcome:
        try:
            request = build_request(self.base_url, send, timeout=self._timeout)
            auth = self._auth.until(time.monotonic() + send.timeout)
            async with self._pool.use() as http:
                return await exchange_async(http, auth, request, send.timeout)
        except TimeoutError:
            return too_slow(send.call, send.timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return translate(error, send)
        except ConnixError as error:  # no token could be had
            return error
