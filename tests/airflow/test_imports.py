"""What parsing a DAG file costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from dag_store import airflow_version

#: Modules of users' DAG files, and what a task needs only when it runs.
MODULES = (
    "connix_provider.operators.agent",
    "connix_provider.sensors.agent",
    "connix_provider.triggers.agent",
)


def _added(*modules: str, after: str) -> set[str]:
    code = f"import sys, {after}; before = set(sys.modules); import {', '.join(modules)}; "
    code += "print(*set(sys.modules) - before)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.skipif(
    airflow_version() < (3, 3), reason="what Airflow itself loads differs from version to version"
)
@pytest.mark.heavy
def test_operators_sensors_and_triggers_add_few_modules_to_airflow():
    added = _added(*MODULES, after="airflow.sdk")
    assert len(added) <= 30, sorted(added)


@pytest.mark.heavy
def test_no_http_client_is_imported_for_them():
    own = _added(*MODULES, after="airflow.triggers.base")
    assert not {"connix_provider.client.client", "connix_provider.client.models"} & own
    assert not [name for name in own if name.partition(".")[0] in {"httpx", "httpcore", "fastapi", "uvicorn"}]
