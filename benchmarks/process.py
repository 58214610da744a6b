"""Start a process for one job, and exchange objects with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

__all__ = ["Child", "ChildEndedError"]

#: Seconds that a process has to end after its pipe was closed.
_PATIENCE = 10.0


class ChildEndedError(Exception):
    """Raised when a process ended without a result; its output on stderr says why."""


class Child:
    """
    Run a function in a fresh process.

    The process gets one end of a pipe, and should end when the other end is closed.

    :param work: the function
    :param arguments: its arguments after one end of the pipe
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self.pipe, self._theirs = multiprocessing.Pipe()
        self._name = f"{work.__module__}.{work.__name__}"
        # Not forked, because a fork would inherit the imports and connections of this process.
        self._process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(work, self._theirs, arguments), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        # Closed here, because otherwise this process would not notice that the other one ended.
        self._theirs.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.pipe.close()
        self._process.join(_PATIENCE if kind is None else 0)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def send(self, value: Any) -> None:
        """
        Send an object.

        :raises ChildEndedError: when the process has ended
        """
        try:
            self.pipe.send(value)
        except OSError:
            raise ChildEndedError(self._name) from None

    def receive(self) -> Any:
        """
        Wait for an object.

        :raises ChildEndedError: when the process ended instead
        """
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            raise ChildEndedError(self._name) from None


def _run(work: Callable[..., None], pipe: Connection, arguments: tuple[Any, ...]) -> None:
    # A terminal sends Ctrl-C to all processes; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ten thousand waits log ten thousand lines, which belong in a file and would be measured too.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    work(pipe, *arguments)
