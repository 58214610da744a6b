"""
Set Airflow up once for each process that runs tests: a database of its own, nothing of the user's.

It happens at import, because Airflow reads its configuration when it is first imported.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile

from hypothesis import HealthCheck, settings

# No deadline: how long an example takes says more of the machine than of what is tested.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_GIVEN = os.environ.get("CONNIX_TEST_AIRFLOW_HOME")
_HOME = pathlib.Path(_GIVEN or tempfile.mkdtemp(prefix="connix-airflow-"))
if _GIVEN and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
    # Two processes on one SQLite database would wait for each other.
    _HOME = _HOME / worker
    shutil.rmtree(_HOME, ignore_errors=True)
    _HOME.mkdir()
    shutil.copy(pathlib.Path(_GIVEN) / "airflow.db", _HOME)
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
(_HOME / "dags").mkdir(parents=True, exist_ok=True)
for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "CONNIX_API"))]:
    del os.environ[name]
