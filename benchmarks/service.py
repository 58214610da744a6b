"""Run the emulator in a process of its own, so that its work is not counted as the client's."""

from __future__ import annotations

import collections
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from benchmarks.process import Child
from benchmarks.row import WINDOW

if TYPE_CHECKING:
    from connix_provider.emulator import Emulator

__all__ = ["Service", "Tally", "refused", "seed", "tally"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
#: The number of requests for each call and status of the response.
Tally = collections.Counter[tuple[str, int | None]]


class Service:
    """
    The emulator with the limits of the reference.

    :param window: seconds of the limits' windows; ``None``: no limits
    """

    def __init__(self, window: float | None = WINDOW) -> None:
        self._child = Child(_serve, window)
        # A directory of its own, because a later emulator may get the same port.
        self._shared = tempfile.TemporaryDirectory(prefix="connix-benchmark-")

    def __enter__(self) -> Self:
        self._child.__enter__()
        self.url, self.api_key, self.project_id = self._child.receive()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._child.__exit__(kind, *rest)
        self._shared.cleanup()

    def run(
        self, work: Callable[Concatenate[Emulator, _P], _T], *arguments: _P.args, **more: _P.kwargs
    ) -> _T:
        """
        Call a function in the emulator's process.

        :param work: a function of a module, which gets the emulator before the arguments
        :return: its result
        """
        self._child.send((work, arguments, more))
        result: _T = self._child.receive()
        return result

    def connections(self, *, share: bool = True) -> dict[str, str]:
        """
        Return the environment variables with which both providers find this service.

        :param share: whether processes share the limits of their key, as on one machine
        """
        host, port = self.url.removesuffix("/api/v1").removeprefix("http://").split(":")
        ours = {"host": self.url, "password": self.api_key, "extra": {"project_id": self.project_id}}
        theirs = {"host": host, "port": int(port), "extra": {"X-API-Key": self.api_key}}
        return {
            "AIRFLOW_CONN_CONNIX_DEFAULT": json.dumps({"conn_type": "connix", **ours}),
            "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps({"conn_type": "http", **theirs}),
            "CONNIX_RATE_LIMIT_DIR": self._shared.name if share else "",
        }


def seed(emulator: Emulator, count: int, status: str) -> Sequence[str]:
    """Create agents with a status, and return their ids, the oldest first."""
    return emulator.seed(count, status=status)


def tally(emulator: Emulator) -> Tally:
    """Return the number of requests so far for each call and status."""
    return collections.Counter((str(entry.call), entry.status) for entry in emulator.journal.entries())


def refused(requests: Tally) -> int:
    """Return the number of responses with status 429."""
    return sum(count for (_, status), count in requests.items() if status == 429)


def _serve(pipe: Connection, window: float | None) -> None:
    # Imported here, because clients import this module too and must not carry a server with them.
    from connix_provider.emulator import Durations, Emulator, Limits

    limits = Limits.off() if window is None else Limits(window=window)
    with Emulator(limits=limits, durations=Durations()) as emulator:
        pipe.send((emulator.url, emulator.api_key, emulator.project_id))
        with suppress(EOFError):
            while True:
                work, arguments, more = pipe.recv()
                result: Any = work(emulator, *arguments, **more)
                pipe.send(result)
