"""
Share a key's limits between the processes of a machine.

Airflow runs each task in a process of its own. Without common numbers, each of them would learn of a
used-up limit by a 429. The numbers stand in a small file for each key, in a directory that only this user
can enter. They are limits, counts and times; the key is not among them. The file's name is a digest of the
service's address and the key.

Invariants:

- A process waits 20 ms for the file at most. If its holder was stopped, or the disk fails, the process goes
  on with what it knows.
- The numbers are checked before they are used, because a killed process may have written half of them.
- Moments are of the monotonic clock, because all processes of a machine share it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: each process has its own numbers
    fcntl = None  # type: ignore[assignment]

__all__ = ["DIRECTORY_SETTING", "SharedNumbers", "path_for"]

#: Environment variable with the directory of the files; empty: nothing is shared.
DIRECTORY_SETTING = "CONNIX_RATE_LIMIT_DIR"
#: Another layout of the numbers gets another name.
_VERSION = 1
#: The names that :func:`path_for` makes: users may keep other files in the directory.
_FILE_NAME = re.compile(r"[0-9a-f]{32}\.[0-9]+")
#: How often the lock is tried, and the seconds between: a process that holds it may be off the processor.
_TRIES, _BETWEEN = 20, 0.001
#: Seconds after which a file that no process wrote to is deleted: access tokens come and go.
_STALE = 86_400.0


def path_for(base_url: str, identity: str) -> Path | None:
    """
    Return the file of a key.

    :param identity: what the service counts by: the key
    :return: its path, or ``None`` where nothing can or shall be shared
    """
    stated = os.environ.get(DIRECTORY_SETTING)
    if fcntl is None or stated == "":
        return None
    directory = Path(stated or Path(tempfile.gettempdir()) / f"connix-rate-limits-{os.getuid()}")
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        return None
    digest = hashlib.blake2b(f"{base_url}\n{identity}".encode(), digest_size=16).hexdigest()
    return directory / f"{digest}.{_VERSION}"


class SharedNumbers:
    """
    Hold some numbers in a file that other processes read and write.

    The file is opened each time: a descriptor that is kept is shared with forked processes, lock and all, and
    may be another file's after a daemon closed all of its own.

    :param path: the file; it is made where it is missing
    :param count: how many numbers
    """

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self._struct = struct.Struct(f"={count}d")
        self._zeros = count * (0.0,)
        if not path.exists():
            _delete_stale(path.parent)

    def open(self) -> int | None:
        """
        Open the file and lock it.

        :return: its descriptor, for the methods below, or ``None`` where it cannot be opened, or
            another process holds the lock for longer than usual
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return None
        for _ in range(_TRIES):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(_BETWEEN)
            else:
                return fd
        os.close(fd)
        return None

    def read(self, fd: int) -> Sequence[float]:
        """
        Read the numbers.

        :param fd: what :meth:`open` returned
        :return: the numbers; zeros where there are none
        """
        with contextlib.suppress(OSError):
            data = os.pread(fd, self._struct.size, 0)
            if len(data) == self._struct.size:
                return self._struct.unpack(data)
        return self._zeros

    def write_and_close(self, fd: int, numbers: Sequence[float]) -> None:
        """
        Write the numbers, unlock and close the file.

        :param fd: what :meth:`open` returned
        :param numbers: as many as there are
        """
        with contextlib.suppress(OSError):
            os.pwrite(fd, self._struct.pack(*numbers), 0)
            # Closing alone would leave the lock to a process that another thread forks now.
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def _delete_stale(directory: Path) -> None:
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            # Another process may delete the same file.
            with contextlib.suppress(OSError):
                if _FILE_NAME.fullmatch(path.name) and time.time() - path.stat().st_mtime > _STALE:
                    path.unlink()
