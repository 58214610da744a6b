"""A call as data: one endpoint with its arguments. :mod:`connix_provider.client.endpoints` makes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Generic, TypeVar

from connix_provider.client.errors import ConnixError
from connix_provider.client.models import Agent
from connix_provider.client.ratelimit import Bucket

__all__ = ["Call", "RepeatCheck"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class RepeatCheck(Generic[T]):
    """
    How to find out that a lost request was executed, when its repeat is refused.

    The repeat of a delete meets 404, for example, because the first delete was executed.

    :param is_refusal: whether an error is such a refusal
    :param get: the call that reads the agent, or ``None`` if the refusal itself proves it
    :param result_of: makes the result from the agent, or returns ``None`` if the agent proves nothing
    """

    is_refusal: Callable[[ConnixError], bool]
    get: Call[Agent] | None
    result_of: Callable[[Agent | None], T | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    One call.

    :param path: quoted path below the base URL
    :param bucket: the rate limit that counts the call
    :param read: makes the result from the body of a successful response
    :param query: encoded query string, without the question mark
    :param body: JSON body
    :param idempotent: whether the request is safe to send twice
    :param repeat_check: how to check a repeat that is refused
    :param when_empty: the call that reads the result if a successful response has no body
    :param secrets: values of the body that no message may show
    :param project_id: the project, for errors
    :param agent_id: the agent, for errors
    """

    method: str
    path: str
    bucket: Bucket
    read: Callable[[bytes], T]
    query: str = ""
    body: bytes | None = dataclasses.field(default=None, repr=False)
    idempotent: bool = True
    repeat_check: RepeatCheck[T] | None = None
    when_empty: Call[T] | None = None
    secrets: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    project_id: str | None = None
    agent_id: str | None = None
