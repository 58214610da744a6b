"""
Read a declaration of agents: check it, and put its defaults into each agent.

A declaration is ``{"agents": [...], "defaults": {...}}`` or the list alone. There is no I/O here. Each error
names the key, and the line if the declaration came from a file. No message quotes a value of a configuration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from connix_provider.client.calls import arguments
from connix_provider.operators._agent.config import REMEDY_FOR_TEXT, with_documented_types
from connix_provider.operators._base.identity import APPLY_OWNER_FIELD, IDENTITY_FIELD
from connix_provider.params import check_name
from connix_provider.statuses import AgentStatus
from connix_provider.values import did_you_mean, is_missing_value, quoted

__all__ = ["STATES", "AgentSpec", "KeyPath", "read_specs"]

#: The names and positions that lead to a value.
KeyPath = tuple[Any, ...]

#: The states that a declaration may ask for.
STATES = (AgentStatus.RUNNING, AgentStatus.PAUSED, AgentStatus.STOPPED)
_AGENT_KEYS = ("name", "description", "config", "metadata", "state")
_DEFAULT_KEYS = ("description", "config", "metadata", "state")
_RESERVED = (IDENTITY_FIELD, APPLY_OWNER_FIELD)


@dataclasses.dataclass(frozen=True, slots=True)
class AgentSpec:
    """
    One declared agent.

    :param body: name, description, config and metadata as the body of a request; it holds secrets
    :param state: ``running``, ``paused`` or ``stopped``; ``None`` leaves the state to others
    """

    name: str
    body: Mapping[str, Any] = dataclasses.field(repr=False)
    state: str | None = None


def read_specs(
    declared: Any, *, file: str | None = None, lines: Mapping[KeyPath, int] | None = None
) -> list[AgentSpec]:
    """
    Read a declaration.

    :param declared: the declaration
    :param file: the path of the file that it comes from, for messages
    :param lines: the lines of its keys in the file, counted from 1
    :return: the agents, in the declared order
    :raises ValueError: for anything that cannot be applied
    """
    return _Reader(file, lines or {}).read(declared)


class _Reader:
    """Read one declaration, and know where its keys stand."""

    def __init__(self, file: str | None, lines: Mapping[KeyPath, int]) -> None:
        self._file = file
        self._lines = lines

    def read(self, declared: Any) -> list[AgentSpec]:
        root: KeyPath = ()
        defaults: Mapping[str, Any] = {}
        if isinstance(declared, Mapping):
            self._check_keys((), declared, ("agents", "defaults"))
            if "agents" not in declared:
                self._refuse((), "has no 'agents', the list of the declared agents")
            defaults = self._defaults(declared.get("defaults", {}))
            root, declared = ("agents",), declared["agents"]
        if not _is_list(declared):
            hint = f"; {REMEDY_FOR_TEXT}" if isinstance(declared, str) else ""
            self._refuse(root, f"must be a list of agents, not {type(declared).__name__}{hint}")
        specs: dict[str, AgentSpec] = {}
        places: dict[str, KeyPath] = {}
        for number, entry in enumerate(declared):
            path = (*root, number)
            spec = self._agent(path, entry, defaults)
            if spec.name in specs:
                first = self._where((*places[spec.name], "name"))
                self._refuse((*path, "name"), f"is {spec.name!r}, as {first} is; names are unique")
            specs[spec.name], places[spec.name] = spec, path
        return list(specs.values())

    def _defaults(self, defaults: Any) -> Mapping[str, Any]:
        path = ("defaults",)
        if not isinstance(defaults, Mapping):
            self._refuse(path, f"must be a mapping, not {type(defaults).__name__}")
        self._check_keys(path, defaults, _DEFAULT_KEYS)
        # As an agent of its own, because a wrong default is wrong without agents, too.
        self._check_fields(path, defaults)
        return defaults

    def _agent(self, path: KeyPath, entry: Any, defaults: Mapping[str, Any]) -> AgentSpec:
        if not isinstance(entry, Mapping):
            self._refuse(path, f"must be a mapping with at least a name, not {type(entry).__name__}")
        self._check_keys(path, entry, _AGENT_KEYS)
        try:
            check_name("name", entry.get("name"))
        except ValueError as error:
            self._refuse((*path, "name"), str(error).removeprefix("name "))
        self._check_fields(path, entry)
        merged = _merged(defaults, entry)
        state = merged.pop("state", None)
        if "config" in merged:
            merged["config"] = self._typed(path, merged["config"])
        body: dict[str, Any] = arguments.plain({key: merged[key] for key in _AGENT_KEYS if key in merged})
        # The message begins with this name, then has the path of the value.
        arguments.body(body, self._where(path))
        return AgentSpec(str(entry["name"]), body, None if state is None else str(state).lower())

    def _check_fields(self, path: KeyPath, entry: Mapping[str, Any]) -> None:
        description = entry.get("description")
        if description is not None and not isinstance(description, str):
            self._refuse((*path, "description"), f"must be a string, not {type(description).__name__}")
        for field in ("config", "metadata"):
            if not isinstance(entry.get(field, {}), Mapping):
                kind = type(entry[field]).__name__
                hint = f"; {REMEDY_FOR_TEXT}" if kind == "str" else ""
                self._refuse((*path, field), f"must be a mapping, not {kind}{hint}")
        for key in _RESERVED:
            if key in entry.get("metadata", {}):
                self._refuse((*path, "metadata", key), "is set by this provider; leave it out")
        config = entry.get("config", {})
        for key in ("model", "system_prompt"):
            if key in config and is_missing_value(config[key], empty_is_fine=key != "model"):
                self._refuse((*path, "config", key), "is empty; leave it out, or correct its template")
        self._typed(path, config)
        state = entry.get("state")
        if state is not None and str(state).lower() not in STATES:
            hint = did_you_mean(state, STATES)
            self._refuse(
                (*path, "state"),
                f"is {quoted(state)}, but a declared state is running, paused or stopped.{hint}",
            )

    def _typed(self, path: KeyPath, config: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return with_documented_types(config)
        except ValueError as error:
            field, _, problem = str(error).partition(" ")
            self._refuse((*path, *field.split(".")), problem)

    def _check_keys(self, path: KeyPath, value: Mapping[Any, Any], known: Sequence[str]) -> None:
        for key, item in value.items():
            if key not in known:
                self._refuse((*path, key), f"is unknown.{did_you_mean(key, known)}")
            if item is None:
                self._refuse((*path, key), "is None; leave it out, or correct its template")

    def _refuse(self, path: KeyPath, problem: str) -> NoReturn:
        raise ValueError(f"{self._where(path)} {problem}") from None

    def _where(self, path: KeyPath) -> str:
        """Name a key, and its line or that of the nearest key around it."""
        name = "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        if self._file is None:
            return name
        found = (self._lines.get(path[:length]) for length in range(len(path), -1, -1))
        line = next((f", line {line}" for line in found if line), "")
        return f"spec {self._file!r}{line}: {name}"


def _merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with the defaults that it does not state; mappings are merged at every depth."""
    merged = dict(defaults)
    for key, value in entry.items():
        default = merged.get(key)
        if isinstance(default, Mapping) and isinstance(value, Mapping):
            value = _merged(default, value)
        merged[key] = value
    return merged


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)
