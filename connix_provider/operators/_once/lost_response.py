"""
Checks after a lost response, within the time of the task.

A create and a restart are not idempotent. After a broken connection, a timeout or a 5xx the agent is read
before the request is repeated. The checks continue for some seconds, because the service may still be
executing the request.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from connix_provider.client.errors import ConnixAPIError, ConnixError

if TYPE_CHECKING:
    from connix_provider.client import Client

__all__ = ["CHECK_DELAYS", "MAX_ATTEMPTS", "await_retry_after", "checks", "seconds_left", "with_explanation"]

#: Seconds before each check; their sum is the longest lag of a read replica.
CHECK_DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0)
#: Attempts of a request whose response is lost each time.
MAX_ATTEMPTS = 5

ErrorT = TypeVar("ErrorT", bound=ConnixError)


def checks(client: Client, pauses: Iterable[float] = CHECK_DELAYS) -> Iterator[int]:
    """
    Sleep before each check, and end at the client's deadline.

    :param client: the client that makes the checks
    :param pauses: seconds before each check
    :return: yields the number of each check, from 0, when it is due
    """
    for number, pause in enumerate(pauses):
        if pause >= seconds_left(client):
            return
        time.sleep(pause)
        yield number


def seconds_left(client: Client) -> float:
    """
    Return the time until the client's deadline.

    :return: seconds; negative after the deadline
    """
    return client.policy.deadline - time.time()


def await_retry_after(client: Client, error: ConnixError, sent_at: float) -> bool:
    """
    Sleep for the service's hint, if its error response has one.

    :param sent_at: epoch seconds at which the request was sent
    :return: whether another request can be sent before the deadline
    """
    hint = error.retry_after if isinstance(error, ConnixAPIError) else None
    pause = max(0.0, sent_at + (hint or 0.0) - time.time())
    if pause >= min(seconds_left(client), client.policy.total_timeout):
        return False
    time.sleep(pause)
    return True


def with_explanation(error: ErrorT, explanation: str) -> ErrorT:
    """
    Append an explanation to the message of an error.

    :param explanation: one or two sentences
    :return: the same error
    """
    if isinstance(error, ConnixAPIError):
        error.message = f"{error.message.rstrip('.')}. {explanation}"
    else:
        error.args = (f"{str(error).rstrip('.')}. {explanation}",)
    return error
