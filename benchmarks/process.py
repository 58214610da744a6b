"""Start a process that does one thing, speak with it, and never wait for one that has died."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

__all__ = ["Begin", "Child", "ChildDiedError", "at_once"]

#: Called when all is prepared; returns when the measurement may begin.
Begin = Callable[[], None]

#: Seconds that a process has to end after its pipe was closed.
_PATIENCE = 10.0


class ChildDiedError(Exception):
    """A process ended before it gave its answer; what it wrote to stderr says why."""


class Child:
    """
    Run a function in a fresh process, which gets one end of a pipe and these arguments.

    It is told to end by the pipe being closed. When anything went wrong here, it is not asked.

    :param work: what to run
    :param arguments: its arguments after the pipe
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._pipe, self._theirs = multiprocessing.Pipe()
        self._name = f"{work.__module__}.{work.__name__}"
        # Not a fork: a measurement is not to inherit what this process has imported and opened.
        self._process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(work, self._theirs, arguments), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        # As long as this process holds that end too, nobody learns that the other has died.
        self._theirs.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pipe.close()
        self._process.join(_PATIENCE if kind is None else 0)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def send(self, what: Any) -> None:
        """
        Send something.

        :param what: anything that can be pickled
        :raises ChildDiedError: when the process has ended
        """
        try:
            self._pipe.send(what)
        except OSError:
            raise ChildDiedError(self._name) from None

    def receive(self) -> Any:
        """
        Wait for what the process sends.

        :return: what it sent
        :raises ChildDiedError: when it ended instead
        """
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise ChildDiedError(self._name) from None


def at_once() -> None:
    """Begin without waiting for anybody."""


def _work(work: Callable[..., None], pipe: Connection, arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches all processes of a terminal; the first of them ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A line of log for each of ten thousand waits belongs into files, which are not what is measured.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    work(pipe, *arguments)
