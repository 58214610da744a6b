"""Set Airflow up once for the whole run: a database of its own, no examples, nothing of the user's."""

from __future__ import annotations

import os
import pathlib
import tempfile

_HOME = pathlib.Path(os.environ.get("CONNIX_TEST_AIRFLOW_HOME") or tempfile.mkdtemp(prefix="connix-airflow-"))
os.environ.update(
    AIRFLOW_HOME=str(_HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(_HOME / "dags"),
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME / 'airflow.db'}",
    AIRFLOW__CORE__DEFAULT_TASK_RETRIES="0",
)
(_HOME / "dags").mkdir(parents=True, exist_ok=True)
for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "CONNIX_API"))]:
    del os.environ[name]
