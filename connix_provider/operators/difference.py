"""
Compare what a task asks of an agent with what the agent is, so that an update sends the difference only.

The service merges an update (reading 1 of the reference's notes): a field that is not sent stays. So a part
of the description differs where the agent does not hold it, and what the agent has beyond it does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connix_provider.client import Agent

__all__ = ["changed_fields", "difference"]

#: Fields whose values a log may show; every other one may hold a secret.
_SHOWN = frozenset({"name", "config.model", "config.temperature", "config.max_tokens"})
#: These are compared and sent field by field; everything else as a whole.
_MERGED = ("config", "metadata")


def difference(wanted: Mapping[str, Any], agent: Agent) -> dict[str, Any]:
    """
    Choose what an update has to send.

    :param wanted: name, description, config and metadata as asked for, in the form of a request's body
    :param agent: the agent as Get shows it
    :return: the part of ``wanted`` that the agent does not hold; empty where nothing differs
    """
    present = agent.model_dump(mode="json")
    changes: dict[str, Any] = {}
    for field, value in wanted.items():
        if field in _MERGED and isinstance(value, Mapping):
            held = present.get(field) or {}
            if parts := {name: part for name, part in value.items() if not _holds(held.get(name), part)}:
                changes[field] = parts
        elif not _holds(present.get(field), value):
            changes[field] = value
    return changes


def changed_fields(changes: Mapping[str, Any], agent: Agent) -> str:
    """
    Name the fields that an update changes, for a log.

    :param changes: what :func:`difference` found
    :param agent: the agent before the update
    :return: the fields' names, with the old and the new value only where no secret is kept
    """
    present = agent.model_dump(mode="json")
    return ", ".join(_described(changes, present, ()))


def _described(changes: Mapping[str, Any], present: Any, path: tuple[str, ...]) -> Iterator[str]:
    for name, value in changes.items():
        place = (*path, str(name))
        field = ".".join(place)
        held = present.get(name) if isinstance(present, Mapping) else None
        if isinstance(value, Mapping) and value:
            differing = {key: item for key, item in value.items() if not _holds(_get(held, key), item)}
            yield from _described(differing, held, place)
        elif field in _SHOWN:
            yield f"{field} ({held!r} -> {value!r})"
        else:
            yield field


def _get(held: Any, key: Any) -> Any:
    return held.get(key) if isinstance(held, Mapping) else None


def _holds(held: Any, wanted: Any) -> bool:
    """Tell whether a merge of ``wanted`` would leave ``held`` as it is."""
    if isinstance(wanted, Mapping):
        return isinstance(held, Mapping) and all(
            key in held and _holds(held[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple) and isinstance(held, list):
        return len(wanted) == len(held) and all(map(_holds, held, wanted))
    # In JSON true is not 1.
    return isinstance(held, bool) == isinstance(wanted, bool) and bool(held == wanted)
