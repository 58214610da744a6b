"""
The identity of a task run: its key, its try and its clear.

A create writes the identity key to the metadata of its agent, so that a retry finds this agent and no other.
The key is the same in every try and after a clear. It has five parts. An apply adds the agent's name as a
sixth, so that each of its agents has a key, and no such key names a task run alone.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from airflow import __version__
from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = [
    "APPLY_OWNER_FIELD",
    "IDENTITY_FIELD",
    "TaskRunKey",
    "chosen_deployment_id",
    "deployment_id",
    "identity_key",
    "max_tries_of",
    "parse_identity_key",
    "try_number_of",
]

#: The metadata field with the identity key of the task run that created an agent.
IDENTITY_FIELD = "airflow_task_run"
#: The metadata field with the owner for which an apply created an agent.
APPLY_OWNER_FIELD = "airflow_apply_owner"


@dataclasses.dataclass(frozen=True, slots=True)
class TaskRunKey:
    """
    The parts of an identity key.

    :param deployment: the Airflow deployment; may be ""
    :param map_index: the map index; -1 for a task that is not mapped
    """

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    def __str__(self) -> str:
        """Return the key as the metadata of an agent has it."""
        return "/".join(quote(str(part), safe=":+@ ") for part in dataclasses.astuple(self))


def chosen_deployment_id() -> str:
    """
    Return the name that Airflow's configuration gives this deployment.

    :return: ``[connix] deployment_id``; default ""
    """
    return str(conf.get("connix", "deployment_id", fallback="") or "")


def deployment_id() -> str:
    """
    Return what distinguishes this Airflow deployment from others with the same DAGs and Connix project.

    :return: ``[connix] deployment_id`` of Airflow's configuration; default the address of Airflow's web
        server (``[api] base_url``, on Airflow 2 ``[webserver] base_url``) without its scheme, or ""
    """
    if chosen := chosen_deployment_id():
        return chosen
    # One section only, because Airflow 3 warns about the section of Airflow 2.
    section = "webserver" if __version__.startswith("2.") else "api"
    address = urlsplit(conf.get(section, "base_url", fallback=None) or "")
    return f"{address.netloc.rpartition('@')[2]}{address.path}".rstrip("/")


def identity_key(context: Context) -> str:
    """
    Return the key of a task run, which is the same in each of its tries.

    :return: deployment, dag, run, task and map index, quoted and separated by slashes
    :raises ValueError: for a context without a task instance
    """
    ti = context.get("ti")
    parts = {name: getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id", "map_index")}
    # Checked by type, because a mock has every attribute and its key would differ in each try.
    if missing := [name for name, part in parts.items() if not isinstance(part, str | int)]:
        raise ValueError(
            "the context has no task run, so a retry could not find the agent that this try creates: "
            f"context['ti'] has no {', no '.join(missing)}"
        )
    return str(TaskRunKey(deployment_id(), **parts))  # type: ignore[arg-type]  # checked above


def parse_identity_key(key: Any) -> TaskRunKey | None:
    """
    Read an identity key.

    :param key: what the metadata of an agent has in its place
    :return: the parts; ``None`` for anything that :func:`identity_key` does not write
    """
    parts = [unquote(part) for part in key.split("/")] if isinstance(key, str) else []
    if len(parts) != 5 or not all(parts[1:]):
        return None
    try:
        parsed = TaskRunKey(parts[0], parts[1], parts[2], parts[3], int(parts[4]))
    except ValueError:
        return None
    # Another spelling of the same parts was not written by this provider.
    return parsed if str(parsed) == key and parsed.map_index >= -1 else None


def try_number_of(context: Context) -> int:
    """
    Return the number of the try.

    :return: the number, from 1; 1 without a task instance
    """
    number = getattr(context.get("ti"), "try_number", None)
    return number if isinstance(number, int) else 1


def max_tries_of(context: Context) -> int | None:
    """
    Return the highest try number that Airflow allows the run.

    A clear raises it and a retry does not, so a record of an earlier try counts only while it stays the same.

    :return: the number, or ``None`` without a task instance
    """
    number = getattr(context.get("ti"), "max_tries", None)
    return number if isinstance(number, int) else None
