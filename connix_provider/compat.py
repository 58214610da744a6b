"""
Differences between Airflow versions.

Airflow's constraints pin common-compat to the version of Airflow's release day. With ``mask_secret`` and
``get_async_connection`` that version is enough. Runs and task instances are counted through the Task SDK of
Airflow 3, whose tasks have no database, and in the database of Airflow 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from airflow import __version__
from airflow.providers.common.compat.sdk import BaseHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

__all__ = ["count_dag_runs", "count_task_instances", "get_async_connection", "mask_secret"]

#: Airflow 3's default of ``[logging] min_length_masked_secret``; Airflow 2.11 has no such limit.
_MIN_LENGTH: Final = 5
#: Where Airflow keeps ``mask_secret``: 3.1 and later, 3.0, 2.
_MASKS_SECRETS: Final = (
    "airflow.sdk.log",
    "airflow.sdk.execution_time.secrets_masker",
    "airflow.utils.log.secrets_masker",
)


def mask_secret(secret: str) -> None:
    """
    Register a secret with Airflow's masker, which hides it in logs and rendered fields.

    Texts of fewer than five characters are not registered, as in Airflow 3, because hiding each "3" would
    make logs unreadable.

    :raises ImportError: if Airflow keeps its masker in an unknown module
    """
    if len(secret) < _MIN_LENGTH:
        return
    for name in _MASKS_SECRETS:
        try:
            mask = import_module(name).mask_secret
        except (AttributeError, ImportError):
            continue
        mask(secret)
        return
    raise ImportError("cannot mask secrets: this version of Airflow has no known mask_secret")


async def get_async_connection(conn_id: str) -> Connection:
    """
    Read a connection without blocking the event loop.

    Before Airflow 3.3.2, ``BaseHook.aget_connection`` masks secrets with a synchronous call, which raises
    while another call of the same event loop is under way. On those versions a thread reads the connection.

    :param conn_id: the connection's id
    """
    # Not at the top, because parsing a DAG file needs no connection.
    from airflow.providers.common.compat.sdk import Connection

    if hasattr(Connection, "aextra_dejson"):
        return await BaseHook.aget_connection(conn_id)
    from asgiref.sync import sync_to_async

    return await sync_to_async(BaseHook.get_connection)(conn_id)


def count_dag_runs(ti: Any, dag_id: str, run_id: str, states: Sequence[str] | None = None) -> int:
    """
    Count the runs of a DAG that have an id: one or none.

    :param ti: the task instance of the running task
    :param states: only a run in one of these states
    :return: 1 if there is such a run, else 0
    :raises Exception: if Airflow cannot answer, an exception of Airflow or of its database
    """
    if not __version__.startswith("2."):
        wanted = list(states) if states is not None else None
        return int(_running_task(ti).get_dr_count(dag_id=dag_id, run_ids=[run_id], states=wanted))
    from airflow.models import DagRun

    runs = DagRun.find(dag_id=dag_id, run_id=[run_id])
    return sum(1 for run in runs if states is None or run.state in states)


def count_task_instances(ti: Any, dag_id: str, run_id: str, states: Sequence[str] | None = None) -> int:
    """
    Count the task instances of a run.

    :param ti: the task instance of the running task
    :param states: only task instances in one of these states; ``null`` stands for those that have none yet
    :raises Exception: if Airflow cannot answer, an exception of Airflow or of its database
    """
    if not __version__.startswith("2."):
        wanted = list(states) if states is not None else None
        return int(_running_task(ti).get_ti_count(dag_id=dag_id, run_ids=[run_id], states=wanted))
    from airflow.models import DagRun

    instances = DagRun.fetch_task_instances(dag_id=dag_id, run_id=run_id)
    return sum(1 for instance in instances if states is None or (instance.state or "null") in states)


def _running_task(ti: Any) -> Any:
    """Return a task instance that can query Airflow's API."""
    if not hasattr(ti, "get_dr_count"):
        raise LookupError("only a running task can query Airflow's API for runs")
    return ti
