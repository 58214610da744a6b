"""
Start processes of which none is left behind.

Each is started in a session of its own. What it starts in turn stays in that session even when its parent
ends first, which is what Airflow's components leave when they are told to stop; so the session is what is
waited for, and what is ended by force in the end.
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

#: Seconds that processes get to end by themselves.
PATIENCE = 10.0


class Stopped(BaseException):
    """
    Say that a signal asked for the end; no ``except Exception`` holds it up.

    :param number: the signal
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Turn the signals that ask for an end into :class:`Stopped`, say so at once, and ignore further ones."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        # Not print: the signal may arrive while something else is being printed.
        os.write(1, f"\nStopping. This takes up to {2 * PATIENCE:.0f} seconds.\n".encode())
        # Impatience must not interrupt the tidying up.
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    for number in numbers:
        signal.signal(number, stop)
    yield


class Processes:
    """
    Keep what was started, and end all of it with the ``with`` block.

    :param environment: what all of them find in their environment
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

        :param name: what it is called in messages
        :param command: program and arguments
        :param log: the file
        :return: the process
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
        """
        Look for a process that has ended.

        :return: its name and its log, or ``None`` while all of them run
        """
        for name, (process, log) in self._started.items():
            if process.poll() is not None:
                return name, log
        return None

    def end(self) -> None:
        """End every process and all that it started: politely, then by force."""
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
        # Without this the ended ones would stay as zombies and look alive.
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
