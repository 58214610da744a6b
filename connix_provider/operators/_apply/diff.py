"""
The changes of a plan as a readable diff, and as JSON, without secrets.

Values are shown only of name, description, metadata, and the documented fields of a configuration that hold
no secret. Of ``system_prompt``, ``environment_variables`` and any other field of a configuration the diff
says only whether it changes. A shown value that quotes a secret of the same agent is hidden, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from connix_provider.client.calls.merging import already_holds
from connix_provider.client.redaction import redact, secrets_of
from connix_provider.client.redaction.quoting import printable

if TYPE_CHECKING:
    from connix_provider.client import Agent

__all__ = ["diff_lines", "field_changes"]

_SHOWN_OF_CONFIG = frozenset({"model", "temperature", "max_tokens", "tools"})
#: Characters of JSON of a value that is shown.
_LONGEST = 200
_MISSING: Any = object()


def field_changes(
    body: Mapping[str, Any], changes: Mapping[str, Any], agent: Agent | None
) -> list[dict[str, Any]]:
    """
    Describe the fields that a plan sets, for a log and for XCom.

    :param body: the declared agent, as the body of a request
    :param changes: the part of it that is to be sent
    :param agent: the agent that exists, from Get Agent; ``None`` for a create
    :return: a JSON object for each field: ``field``, and ``from`` and ``to``, or ``secret`` with ``set``,
        ``changed`` or ``unchanged``
    """
    present = agent.model_dump(mode="json") if agent else {}
    secrets = (*secrets_of(body), *secrets_of(present))
    described = []
    # The name is how an agent is found, so it never differs.
    fields = [field for field in body if field != "name"]
    leaves = (
        leaf for field in fields for leaf in _leaves(body[field], present.get(field, _MISSING), (field,))
    )
    for path, wanted, held in leaves:
        is_sent = _contains(changes, path) and (agent is None or not already_holds(held, wanted))
        if _is_secret(path):
            outcome = ("set" if held is _MISSING else "changed") if is_sent else "unchanged"
            described.append({"field": ".".join(path), "secret": outcome})
        elif is_sent:
            shown = {"to": _shown(wanted, secrets)}
            if held is not _MISSING:
                shown = {"from": _shown(held, secrets), **shown}
            described.append({"field": ".".join(path), **shown})
    return described


def diff_lines(change: Mapping[str, Any]) -> str:
    """
    Write one change as lines of a diff.

    :param change: the change as JSON
    """
    sign = {"create": "+", "update": "~", "delete": "-"}[change["action"]]
    agent_id = f" ({change['agent_id']})" if change["agent_id"] else ""
    lines = [f"{sign} agent {change['name']!r}{agent_id}"]
    for field in change["fields"]:
        if "secret" in field:
            lines.append(f"    {field['field']}: {field['secret']} (secret)")
        elif "from" in field:
            lines.append(f"    {field['field']}: {_json(field['from'])} -> {_json(field['to'])}")
        else:
            lines.append(f"    {field['field']}: {_json(field['to'])}")
    if state := change["state"]:
        lines.append("    state: " + (f"{state['from']} -> {state['to']}" if state["from"] else state["to"]))
    return "\n".join(lines)


def _leaves(wanted: Any, held: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield path, declared value and present value of each leaf."""
    if isinstance(wanted, Mapping) and wanted:
        for name, item in wanted.items():
            inner = held.get(name, _MISSING) if isinstance(held, Mapping) else _MISSING
            yield from _leaves(item, inner, (*path, str(name)))
    else:
        yield path, wanted, held


def _contains(changes: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(changes, Mapping) or step not in changes:
            return False
        changes = changes[step]
    return True


def _is_secret(path: tuple[str, ...]) -> bool:
    return path[0] == "config" and len(path) > 1 and path[1] not in _SHOWN_OF_CONFIG


def _shown(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return a value within bounds, with the agent's secrets hidden."""
    hidden = redact(value, secrets)
    text = _json(hidden)
    return hidden if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _json(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False, default=str))
