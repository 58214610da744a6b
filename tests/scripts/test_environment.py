"""The scripts, the constraints and the environments that they make."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import connix_provider

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = ["benchmark", "check", "compat", "demo", "lock", "nox", "reliability", "simulate", "test"]


@pytest.mark.skipif(
    "CONNIX_TEST_DATABASE" not in os.environ,
    reason="only the sessions of nox install the wheel; this pytest was started by hand",
)
def test_the_tested_package_is_the_installed_wheel():
    place = pathlib.Path(connix_provider.__file__).resolve()
    assert "site-packages" in place.parts
    assert place.parents[1] != ROOT


def test_constraints_name_exact_versions_and_no_host():
    files = sorted((ROOT / "constraints").glob("*.txt"))
    assert [file.stem for file in files] == [
        "airflow-2.11",
        "airflow-3.0",
        "airflow-3.1",
        "airflow-3.2",
        "airflow-3.3",
        "airflow-3.4",
        "benchmark",
        "tools",
    ]
    for file in files:
        for line in file.read_text().splitlines():
            assert re.fullmatch(r"[a-z0-9-]+==[0-9][\w.!+]*( ; .*)?", line), f"{file.name}: {line}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_executable_and_valid_bash(script):
    path = ROOT / "scripts" / script
    assert os.access(path, os.X_OK)
    assert path.read_text().splitlines()[0] == "#!/usr/bin/env bash"
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script != "lock"])
def test_a_script_without_python_fails_with_one_line(script, tmp_path):
    checkout, programs = tmp_path / "checkout", tmp_path / "programs"
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    shutil.copytree(ROOT / "constraints", checkout / "constraints")
    programs.mkdir()
    for name in ("bash", "cmp", "dirname"):
        (programs / name).symlink_to(pathlib.Path(shutil.which(name)))
    done = subprocess.run(
        [checkout / "scripts" / script],
        env={"PATH": str(programs), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "no python3 of version 3.11 or later found; install one, or name it in PYTHON"
    ]


def mirrors(**environment: str) -> dict[str, str]:
    """Return the variables that the noxfile sets for uv, in this environment."""
    python = ROOT / ".nox" / "tools" / "bin" / "python"
    if not python.exists():
        pytest.skip("only scripts/nox installs nox; this pytest was started by hand")
    script = "import json, noxfile; print(json.dumps(noxfile.mirrors()))"
    rest = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))
    }
    done = subprocess.run(
        [python, "-c", script], env=rest | environment, cwd=ROOT, capture_output=True, check=True
    )
    return json.loads(done.stdout)


def test_uv_gets_the_package_index_of_pip(tmp_path):
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://mirror.test/simple\n[install]\ntrusted-host = mirror.test\n"
    )
    settings = {"PIP_CONFIG_FILE": str(config), "PIP_CERT": "/a/certificate.pem"}
    assert mirrors(**settings) == {
        "UV_DEFAULT_INDEX": "https://mirror.test/simple",
        "UV_INSECURE_HOST": "mirror.test",
        "SSL_CERT_FILE": "/a/certificate.pem",
    }
    index = mirrors(**settings, PIP_INDEX_URL="https://other.test/simple")["UV_DEFAULT_INDEX"]
    assert index == "https://other.test/simple"


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_the_package_index_of_uv_wins(name):
    settings = {name: "https://mirror.test/simple", "PIP_INDEX_URL": "https://other.test/simple"}
    assert mirrors(**settings) == {}
