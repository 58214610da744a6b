"""What a user has after nothing but installing the wheel, beside Airflow, in an environment of its own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from connix_provider.emulator import Emulator

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints" / "airflow-3.3.txt"


def sh(*command: object, code: int = 0, **environment: str) -> str:
    """Run a command and return what it prints; another exit code than the one expected shows all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=environment.get("AIRFLOW_HOME"),
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A new environment with the wheel and what it asks for, and nothing else."""
    place = tmp_path_factory.mktemp("install")
    wheels = place / "wheels"
    uv = pathlib.Path(sys.executable).with_name("uv")
    environment = place / "environment"
    sh(sys.executable, "-m", "venv", environment)
    if uv.exists():
        sh(uv, "build", "--quiet", "--wheel", "--out-dir", wheels, ROOT, "--python", sys.executable)
        install = [uv, "pip", "install", "--quiet", "--python", environment / "bin" / "python"]
    else:
        sh(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", wheels, ROOT)
        install = [environment / "bin" / "pip", "install", "--quiet"]
    (wheel,) = wheels.glob("*.whl")
    sh(*install, "-c", CONSTRAINTS, wheel)
    home = place / "home"
    home.mkdir()
    return environment / "bin", {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "PYTHONPATH": "",
    }


def test_airflow_shows_and_uses_the_provider(installed):
    commands, environment = installed
    airflow = commands / "airflow"
    assert "airflow-provider-connix" in sh(airflow, "providers", "list", "-o", "plain", **environment)
    hooks = sh(airflow, "providers", "hooks", "-o", "plain", **environment)
    assert "connix_provider.hooks.connix.ConnixHook" in hooks
    sh(airflow, "db", "migrate", **environment)
    with Emulator() as emulator:
        sh(
            *(airflow, "connections", "add", "connix_default", "--conn-type", "connix"),
            *("--conn-password", emulator.api_key, "--conn-host", emulator.url),
            *("--conn-extra", f'{{"project_id": "{emulator.project_id}"}}'),
            **environment,
        )
        said = sh(airflow, "connections", "test", "connix_default", **environment)
        assert "Connection success!" in said
        assert [entry.call for entry in emulator.journal.entries()] == ["list_agents"]
        emulator.revoke_key(emulator.api_key)
        said = sh(airflow, "connections", "test", "connix_default", code=1, **environment)
        assert "The API key or token is refused" in said
        assert emulator.api_key not in said


def test_the_wheel_holds_the_package_and_nothing_else(installed):
    commands, _ = installed
    site = next(commands.parent.glob("lib/python3*/site-packages"))
    assert (site / "connix_provider" / "py.typed").is_file()
    assert not [name for name in ("tests", "example_dags", "scripts", "docs") if (site / name).exists()]


def test_the_emulator_runs_from_it(installed):
    commands, environment = installed
    shown = sh(commands / "python", "-m", "connix_provider.emulator", "--help", **environment)
    assert "--port" in shown
