"""Serve a Connix in a process of its own, and answer for what it saw."""

from __future__ import annotations

import collections
import contextlib
import json
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Self

from benchmarks.process import Child

if TYPE_CHECKING:
    from connix_provider.emulator import Emulator

__all__ = ["Service", "Tally", "refusals"]

#: A call's name and the status of its answer.
Tally = collections.Counter[tuple[str, int | None]]


class _Served:
    """Do in the service's process what :class:`Service` is asked for."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def facts(self) -> tuple[str, str, str]:
        return self._emulator.url, self._emulator.api_key, self._emulator.project_id

    def plant(self, agents: int, status: str) -> list[str]:
        return self._emulator.seed(agents, status=status)

    def scatter(self, agents: int, status: str, among: int, others: str) -> list[str]:
        planted = []
        for number in range(agents):
            planted += self._emulator.seed(1, status=status, name=f"agent-{number}")
            # Names of their own for each handful: looking for free ones among all would take minutes.
            self._emulator.seed(among // agents - 1, status=others, name=f"other-{number}-{{n}}")
        return planted

    def change(self, agent_ids: Sequence[str], first: float, spread: float) -> None:
        for number, agent_id in enumerate(agent_ids):
            self._emulator.script(agent_id, [(first + spread * number / len(agent_ids), "running")])

    def changed(self, agent_ids: Sequence[str]) -> list[float]:
        histories = (self._emulator.history(agent_id) for agent_id in agent_ids)
        return [moment.timestamp() for history in histories for moment, status in history[-1:]]

    def add_lines(self, agent_id: str, lines: int) -> None:
        self._emulator.add_logs(agent_id, lines)

    def tally(self) -> Tally:
        entries = self._emulator.journal.entries()
        return collections.Counter((str(entry.call), entry.status) for entry in entries)

    def cpu(self) -> float:
        return time.process_time()


class Service:
    """
    Run the emulator in a process of its own, so that its work is not the client's.

    Everything below is done there, and returns what the emulator says.

    :param window: seconds of a rate limit's window; 60 is the service's, less makes a benchmark quick
    :param unlimited: whether there are no limits at all
    """

    def __init__(self, *, window: float = 60.0, unlimited: bool = False) -> None:
        self.window = window
        self._child = Child(_serve, window, unlimited)

    def __enter__(self) -> Self:
        self._child.__enter__()
        self.url, self.api_key, self.project_id = self._ask("facts")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._child.__exit__(kind, *rest)

    def _ask(self, what: str, *arguments: Any) -> Any:
        self._child.send((what, arguments))
        return self._child.receive()

    def plant(self, agents: int, status: str) -> list[str]:
        """Put agents there; return their ids, the oldest first."""
        ids: list[str] = self._ask("plant", agents, status)
        return ids

    def scatter(self, agents: int, status: str, *, among: int, others: str) -> list[str]:
        """Put agents there, evenly among many others of another status; return the ids of the former."""
        ids: list[str] = self._ask("scatter", agents, status, among, others)
        return ids

    def change(self, agent_ids: Sequence[str], first: float, spread: float) -> None:
        """Let agents begin to run one after another: from so many seconds on, for so many seconds."""
        self._ask("change", agent_ids, first, spread)

    def changed(self, agent_ids: Sequence[str]) -> list[float]:
        """Return the epoch second of each agent's last change."""
        moments: list[float] = self._ask("changed", agent_ids)
        return moments

    def add_lines(self, agent_id: str, lines: int) -> None:
        """Let an agent log."""
        self._ask("add_lines", agent_id, lines)

    def tally(self) -> Tally:
        """Count what was asked and how it was answered."""
        tally: Tally = self._ask("tally")
        return tally

    def cpu(self) -> float:
        """Return the processor seconds that the service has used."""
        seconds: float = self._ask("cpu")
        return seconds

    def connections(self) -> dict[str, str]:
        """Return the environment in which both providers find this service."""
        root = self.url.removesuffix("/api/v1")
        address, port = root.removeprefix("http://").split(":")
        return {
            "AIRFLOW_CONN_CONNIX_DEFAULT": _json(
                conn_type="connix",
                host=self.url,
                password=self.api_key,
                extra={"project_id": self.project_id},
            ),
            "AIRFLOW_CONN_HTTP_DEFAULT": _json(
                conn_type="http",
                host=address,
                port=int(port),
                extra={"X-API-Key": self.api_key},
            ),
        }


def refusals(tally: Tally) -> int:
    """
    Count the answers that refused a request for the rate limit.

    :param tally: what was asked and how it was answered
    :return: how many
    """
    return sum(count for (_, status), count in tally.items() if status == 429)


def _json(**fields: Any) -> str:
    return json.dumps(fields)


def _serve(pipe: Connection, window: float, unlimited: bool) -> None:
    # Clients load this module, too, and are not to carry a server with them.
    from connix_provider.emulator import Durations, Emulator, Limits

    limits = Limits.off() if unlimited else Limits(window=window)
    with Emulator(limits=limits, durations=Durations()) as emulator:
        served = _Served(emulator)
        with contextlib.suppress(EOFError):
            while True:
                what, arguments = pipe.recv()
                pipe.send(getattr(served, what)(*arguments))
