"""
Name the deployment, the task run and the wish that an operator acts for.

The identity key is kept in the metadata of an agent that a task created, so that a retry recognizes its own
agent and no other. It is the same in every try and after a clear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow import __version__
from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["IDENTITY_FIELD", "deployment_id", "identity_key", "max_tries_of", "try_number_of"]

#: The metadata field that holds the identity key of the task run that created an agent.
IDENTITY_FIELD = "airflow_task_run"


def deployment_id() -> str:
    """
    Name this Airflow deployment among others that may run the same DAGs on the same Connix project.

    :return: ``[connix] deployment_id`` of Airflow's configuration; default the address of Airflow's web
        server (``[api] base_url``, on Airflow 2 ``[webserver] base_url``) without its scheme, or nothing
    """
    if chosen := conf.get("connix", "deployment_id", fallback=""):
        return str(chosen)
    # Not both: Airflow 3 warns where the section of Airflow 2 is asked for.
    section = "webserver" if __version__.startswith("2.") else "api"
    address = urlsplit(conf.get(section, "base_url", fallback=None) or "")
    return f"{address.netloc.rpartition('@')[2]}{address.path}".rstrip("/")


def identity_key(context: Context) -> str:
    """
    Name one run of one task, the same in each of its tries.

    :param context: Airflow's context
    :return: deployment, dag, run, task and map index, each quoted so that a slash separates them only
    :raises ValueError: for a context that does not tell them
    """
    ti = context.get("ti")
    parts = {name: getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id", "map_index")}
    # By type: a mock has every attribute, and its key would be another in each try.
    if missing := [name for name, part in parts.items() if not isinstance(part, str | int)]:
        raise ValueError(
            "the context names no task run, by which a retry could recognize what this try did: "
            f"context['ti'] has no {', no '.join(missing)}"
        )
    return "/".join(quote(str(part), safe=":+@ ") for part in (deployment_id(), *parts.values()))


def try_number_of(context: Context) -> int:
    """
    Return which try of its task run this is.

    :param context: Airflow's context
    :return: 1 for the first, and where there is no task instance that could be tried again
    """
    number = getattr(context.get("ti"), "try_number", None)
    return number if isinstance(number, int) else 1


def max_tries_of(context: Context) -> int | None:
    """
    Return the last try number that this run may reach.

    A clear raises it and a retry does not, so it tells
    one wish from the next.

    :param context: Airflow's context
    :return: the number, or ``None`` where the context does not tell it
    """
    number = getattr(context.get("ti"), "max_tries", None)
    return number if isinstance(number, int) else None
