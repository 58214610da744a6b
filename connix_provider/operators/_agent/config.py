"""
An agent's configuration in a task: its documented types, and its shape without secrets.

Airflow stores the rendered fields of a task and shows them to every user of the DAG. It hides a value by its
field's name, or if the value is registered as a secret, which a number cannot be. So a rendered configuration
becomes an object that Airflow stores as its shape, with ``***`` for each secret.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connix_provider.client.redaction import SECRET_FIELDS
from connix_provider.values import is_missing_value

__all__ = [
    "CONTAINERS",
    "REMEDY_FOR_TEXT",
    "as_given",
    "hidden_when_stored",
    "is_text",
    "with_documented_types",
]

_MASK = "***"
#: Text fields of the reference, besides those in ``environment_variables`` and ``tools``.
_TEXT = frozenset({"model", "system_prompt"})
_NUMBERS: dict[str, type[int] | type[float]] = {"temperature": float, "max_tokens": int}
#: The paths of the reference's mapping and list.
CONTAINERS = frozenset({("environment_variables",), ("tools",)})
#: The remedy for a template that gives the text of a mapping or list.
REMEDY_FOR_TEXT = (
    "a template gives text: pass the output of the other task itself (config=task.output), or set "
    "render_template_as_native_obj=True on the DAG and let the template give the object, for example "
    "{{ macros.json.loads(ti.xcom_pull('task')) }}"
)


class Rendered:
    """A rendered value that Airflow stores with its secrets hidden."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def serialize(self) -> Any:
        """
        Return the rendered field as Airflow 3 stores it.

        :return: the shape of the value as JSON, with ``***`` for each secret
        """
        return shown(self.value)

    def __str__(self) -> str:
        # Airflow 2 stores this, and its pages read it as JSON.
        return json.dumps(self.serialize(), default=str)

    def __repr__(self) -> str:
        return str(self)


class RenderedMapping(Rendered, Mapping[str, Any]):
    """A rendered mapping; code reads it like the mapping itself."""

    value: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.value[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.value)

    def __len__(self) -> int:
        return len(self.value)


def hidden_when_stored(value: Any) -> Any:
    """
    Wrap a rendered configuration.

    :param value: the rendered value
    :return: an object that code reads like the value, and that Airflow stores without secrets
    """
    value = as_given(value)
    return RenderedMapping(value) if isinstance(value, Mapping) else Rendered(value)


def as_given(value: Any) -> Any:
    """
    Unwrap the value of :func:`hidden_when_stored`.

    :param value: a field of a task, wrapped or not
    """
    return value.value if isinstance(value, Rendered) else value


def shown(value: Any) -> Any:
    """
    Return the shape of a configuration.

    :param value: a configuration, or a part of it; text in place of a configuration is hidden
    :return: JSON of the same shape, with ``***`` for every value that may be a secret
    """
    return _shown(value) if isinstance(value, Mapping) or _is_list(value) else _hidden(value)


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): _hidden(item) if name in SECRET_FIELDS else _shown(item)
            for name, item in value.items()
        }
    if _is_list(value):
        return [_shown(item) for item in value]
    return value


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _hidden(item) for name, item in value.items()}
    if _is_list(value):
        return [_hidden(item) for item in value]
    return value if value is None else _MASK


def is_text(path: Sequence[Any]) -> bool:
    """
    Return whether a value of a configuration is rendered to text.

    Numbers are, too: :func:`with_documented_types` reads them from text.

    :param path: the names and positions that lead to the value
    :return: whether the reference documents text or a number there
    """
    if not path:
        return False
    if path[-1] == "system_prompt" or any(step in SECRET_FIELDS for step in path[:-1]):
        return True
    if len(path) == 1:
        return path[0] in _TEXT or path[0] in _NUMBERS
    return len(path) == 2 and path[0] == "tools"


def with_documented_types(config: Mapping[str, Any]) -> dict[str, Any]:
    """
    Convert the fields of a configuration to their documented types.

    :raises ValueError: for a value that cannot be converted; the message does not quote it, except for
        numbers
    """
    typed = dict(config)
    for name in _TEXT & typed.keys():
        typed[name] = _text(typed[name], f"config.{name}")
    for name, kind in _NUMBERS.items():
        if name in typed:
            typed[name] = _number(typed[name], f"config.{name}", kind)
    if isinstance(variables := typed.get("environment_variables"), Mapping):
        typed["environment_variables"] = {
            name: _text(value, f"config.environment_variables.{name}") for name, value in variables.items()
        }
    for name, kinds in (("environment_variables", "mapping"), ("tools", "list")):
        if isinstance(typed.get(name), str):
            raise ValueError(f"config.{name} must be a {kinds}, not str; {REMEDY_FOR_TEXT}")
    return typed


def _text(value: Any, name: str) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{name} must be a string, not a boolean; write it as text, as the agent reads it")
    return str(value) if isinstance(value, int | float) else value


def _number(value: Any, name: str, kind: type[int] | type[float]) -> Any:
    """Read a number, from text too, because a template gives text."""
    kind_text = "a whole number" if kind is int else "a number"
    if isinstance(value, bool):
        raise ValueError(f"{name} must be {kind_text}, not a boolean")
    if isinstance(value, str):
        if is_missing_value(value):
            raise ValueError(f"{name} must be {kind_text}; its template rendered to nothing")
        try:
            value = int(value) if kind is int and value.strip().isdecimal() else float(value)
        except ValueError:
            raise ValueError(f"{name} must be {kind_text}, and its text is not") from None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be {kind_text}, not {value!r}")
        if kind is int and not value.is_integer():
            raise ValueError(f"{name} must be a whole number, not {value!r}")
        return int(value) if kind is int else value
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes | bytearray)
