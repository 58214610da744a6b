"""The steps that a flow yields to its driver, and the outcomes that the driver sends back."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from typing import Any, Generic, TypeVar

from connix_provider.client.calls.call import Call
from connix_provider.client.errors import ConnixError

__all__ = ["Flow", "FlowRunner", "Response", "Send", "Sleep", "StepResult"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Send:
    """
    The driver sends one request.

    :param timeout: seconds from the start of the request to the end of its response
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

    :param headers: the headers, their names in lower case
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300


StepResult = Response | ConnixError | None
Flow = Generator[Send | Sleep, StepResult, T]


class FlowRunner(Generic[T]):
    """Step through a flow; closing it, at the end of the ``with`` block, leaves the limiter's queue."""

    def __init__(self, flow: Flow[T]) -> None:
        self._flow = flow
        self._result: T

    def next_step(self, outcome: StepResult) -> Send | Sleep | None:
        """
        Send an outcome into the flow.

        :param outcome: the outcome of the step before; ``None`` at first
        :return: the next step, or ``None`` at the flow's end
        :raises ConnixError: if the flow fails
        """
        try:
            return self._flow.send(outcome)
        except StopIteration as end:
            self._result = end.value
            return None

    @property
    def result(self) -> T:
        """The flow's result, after its end."""
        return self._result

    def __enter__(self) -> FlowRunner[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._flow.close()
