"""Measure what a DAG file pays for importing a provider, after Airflow itself."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping

from benchmarks.figures import median

__all__ = ["PROVIDERS", "Imported", "measure"]

#: Operators, sensors and triggers of each provider, as DAG files import them.
PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "connix": (
        "connix_provider.operators.agent",
        "connix_provider.sensors.agent",
        "connix_provider.triggers.agent",
    ),
    "http": (
        "airflow.providers.http.operators.http",
        "airflow.providers.http.sensors.http",
        "airflow.providers.http.triggers.http",
    ),
    "dbt Cloud": (
        "airflow.providers.dbt.cloud.operators.dbt",
        "airflow.providers.dbt.cloud.sensors.dbt",
        "airflow.providers.dbt.cloud.triggers.dbt",
    ),
    "Anthropic": (
        "airflow.providers.anthropic.operators.agent",
        "airflow.providers.anthropic.sensors.batch",
        "airflow.providers.anthropic.triggers.agent",
    ),
}

_SCRIPT = """
import sys, time, json, importlib
import airflow.sdk
before, began = set(sys.modules), time.perf_counter()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([len(set(sys.modules) - before), time.perf_counter() - began]))
"""


@dataclasses.dataclass(frozen=True)
class Imported:
    """
    Hold what importing a provider costs.

    :param modules: how many modules it loads
    :param seconds: how long it takes, the median of several processes
    """

    modules: int
    seconds: float


def measure(times: int) -> dict[str, Imported]:
    """
    Import each provider in fresh processes, in turns.

    :param times: how often each
    :return: what each costs, by its name
    """
    found: dict[str, list[tuple[int, float]]] = {provider: [] for provider in PROVIDERS}
    for _ in range(times):
        for provider, modules in PROVIDERS.items():
            done = subprocess.run(  # noqa: S603 - this very Python, with names from above
                [sys.executable, "-c", _SCRIPT, *modules],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
            )
            found[provider].append(tuple(json.loads(done.stdout.splitlines()[-1])))
    return {
        provider: Imported(runs[0][0], median([seconds for _, seconds in runs]))
        for provider, runs in found.items()
    }
