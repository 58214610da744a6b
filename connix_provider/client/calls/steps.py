"""The steps that a flow yields to its driver, and the outcomes that the driver sends back."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from connix_provider.client.calls.call import Call
from connix_provider.client.errors import ConnixError

__all__ = ["Flow", "Outcome", "Response", "Send", "Sleep"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Send:
    """
    The driver sends one request.

    :param call: the call
    :param request_id: the ``X-Request-ID`` of the request
    :param timeout: seconds for the request, from its start to the end of its response
    """

    call: Call[Any]
    request_id: str
    timeout: float


@dataclasses.dataclass(frozen=True, slots=True)
class Sleep:
    """
    The driver sleeps.

    :param seconds: how long
    """

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """
    A complete response.

    :param status_code: HTTP status
    :param headers: the headers, their names in lower case
    :param body: the body
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)

    @property
    def is_good(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300


Outcome = Response | ConnixError | None
Flow = Generator[Send | Sleep, Outcome, T]
