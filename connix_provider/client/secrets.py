"""Know which parts of an agent's description are secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["secrets_of"]


def secrets_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """
    List the values that the reference lets users keep secrets in.

    :param body: an agent's description, as for Create and Update
    :return: the values of ``system_prompt`` and ``environment_variables``, as text
    """
    config = body.get("config")
    if not isinstance(config, Mapping):
        return ()
    return tuple(_leaves([config.get("system_prompt"), config.get("environment_variables")]))


def _leaves(value: Any) -> Iterator[str]:
    """Give every value in JSON as text, however deep it lies."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
