"""
Check what became of a request whose response was lost, within the time of the task.

A create and a restart are not idempotent. After a connection that broke, a time-out or a 5xx the service is
asked what it has done before the request is repeated; the checks go on for some seconds, because the request
may still be under way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from connix_provider.client.errors import ConnixAPIError, ConnixError

if TYPE_CHECKING:
    from connix_provider.client import Client

__all__ = ["CHECK_PAUSES", "MAX_ATTEMPTS", "checks", "explained", "seconds_left"]

#: Seconds before each check; together as long as a read replica may lag behind.
CHECK_PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)
#: How often a request is sent whose response is lost each time.
MAX_ATTEMPTS = 5

ErrorT = TypeVar("ErrorT", bound=ConnixError)


def checks(client: Client, pauses: Iterable[float] = CHECK_PAUSES) -> Iterator[int]:
    """
    Pace the checks, and end them at the client's deadline.

    :param client: the client that makes the checks
    :param pauses: seconds before each check
    :return: the number of each check, from 0, when it is due
    """
    for number, pause in enumerate(pauses):
        if pause >= seconds_left(client):
            return
        time.sleep(pause)
        yield number


def seconds_left(client: Client) -> float:
    """
    Return the time until the client's deadline.

    :param client: the client
    :return: seconds, below zero where the deadline has passed
    """
    return client.policy.deadline - time.time()


def explained(error: ErrorT, explanation: str) -> ErrorT:
    """
    Add to an error what follows from it.

    :param error: the error, which keeps its class
    :param explanation: one sentence or two
    :return: the same error
    """
    if isinstance(error, ConnixAPIError):
        error.message = f"{error.message.rstrip('.')}. {explanation}"
    else:
        error.args = (f"{str(error).rstrip('.')}. {explanation}",)
    return error
