"""Measure what a DAG file pays for importing a provider after ``airflow.sdk``."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from benchmarks.row import Begin, Line, Row, ratio

__all__ = ["ImportsRow"]

#: Operators, sensors and triggers of each provider.
_PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "Connix": (
        "connix_provider.operators.agent",
        "connix_provider.sensors.agent",
        "connix_provider.triggers.agent",
    ),
    "HTTP": (
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
_HTTP_CLIENTS = {"aiohttp", "httpx", "httpcore", "requests", "urllib3"}
_SCRIPT = """
import sys, time, json, importlib
import airflow.sdk
before, began = set(sys.modules), time.perf_counter()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([time.perf_counter() - began, sorted(set(sys.modules) - before)]))
"""


class _Imported(NamedTuple):
    """The median seconds of an import, and the modules that it loads."""

    seconds: float
    modules: Sequence[str]

    def __str__(self) -> str:
        return f"{1000 * self.seconds:,.0f} ms, {len(self.modules):,} modules"


class _Costs(dict[str, _Imported]):
    """The cost of each provider."""

    def __str__(self) -> str:
        return "; ".join(f"{name}: {cost}" for name, cost in self.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportsRow(Row):
    """
    Compare imports.

    :param times: how many processes import each provider
    """

    times: int
    providers: Sequence[str] = ("connix",)

    def quick(self) -> Self:
        """Return a row of one process for each provider."""
        return dataclasses.replace(self, times=1)

    def measure(self, provider: str, begin: Begin) -> _Costs:
        """Import every provider in fresh processes, in turns."""
        begin()
        runs: dict[str, list[tuple[float, list[str]]]] = {name: [] for name in _PROVIDERS}
        for _ in range(self.times):
            for name, modules in _PROVIDERS.items():
                done = subprocess.run(  # noqa: S603 - this Python, with constants
                    [sys.executable, "-c", _SCRIPT, *modules],
                    capture_output=True,
                    text=True,
                    check=True,
                    env={**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
                )
                runs[name].append(tuple(json.loads(done.stdout.splitlines()[-1])))
        return _Costs(
            (name, _Imported(statistics.median(seconds for seconds, _ in found), found[0][1]))
            for name, found in runs.items()
        )

    def line(self, measured: Mapping[str, Sequence[_Costs]]) -> Line:
        """Judge the time, and that no HTTP client is loaded."""
        (found,) = measured["connix"]
        others = _Costs(found)
        ours, http = others.pop("Connix"), others.pop("HTTP")
        return Line(
            what=self.what,
            aims=[
                ("at most 30 ms", ours.seconds <= 0.03),
                ("no HTTP client that Airflow has not loaded", not _HTTP_CLIENTS.intersection(ours.modules)),
            ],
            ours=str(ours),
            theirs=f"{http} ({others})",
            to_theirs=ratio(ours.seconds, http.seconds),
        )
