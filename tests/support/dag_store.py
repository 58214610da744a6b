"""Store DAGs that tests make, on every supported Airflow."""

from __future__ import annotations

import os
from typing import Any


def airflow_version() -> tuple[int, ...]:
    from airflow import __version__

    return tuple(int(part) for part in __version__.split(".")[:2])


def store(dag: Any) -> None:
    """Put a DAG into the database, as the DAG processor would; Airflow 2 does not need it."""
    if airflow_version() < (3, 1):
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils.session import create_session

    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # 3.1
        from airflow.models.dagbag import DagBag, sync_bag_to_db

    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
