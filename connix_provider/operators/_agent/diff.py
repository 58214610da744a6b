"""
Compare the parameters of a task with an agent, so that an update sends only the fields that differ.

The service merges an update: a field that is not sent keeps its value. So a field differs if the agent does
not have the wanted value, and further fields of the agent do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from connix_provider.client.calls.merging import already_holds

if TYPE_CHECKING:
    from connix_provider.client import Agent

__all__ = ["changed_fields", "difference"]

#: Fields whose values a log may show. Any other field may hold a secret.
_SHOWN = frozenset({"name", "config.model", "config.temperature", "config.max_tokens"})
#: Fields whose parts are compared and sent one by one.
_MERGED = ("config", "metadata")


def difference(wanted: Mapping[str, Any], agent: Agent) -> dict[str, Any]:
    """
    Return the body of the update that an agent needs.

    :param wanted: name, description, config and metadata, as the body of a request
    :param agent: the agent, from Get Agent
    :return: the part of ``wanted`` that the agent does not have; empty if nothing differs
    """
    present = agent.model_dump(mode="json")
    changes: dict[str, Any] = {}
    for field, value in wanted.items():
        if field in _MERGED and isinstance(value, Mapping):
            held = present.get(field) or {}
            if parts := {
                name: part for name, part in value.items() if not already_holds(held.get(name), part)
            }:
                changes[field] = parts
        elif not already_holds(present.get(field), value):
            changes[field] = value
    return changes


def changed_fields(changes: Mapping[str, Any], agent: Agent) -> str:
    """
    List the fields that an update changes, for a log.

    :param changes: the result of :func:`difference`
    :param agent: the agent before the update
    :return: the names of the fields, with old and new values only of fields that hold no secret
    """
    present = agent.model_dump(mode="json")
    return ", ".join(_described(changes, present, ()))


def _described(changes: Mapping[str, Any], present: Any, path: tuple[str, ...]) -> Iterator[str]:
    for name, value in changes.items():
        place = (*path, str(name))
        field = ".".join(place)
        held = present.get(name) if isinstance(present, Mapping) else None
        if isinstance(value, Mapping) and value:
            differing = {key: item for key, item in value.items() if not already_holds(_get(held, key), item)}
            yield from _described(differing, held, place)
        elif field in _SHOWN:
            yield f"{field} ({held!r} -> {value!r})"
        else:
            yield field


def _get(held: Any, key: Any) -> Any:
    return held.get(key) if isinstance(held, Mapping) else None
