"""
Check the parameters of a task, and choose its project.

Template fields have their values only when a task runs, so the checks are made in ``execute``, before any
request. Each error names the parameter, its value and the allowed values.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from connix_provider.values import is_missing_value, looks_like_a_key, looks_like_json, quoted

__all__ = ["check_id", "check_name", "check_seconds", "missing_value_message", "resolve_project_id"]

#: Seconds. A datetime of much more would overflow.
_MAX_SECONDS = 300 * 365 * 86400.0
#: What parameters hold that are not text.
_KINDS = {
    "config": "a mapping",
    "metadata": "a mapping",
    "config.environment_variables": "a mapping",
    "config.tools": "a list",
    "config.temperature": "a number",
    "config.max_tokens": "a whole number",
}


def resolve_project_id(given: Any, default: Any, connix_conn_id: str) -> str:
    """
    Return the project of a task.

    :param given: the task's ``project_id``
    :param default: the connection's ``project_id``
    :raises ValueError: if both are missing, or the id is invalid
    """
    chosen = default if given is None else given
    if chosen is None:
        raise ValueError(
            "project_id is missing: give it to the task, or set it in the extra of the Airflow connection "
            f"{connix_conn_id!r}"
        )
    return check_id("project_id", chosen)


def check_seconds(name: str, value: Any, *, minimum: float = 0.0) -> float:
    """
    Check a duration.

    :param value: seconds, or a timedelta
    :param minimum: the shortest allowed duration; 0 allows any above zero
    :return: seconds
    :raises ValueError: for any other value
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or (isinstance(seconds, float) and not math.isfinite(seconds)):
        raise ValueError(f"{name} must be a number of seconds or a timedelta, not {quoted(value)}")
    if seconds > _MAX_SECONDS:
        raise ValueError(f"{name} must be less than 300 years, not {quoted(value)}")
    if seconds < minimum or seconds <= 0:
        bound = f"at least {minimum:g} s" if minimum else "more than 0 s"
        raise ValueError(f"{name} must be {bound}, not {quoted(value)}")
    return float(seconds)


def check_name(parameter: str, value: Any) -> str:
    """
    Check the name of an agent.

    :param value: the name; ``agent_name`` may also be an integer
    :raises ValueError: for a value that is missing or not a name
    """
    if parameter == "agent_name" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{parameter} must be a string, not {type(value).__name__}")
    if is_missing_value(value):
        raise ValueError(missing_value_message(parameter, value))
    _refuse_json(str(value), parameter)
    return str(value)


def check_id(name: str, value: Any) -> str:
    """
    Check an id.

    :param value: the id; an integer is allowed
    :raises ValueError: for a value that is missing or no id
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        hint = "; use expand() for several" if isinstance(value, list | tuple) else ""
        raise ValueError(f"{name} must be a string, not {quoted(value)}{hint}")
    if value is None or is_missing_value(value):
        raise ValueError(missing_value_message(name, value))
    _refuse_json(value, name)
    if looks_like_a_key(value):
        raise ValueError(f"{name} looks like an API key; the key belongs in the password of the connection")
    if not value.strip().isprintable():
        raise ValueError(f"{name} must be one line of printable characters, not {quoted(value)}")
    return value.strip()


def _refuse_json(text: str, name: str) -> None:
    """Raise for the text of a mapping, because another task returned more than its template takes."""
    if looks_like_json(text):
        raise ValueError(f"{name} must be one value, not a mapping as text; take one of its fields")


def missing_value_message(parameter: str, value: Any, *, by_a_template: bool = False) -> str:
    """
    Return the message for a parameter with a missing value.

    :param by_a_template: whether it certainly came from a template or another task
    """
    kind = _KINDS.get(parameter, "a non-empty string")
    origin = "it came from" if by_a_template else "it may come from"
    message = f"{parameter} must be {kind}, not {quoted(value)}; {origin} a template or another task"
    message += " that returned no value"
    has_text = isinstance(value, str) and bool(value.strip())
    if has_text and parameter == "agent_name":
        return f"{message}. An agent that is really called {value!r} can be given by its agent_id"
    if has_text and parameter == "name":
        return f"{message}. No agent gets this name, because templates write it for a missing value"
    return message
