"""Hold a pool of connections that survives a fork: two processes must not speak on one socket."""

from __future__ import annotations

import os
from collections.abc import Callable

import httpx

__all__ = ["ForkSafePool"]


class ForkSafePool:
    """
    Hold a synchronous httpx client, and in a forked process another.

    :param make: makes the client
    """

    def __init__(self, make: Callable[[], httpx.Client]) -> None:
        self._make = make
        self._inherited: list[httpx.Client] = []
        self._process = os.getpid()
        self._client = make()

    def get(self) -> httpx.Client:
        """
        Return this process's client.

        :return: the client
        """
        if self._process != os.getpid():
            # Kept, not closed: the connections in it are the parent's.
            self._inherited.append(self._client)
            self._process, self._client = os.getpid(), self._make()
        return self._client

    def close(self) -> None:
        """Close the connections of this process."""
        if self._process == os.getpid():
            self._client.close()
