"""
The built wheel installs beside each Airflow as the README says.

Airflow publishes its constraints outside the package registries. They hold the newest versions of the day
of the release: uv resolves the same from the registry.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from connix_provider.emulator import Emulator

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
UV = pathlib.Path(sys.executable).with_name("uv")
#: What this provider needs. Airflow's constraints name every provider and all of its dependencies.
NEEDED = ("apache-airflow-providers-common-compat", "httpx", "pydantic", "pendulum")
#: The Airflow, and the day after its release.
RELEASED = {
    "2.11.1": "2026-02-22",
    "2.11.2": "2026-03-16",
    "3.1.7": "2026-02-06",
    "3.1.8": "2026-03-13",
    "3.2.2": "2026-05-31",
    "3.3.2": "2026-09-19",
}
#: Their constraints have a common-compat that is too old.
TOO_OLD = {"2.11.0": "2025-05-22", "3.0.6": "2025-08-31"}

#: What must work there: Airflow knows the provider, and the hook reaches a service with a connection.
TRIAL = """
import asyncio, importlib, pkgutil, sys
from airflow.providers_manager import ProvidersManager
import connix_provider
from connix_provider.compat import mask_secret
from connix_provider.hooks.connix import ConnixHook

# These two need an extra, and pytest.
unused = ("connix_provider.emulator", "connix_provider.pytest_plugin")
for module in pkgutil.walk_packages(connix_provider.__path__, "connix_provider."):
    if not module.name.startswith(unused):
        importlib.import_module(module.name)
assert ProvidersManager().hooks["connix"].hook_class_name == "connix_provider.hooks.connix.ConnixHook"
mask_secret("a text to hide")
works, words = ConnixHook().test_connection()
assert works, words

async def read():
    async with await ConnixHook().get_async_conn() as client:
        return [agent.name async for agent in client.agents.iter(ConnixHook().project_id)]

assert asyncio.run(read()) == ["found"]
print("all of it works")
"""


def uv(*command: object) -> str:
    """Run uv and return what it prints; a failure shows all of it."""
    done = subprocess.run(
        [str(part) for part in (UV, *command)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    place = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--no-config", "--wheel", "--out-dir", place, ROOT, "--python", sys.executable)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture
def environment(tmp_path):
    """An empty environment of Python 3.11 or, where there is none, of the one that runs this."""
    uv("venv", "--quiet", "--no-config", "--python", sys.executable, tmp_path / "environment")
    return tmp_path / "environment"


def constraints(airflow: str, day: str, place: pathlib.Path) -> pathlib.Path:
    """Write the constraints of an Airflow's release."""
    wanted = place / "wanted.txt"
    wanted.write_text("\n".join((f"apache-airflow=={airflow}", *NEEDED)))
    written = place / "constraints.txt"
    until = ("--exclude-newer", f"{day}T00:00:00Z")
    uv("pip", "compile", "--quiet", "--no-config", *until, "--output-file", written, wanted)
    return written


def install(environment: pathlib.Path, *what: object) -> None:
    uv("pip", "install", "--quiet", "--no-config", "--python", environment / "bin" / "python", *what)


def installed(environment: pathlib.Path) -> dict[str, str]:
    listed = uv("pip", "freeze", "--no-config", "--python", environment / "bin" / "python")
    return dict(line.split("==") for line in listed.splitlines() if "==" in line)


def try_it(environment: pathlib.Path, home: pathlib.Path) -> None:
    """Use the provider there with a connection from the environment."""
    with Emulator() as emulator:
        emulator.seed(name="found")
        done = subprocess.run(
            [environment / "bin" / "python", "-c", TRIAL],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
                "AIRFLOW_CONN_CONNIX_DEFAULT": (
                    f'{{"conn_type": "connix", "host": "{emulator.url}", "password": "{emulator.api_key}",'
                    f' "extra": {{"project_id": "{emulator.project_id}"}}}}'
                ),
                "PYTHONPATH": "",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=home,
        )
    assert done.returncode == 0, done.stdout
    assert "all of it works" in done.stdout


@pytest.mark.parametrize("airflow", RELEASED)
def test_it_installs_with_the_constraints_of_an_airflow(airflow, wheel, environment, tmp_path):
    file = constraints(airflow, RELEASED[airflow], tmp_path)
    install(environment, wheel, f"apache-airflow=={airflow}", "--constraint", file)
    assert installed(environment)["apache-airflow"] == airflow
    try_it(environment, tmp_path)


@pytest.mark.parametrize("airflow", TOO_OLD)
def test_older_constraints_take_a_second_step(airflow, wheel, environment, tmp_path):
    file = constraints(airflow, TOO_OLD[airflow], tmp_path)
    install(environment, f"apache-airflow=={airflow}", "httpx", "pydantic", "--constraint", file)
    before = installed(environment)
    install(environment, wheel, f"apache-airflow=={airflow}")
    after = installed(environment)
    changed = {name for name, version in before.items() if after[name] != version}
    assert changed <= {"apache-airflow-providers-common-compat"}
    try_it(environment, tmp_path)
