"""Name what a flow asks of its driver, and what it is given back."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from connix_provider.client.call import Call
from connix_provider.client.errors import ConnixError

__all__ = ["Flow", "Outcome", "Pause", "Reply", "Send"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Send:
    """
    Ask the driver to send one request.

    :param call: the call
    :param request_id: the ``X-Request-ID`` to send
    :param timeout: seconds for this request as a whole
    """

    call: Call[Any]
    request_id: str
    timeout: float


@dataclasses.dataclass(frozen=True, slots=True)
class Pause:
    """
    Ask the driver to wait.

    :param seconds: how long
    """

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """
    Hold an answer: status, headers (their names in lower case) and the whole body.

    :param status_code: HTTP status
    :param headers: the answer's headers
    :param body: the body
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)

    @property
    def is_good(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status_code < 300


Outcome = Reply | ConnixError | None
Flow = Generator[Send | Pause, Outcome, T]
