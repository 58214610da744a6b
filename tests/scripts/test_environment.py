"""What the tests run on."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

import pytest

import connix_provider

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.skipif(
    "CONNIX_TEST_AIRFLOW_HOME" not in os.environ,
    reason="only scripts/test and scripts/compat install the wheel; this pytest was started by hand",
)
def test_the_package_that_is_tested_is_the_installed_wheel():
    place = pathlib.Path(connix_provider.__file__).resolve()
    assert "site-packages" in place.parts
    assert place.parents[1] != ROOT


def test_constraints_name_exact_versions_and_no_place():
    files = sorted((ROOT / "constraints").glob("*.txt"))
    assert [file.stem for file in files] == [
        "airflow-2.11",
        "airflow-3.0",
        "airflow-3.1",
        "airflow-3.2",
        "airflow-3.3",
        "airflow-3.4",
        "benchmark",
    ]
    for file in files:
        for line in file.read_text().splitlines():
            assert re.fullmatch(r"[a-z0-9-]+==[0-9][\w.!+]*( ; .*)?", line), f"{file.name}: {line}"


@pytest.mark.parametrize("script", ["benchmark", "check", "compat", "demo", "lock", "reliability", "test"])
def test_a_script_can_be_started_and_is_valid_bash(script):
    path = ROOT / "scripts" / script
    assert os.access(path, os.X_OK)
    assert path.read_text().splitlines()[0] == "#!/usr/bin/env bash"
    subprocess.run(["bash", "-n", path], check=True)


def run_without_python(script: str, tmp_path: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Run a script where no program is found but the few that it begins with."""
    for name in ("bash", "basename", "dirname"):
        target = next(path for path in map(pathlib.Path, ("/bin", "/usr/bin")) if (path / name).exists())
        (tmp_path / name).symlink_to(target / name)
    return subprocess.run(
        [ROOT / "scripts" / script],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", ["benchmark", "check", "demo", "reliability", "test"])
def test_without_a_python_a_script_says_so_in_one_line(script, tmp_path):
    done = run_without_python(script, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"scripts/{script}: no python3 of version 3.11 or later found; install one, or name it in PYTHON"
    ]


def test_a_version_without_constraints_is_refused():
    done = subprocess.run([ROOT / "scripts" / "compat", "1.10"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no constraints/airflow-1.10.txt" in done.stderr
