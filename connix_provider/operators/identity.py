"""
The identity of a task run: its key, its try and its clear.

A create writes the identity key to the metadata of its agent, so that a retry finds this agent and no other.
The key is the same in every try and after a clear. It has five parts. An apply adds the agent's name as a
sixth, so that each of its agents has a key, and no such key names a task run alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow import __version__
from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = [
    "APPLY_OWNER_FIELD",
    "IDENTITY_FIELD",
    "deployment_id",
    "identity_key",
    "max_tries_of",
    "try_number_of",
]

#: The metadata field with the identity key of the task run that created an agent.
IDENTITY_FIELD = "airflow_task_run"
#: The metadata field with the owner for which an apply created an agent.
APPLY_OWNER_FIELD = "airflow_apply_owner"


def deployment_id() -> str:
    """
    Return what distinguishes this Airflow deployment from others with the same DAGs and Connix project.

    :return: ``[connix] deployment_id`` of Airflow's configuration; default the address of Airflow's web
        server (``[api] base_url``, on Airflow 2 ``[webserver] base_url``) without its scheme, or ""
    """
    if chosen := conf.get("connix", "deployment_id", fallback=""):
        return str(chosen)
    # One section only, because Airflow 3 warns about the section of Airflow 2.
    section = "webserver" if __version__.startswith("2.") else "api"
    address = urlsplit(conf.get(section, "base_url", fallback=None) or "")
    return f"{address.netloc.rpartition('@')[2]}{address.path}".rstrip("/")


def identity_key(context: Context) -> str:
    """
    Return the key of a task run, which is the same in each of its tries.

    :param context: Airflow's context
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
    return "/".join(quote(str(part), safe=":+@ ") for part in (deployment_id(), *parts.values()))


def try_number_of(context: Context) -> int:
    """
    Return the number of the try.

    :param context: Airflow's context
    :return: the number, from 1; 1 without a task instance
    """
    number = getattr(context.get("ti"), "try_number", None)
    return number if isinstance(number, int) else 1


def max_tries_of(context: Context) -> int | None:
    """
    Return the highest try number that Airflow allows the run.

    A clear raises it and a retry does not, so a record of an earlier try counts only while it stays the same.

    :param context: Airflow's context
    :return: the number, or ``None`` without a task instance
    """
    number = getattr(context.get("ti"), "max_tries", None)
    return number if isinstance(number, int) else None
