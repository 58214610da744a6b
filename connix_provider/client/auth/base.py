"""The base class of all credentials: an ``httpx.Auth`` that knows its secrets and its deadline."""

from __future__ import annotations

from typing import Self

import httpx

__all__ = ["Auth"]


class Auth(httpx.Auth):
    """Add credentials to each request, and list the values that no message may show."""

    def secrets(self) -> tuple[str, ...]:
        """
        List the secrets in use.

        :return: keys and tokens
        """
        raise NotImplementedError

    def identity(self) -> str:
        """
        Identify the key, for its rate limits. A refresh of the token does not change it.

        :return: text that differs from key to key; a secret
        """
        return "\n".join(self.secrets())

    def credentials(self) -> tuple[str | None, ...]:
        """
        List the values that the caller gave, so that a changed connection is noticed.

        :return: secrets among other values
        """
        return self.secrets()

    def until(self, deadline: float) -> Self:
        """
        Bound the time for getting credentials, such as a refresh.

        :param deadline: seconds of the monotonic clock, after which no request is sent
        :return: the auth for one call
        """
        return self
