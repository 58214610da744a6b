"""Hold a call as data: nothing here knows which calls there are, and nothing sends one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Generic, TypeVar

from connix_provider.client.errors import ConnixError
from connix_provider.client.models import Agent
from connix_provider.client.ratelimit import Bucket

__all__ = ["Call", "Proof"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Proof(Generic[T]):
    """
    Say how to tell that a call whose answer was lost had been carried out, when its repeat is refused.

    :param refused: whether an error is the refusal that makes it worth looking
    :param look: the call that shows the agent, or ``None`` where the refusal says it all
    :param settle: reads the result off the agent, or returns ``None`` where it proves nothing
    """

    refused: Callable[[ConnixError], bool]
    look: Call[Agent] | None
    settle: Callable[[Agent | None], T | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    Hold one call.

    :param method: HTTP method
    :param path: path below the base URL, quoted
    :param bucket: the rate limit that the call counts against
    :param read: turns the body of a good answer into the result
    :param query: encoded query string, without the question mark
    :param body: JSON body
    :param repeatable: whether sending it again is safe when nobody knows if the first was carried out
    :param proof: how a refused repeat is checked against the agent
    :param when_empty: the call that shows the result where a good answer is empty
    :param secrets: values in the body that no message may show
    :param project_id: the project it names, for its errors
    :param agent_id: the agent it names, for its errors
    """

    method: str
    path: str
    bucket: Bucket
    read: Callable[[bytes], T]
    query: str = ""
    body: bytes | None = dataclasses.field(default=None, repr=False)
    repeatable: bool = True
    proof: Proof[T] | None = None
    when_empty: Call[T] | None = None
    secrets: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    project_id: str | None = None
    agent_id: str | None = None
