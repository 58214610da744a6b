"""
Give each process that runs tests an Airflow of its own, with nothing of the user's.

This happens at import, because Airflow reads its configuration when it is first imported.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile

from hypothesis import HealthCheck, settings

# No deadline, because the duration of an example depends on the machine.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# Kept, because the folder is deleted with this object.
_FOLDER = tempfile.TemporaryDirectory(prefix="connix-airflow-", ignore_cleanup_errors=True)
_HOME = pathlib.Path(_FOLDER.name)
(_HOME / "dags").mkdir()
if migrated := os.environ.get("CONNIX_TEST_DATABASE"):
    # Each process has its own, because two on one SQLite database would wait for each other.
    shutil.copy(migrated, _HOME / "airflow.db")
os.environ.update(
    AIRFLOW_HOME=str(_HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(_HOME / "dags"),
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME / 'airflow.db'}",
    AIRFLOW__CORE__DEFAULT_TASK_RETRIES="0",
    # Tests stop their clocks and begin services anew on the same port.
    CONNIX_RATE_LIMIT_DIR="",
)
for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "CONNIX_API"))]:
    del os.environ[name]
