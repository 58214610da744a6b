"""
Write rows to a temporary file in the same directory, and rename it when it is complete.

The format follows the name: ``.parquet`` is Parquet, anything else JSON Lines, compressed if it ends in
``.gz``. Neither holds a time of writing, so the same rows give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import IO, Any, Protocol, Self

from airflow.providers.common.compat.sdk import ObjectStoragePath

__all__ = ["ExportFile", "check_path"]

#: Bytes that a remote file system gathers before it sends them.
_BLOCK = 8 * 2**20
_LOCAL = frozenset({"", "file", "local"})


class _Writer(Protocol):
    """Writes rows to an open file."""

    def write(self, rows: list[dict[str, Any]]) -> None: ...

    def close(self) -> None: ...


def check_path(path: Any, columns: Mapping[str, str] | None) -> None:
    """
    Check whether a file can be written, before any request.

    :param columns: the columns of the rows, if they have any
    :raises ValueError: for a path that names no file, or a format that these rows or this installation lack
    """
    if not isinstance(path, str | os.PathLike) and not hasattr(path, "read_bytes"):
        raise ValueError(f"path must be text or a path, not {type(path).__name__}")
    text = str(path)
    if not text.strip() or text.endswith("/"):
        raise ValueError(f"path must name a file, such as s3://bucket/{{{{ ds }}}}.jsonl.gz, not {text!r}")
    if text.lower().endswith(".parquet.gz"):
        raise ValueError(f"path is {text!r}, but Parquet is compressed by itself: leave .gz out")
    _check_place(path)
    if not text.lower().endswith(".parquet"):
        return
    if columns is None:
        raise ValueError(f"path is {text!r}, but logs are written as JSON Lines: use .jsonl or .jsonl.gz")
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ValueError(
            f"path is {text!r}, and Parquet needs pyarrow, which is not installed: install it "
            "(pip install 'airflow-provider-connix[parquet]'), or use .jsonl or .jsonl.gz"
        ) from None


def _check_place(path: Any) -> None:
    try:
        place = ObjectStoragePath(path)
        is_folder = place.protocol in _LOCAL and os.path.isdir(place.path)  # noqa: PTH112 - fsspec's text
        # Finds the connection, and the package for the scheme.
        _ = place.fs
    except (ValueError, ImportError) as error:
        raise ValueError(
            f"path is {str(path)!r}, which cannot be written: {error}. Correct it, or install Airflow's "
            "provider for this storage"
        ) from None
    if is_folder:
        raise ValueError(f"path is {str(path)!r}, which is a folder: give the name of a file in it")


class ExportFile:
    """
    A file that appears only when it is complete.

    :param key: distinguishes this task run from others that may write the same file. A retry overwrites what
        a killed try left beside the file
    :param columns: the columns of a table
    """

    def __init__(self, path: Any, key: str, columns: Mapping[str, str] | None) -> None:
        self._path = ObjectStoragePath(path)
        folder, _, name = str(self._path.path).rpartition("/")
        self._folder = folder
        self._beside = f"{folder}/.{name}.{key}.part" if folder else f".{name}.{key}.part"
        self._columns = columns

    def __enter__(self) -> Self:
        self._fs = self._path.fs
        if self._is_local and self._folder:
            # Only there, because an object store may take the first folder for a bucket to create.
            self._fs.makedirs(self._folder, exist_ok=True)
        self._file = self._fs.open(self._beside, "wb", block_size=_BLOCK)
        self._writer = self._make_writer(self._file)
        return self

    def write(self, rows: list[dict[str, Any]]) -> None:
        """
        Write rows.

        :param rows: the rows
        """
        self._writer.write(rows)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        is_complete = False
        try:
            try:
                self._writer.close()
            finally:
                self._file.close()
            if error is None:
                self._move()
                is_complete = True
        except Exception:
            # A second error would hide the first.
            if error is None:
                raise
        finally:
            if not is_complete:
                with suppress(Exception):
                    self._fs.rm(self._beside)

    def _move(self) -> None:
        if self._is_local:
            os.replace(self._beside, self._path.path)  # noqa: PTH105 - paths of fsspec are text
        else:
            self._fs.mv(self._beside, self._path.path)

    @property
    def _is_local(self) -> bool:
        return self._path.protocol in _LOCAL

    def _make_writer(self, file: IO[bytes]) -> _Writer:
        name = str(self._path.path).lower()
        if name.endswith(".parquet") and self._columns:
            return _Parquet(file, self._columns)
        return _JsonLines(file, is_packed=name.endswith(".gz"))


class _JsonLines:
    def __init__(self, file: IO[bytes], *, is_packed: bool) -> None:
        # Without name and time, which would differ from file to file.
        self._packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if is_packed else None
        self._file: Any = self._packed or file

    def write(self, rows: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
        # A lone surrogate becomes an escape, which JSON allows.
        self._file.write(text.encode(errors="backslashreplace"))

    def close(self) -> None:
        if self._packed is not None:
            self._packed.close()


class _Parquet:
    def __init__(self, file: IO[bytes], columns: Mapping[str, str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"text": pa.string(), "time": pa.timestamp("us", tz="UTC"), "number": pa.float64()}
        self._columns = columns
        self._table = pa.Table
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._writer = pq.ParquetWriter(file, self._schema)

    def write(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        known = [{name: _as(kind, row.get(name)) for name, kind in self._columns.items()} for row in rows]
        self._writer.write_table(self._table.from_pylist(known, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def _as(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "time":
        return datetime.fromisoformat(value)
    return float(value) if kind == "number" else str(value)
