"""Run an event loop on virtual time: where nothing is left to do, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run"]

T = TypeVar("T")


class _Jump(selectors.DefaultSelector):
    """Add up the seconds for which the loop would have slept."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.seconds += timeout
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.seconds


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; ``asyncio.sleep`` takes no time, and the loop's ``time`` says how long it took."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(work)
