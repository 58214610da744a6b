"""Read a declaration of agents from a YAML or JSON file, with the lines of its keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml
from airflow.providers.common.compat.sdk import ObjectStoragePath

from connix_provider.operators._apply.spec import KeyPath

__all__ = ["read_spec_file"]

#: The loader in C is much faster, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_spec_file(path: Any) -> tuple[Any, dict[KeyPath, int]]:
    """
    Read a file through Airflow's ``ObjectStoragePath``.

    :param path: a local path, an ``ObjectStoragePath``, or a URL such as ``s3://conn_id@bucket/agents.yaml``;
        ``.json`` is read as JSON, any other file as YAML
    :return: its content, and the lines of its keys, counted from 1
    :raises ValueError: for a file that cannot be read, or is no valid YAML or JSON; with the line
    """
    try:
        text = ObjectStoragePath(path).read_bytes().decode("utf-8-sig")
    except (OSError, ValueError, ImportError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise ValueError(f"spec {str(path)!r} cannot be read: {reason}") from None
    try:
        return _parse(text, is_json=str(path).lower().endswith(".json"))
    except _NotReadableError as error:
        raise ValueError(f"spec {str(path)!r} cannot be read: {error}") from None


class _NotReadableError(Exception):
    """The text is no valid YAML or JSON; the message quotes nothing of it but keys."""


def _parse(text: str, *, is_json: bool) -> tuple[Any, dict[KeyPath, int]]:
    if is_json:
        try:
            content = json.loads(text, object_pairs_hook=_without_repeated_keys)
        except json.JSONDecodeError as error:
            raise _NotReadableError(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    try:
        root = yaml.compose(text, Loader=_LOADER)
        # Walked before it is loaded, because loading keeps the last of two equal keys silently.
        lines = dict(_lines(root, (), set())) if root else {}
        return (content, lines) if is_json else (yaml.load(text, Loader=_LOADER), lines)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        if is_json:
            # Not every JSON is YAML. The lines are only for messages.
            return content, {}
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise _NotReadableError(f"{error.problem}{place}") from None
    except (yaml.YAMLError, ValueError) as error:
        if is_json:
            return content, {}
        # Such as a character that YAML does not allow, or the 30th of February.
        raise _NotReadableError(f"it is no valid YAML ({type(error).__name__})") from None


def _lines(node: yaml.Node, path: KeyPath, visited: set[int]) -> Iterator[tuple[KeyPath, int]]:
    """Give the line of each key, and refuse a key that is repeated in one mapping."""
    yield path, node.start_mark.line + 1
    if id(node) in visited:
        # An alias; walking each of them could take forever.
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _lines(item, (*path, number), visited)
    if isinstance(node, yaml.MappingNode):
        keys: dict[str, int] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in keys:
                    raise _NotReadableError(
                        f"the key {key.value!r} is repeated in one mapping (lines {keys[key.value]} and "
                        f"{line})"
                    )
                keys[key.value] = line
                for place, found in _lines(item, (*path, key.value), visited):
                    yield place, line if place == (*path, key.value) else found


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _NotReadableError(f"the key {twice!r} is repeated in one object")
    return content
