"""Start a PostgreSQL server of Debian's packages for one test module: on loopback, in a folder that goes."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_airflow import free_port
from secret_scan import SecretScan

#: Debian keeps the server's programs here, one folder a version, and not on PATH.
_DEBIAN = Path("/usr/lib/postgresql")
#: Seconds that the server may take to start or to stop.
_PATIENCE = 30.0
#: What is lost with the machine is lost with the test: nothing waits for the disk.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
}


def programs() -> Path:
    """
    Find the programs of PostgreSQL; where there are none, CI fails and every other machine skips the test.

    :return: their folder
    """
    on_path = shutil.which("initdb")
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found or on_path:
        return (found[-1] if found else Path(str(on_path)).resolve()).parent
    reason = (
        "PostgreSQL is not installed (Debian: apt-get install postgresql, which scripts/test does as root)"
    )
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class PostgreSQL:
    """Run a server with one database, whose user needs no password."""

    def __init__(self) -> None:
        self._programs = programs()
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="connix-postgres-"))
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The database as SQLAlchemy names it."""
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self._port}/airflow"

    def __enter__(self) -> PostgreSQL:
        try:
            data, log = self._folder / "data", self._folder / "log"
            if os.getuid() == 0:
                shutil.chown(self._folder, "postgres", "postgres")
            self._run("initdb", "-A", "trust", "-U", "airflow", "-N", "-D", str(data))
            options = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
            server = ["postgres", "-D", str(data), "-p", str(self._port), "-k", str(self._folder), *options]
            with log.open("wb") as output:
                self._server = subprocess.Popen(
                    self._command(*server), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                )
            limit = time.monotonic() + _PATIENCE
            while subprocess.run(self._client("pg_isready"), capture_output=True, check=False).returncode:
                assert time.monotonic() < limit, log.read_text()
                assert self._server.poll() is None, log.read_text()
                time.sleep(0.1)
            subprocess.run(self._client("createdb", "airflow"), check=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
            # A fast shutdown: it ends the sessions of clients that are still there.
            self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def execute(self, statement: str) -> list[list[str]]:
        """Execute a statement, and return the rows of its result as text."""
        command = self._client(
            "psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-F", "\t", "-c", statement, "airflow"
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def secrets(self, scan: SecretScan) -> set[str]:
        """
        Search a dump of the whole database.

        :return: one entry for each column and secret in it, such as ``dag_run.conf: planted (plain)``
        """
        dump = subprocess.run(self._client("pg_dump", "airflow"), capture_output=True, check=True).stdout
        return {f"{column}: {name}" for column, value in _values(dump) for name in scan.search(value)}

    def _run(self, *arguments: str) -> None:
        subprocess.run(self._command(*arguments), check=True, capture_output=True)

    def _command(self, program: str, *arguments: str) -> list[str]:
        # The server refuses to run as root.
        user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if os.getuid() == 0 else []
        return [*drop, str(self._programs / program), *arguments]

    def _client(self, program: str, *arguments: str) -> list[str]:
        where = ["-h", "127.0.0.1", "-p", str(self._port), "-U", "airflow"]
        return [str(self._programs / program), *where, *arguments]


_COPY = re.compile(rb"COPY public\.\"?(\w+)\"? \((.*)\) FROM stdin;")


def _values(dump: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each column of each row of a dump with its name; what is no row belongs to the schema."""
    table, columns = "", []
    for line in dump.split(b"\n"):
        if table and line == rb"\.":
            table = ""
        elif table:
            for column, value in zip(columns, line.split(b"\t"), strict=True):
                yield f"{table}.{column}", _unescaped(value)
        elif start := _COPY.fullmatch(line):
            table = start[1].decode()
            columns = [column.strip('" ') for column in start[2].decode().split(",")]
        else:
            yield "schema", line


def _unescaped(value: bytes) -> bytes:
    """Undo how COPY writes a value; bytes stand as hexadecimal digits."""
    plain = value.replace(rb"\n", b"\n").replace(rb"\t", b"\t").replace(rb"\\", b"\\")
    return bytes.fromhex(plain[2:].decode()) if re.fullmatch(rb"\\x[0-9a-f]+", plain) else plain
