"""
Drive the flow of a call: two thin clients, one synchronous and one asynchronous.

All decisions are made in :mod:`connix_provider.client.attempts.flow`; a client sends requests and sleeps.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Self, TypeVar

import httpx

from connix_provider.client.agents import Agents, AsyncAgents
from connix_provider.client.base import BaseClient
from connix_provider.client.calls.call import Call
from connix_provider.client.calls.steps import Flow, FlowRunner, Send, Sleep, StepResult
from connix_provider.client.transport.exchange import ASYNC_HOOKS, HOOKS, exchange, exchange_async
from connix_provider.client.transport.httpx_errors import FAILURES, translate
from connix_provider.client.transport.pool import AsyncPool, ForkSafePool

__all__ = ["AsyncClient", "Client"]

T = TypeVar("T")


class Client(BaseClient):
    """
    Call Connix from synchronous code.

    One client holds one pool of connections; close it, or use it in a ``with`` block. It may be shared by
    threads.

    :param api_key: the API key; without one and without a token, ``CONNIX_API_KEY`` is read, for the default
        host only
    :param base_url: the address of the API; default ``https://api.connix.io/api/v1``, and a URL without a
        path gets ``/api/v1``
    :param auth: the auth to use, instead of key and tokens
    :param timeout: seconds to wait for the next bytes of a response, default 30. A response whose headers
        come byte by byte is bounded by this alone; an :class:`AsyncClient` bounds it as a whole
    :param verify: ``False`` not to check certificates, or the path of a CA bundle
    :param max_attempts: how often a call is sent at most, default 5
    :param total_timeout: seconds for a call as a whole, retries included, default 300
    :param rate_limit_share: the part of the key's limits that this process keeps to, more than 0 and at most
        1, the default; less than 1 if other programs use the same key
    :param access_token: an OAuth2 access token, instead of a key
    :param refresh_token: an OAuth2 refresh token, which gets new access tokens
    :param client_id: the OAuth2 client; with its secret and without any token, the client credentials grant
        gets the access tokens
    :param client_secret: its secret
    :param token_url: the token endpoint; default ``https://console.connix.io/oauth2/token``
    :param scope: the OAuth2 scopes to request, separated by spaces; default those of the grant
    :param on_new_secret: called with each refreshed token, so that it can be masked in logs
    :raises ValueError: for an invalid parameter, or an invalid setting of proxies or certificates in the
        environment
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
        :raises ConnixError: the error of the last attempt
        """
        return self.run_flow(self.flow(call))

    def run_flow(self, steps: Flow[T]) -> T:
        """
        Carry out the steps of a flow: send its requests, and sleep.

        :param steps: the flow
        :return: its result
        :raises ConnixError: if the flow fails
        """
        outcome: StepResult = None
        with FlowRunner(steps) as runner:
            while step := runner.next_step(outcome):
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                    outcome = None
                else:
                    outcome = self._send(step)
        return runner.result

    def _send(self, send: Send) -> StepResult:
        try:
            return exchange(self._http, *self._prepare(send), send.timeout)
        except FAILURES as error:
            return translate(error, send)


class AsyncClient(BaseClient):
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
        :raises ConnixError: the error of the last attempt
        """
        return await self.run_flow(self.flow(call))

    async def run_flow(self, steps: Flow[T]) -> T:
        """
        Carry out the steps of a flow: send its requests, and sleep.

        :param steps: the flow
        :return: its result
        :raises ConnixError: if the flow fails
        """
        outcome: StepResult = None
        with FlowRunner(steps) as runner:
            while step := runner.next_step(outcome):
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                    outcome = None
                else:
                    outcome = await self._send(step)
        return runner.result

    async def _send(self, send: Send) -> StepResult:
        try:
            async with self._pool.use() as http:
                return await exchange_async(http, *self._prepare(send), send.timeout)
        except FAILURES as error:
            return translate(error, send)
