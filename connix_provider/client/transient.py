"""Decide which errors are transient: they may pass by themselves."""

from __future__ import annotations

from connix_provider.client.errors import (
    ConnixAPIError,
    ConnixConnectionError,
    ConnixError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixTimeoutError,
)

__all__ = ["is_transient", "is_transient_status"]

#: Transient statuses besides 5xx: request timeout, too early, rate limit.
_TRANSIENT = frozenset({408, 425, 429})
#: The only 5xx that is final, because the service does not know the method.
_NOT_IMPLEMENTED = 501


def is_transient_status(status_code: int) -> bool:
    """
    Return whether a status is transient.

    :return: true for every 5xx but 501, for 408, 425 and 429
    """
    return status_code in _TRANSIENT or (500 <= status_code <= 599 and status_code != _NOT_IMPLEMENTED)


def is_transient(error: ConnixError) -> bool:
    """
    Return whether an error is transient.

    For a 401, 403 or 404 without Connix's error body this returns false. Its number in a row decides
    (:class:`~connix_provider.client.attempts.gateway_refusals.GatewayRefusals`).

    :return: true for connection errors, timeouts, unreadable responses, 429 and transient statuses
    """
    if isinstance(error, ConnixAPIError):
        return isinstance(error, ConnixRateLimitError) or is_transient_status(error.status_code)
    return isinstance(error, ConnixConnectionError | ConnixTimeoutError | ConnixResponseError)
