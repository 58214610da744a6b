"""
Start processes, and stop them with everything that they started.

Each process gets a session of its own. Its children stay in that session even when their parent ends first,
as Airflow's components do on SIGTERM. So :meth:`Processes.end` stops every process of the session.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

#: Seconds between SIGTERM and SIGKILL.
PATIENCE = 10.0


class Stopped(BaseException):
    """
    Raised when a signal asks this process to stop; no ``except Exception`` catches it.

    :param number: the signal
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into :class:`Stopped`, and ignore further ones."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        # Not print(), because the signal may arrive during another print().
        os.write(1, f"\nStopping. This takes up to {2 * PATIENCE:.0f} seconds.\n".encode())
        # A second Ctrl-C would interrupt the stopping.
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    for number in numbers:
        signal.signal(number, stop)
    yield


class Processes:
    """
    Start processes, and stop all of them at the end of the ``with`` block.

    :param environment: environment variables of every process
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._started: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(self, name: str, command: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
        """
        Start a process whose output goes to a file.

        :param name: its name in messages
        :param command: program and arguments
        :param log: the file
        """
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started[name] = (process, log)
        return process

    def dead(self) -> tuple[str, Path] | None:
        """Return name and log of a process that has ended, or ``None`` while all of them run."""
        for name, (process, log) in self._started.items():
            if process.poll() is not None:
                return name, log
        return None

    def end(self) -> None:
        """Send SIGTERM to every process and all that it started, and SIGKILL to those still running later."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._alive():
                with suppress(OSError):
                    os.kill(pid, number)
            limit = time.monotonic() + PATIENCE
            while self._alive() and time.monotonic() < limit:
                time.sleep(0.1)
        self._started.clear()

    def _alive(self) -> list[int]:
        sessions = {process.pid for process, _ in self._started.values()}
        # Without this, ended processes would stay zombies and count as alive.
        for process, _ in self._started.values():
            process.poll()
        return [pid for pid in _all_processes() if _session(pid) in sessions]


def _all_processes() -> list[int]:
    if Path("/proc/self").exists():
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    listed = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid in listed.split()]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
