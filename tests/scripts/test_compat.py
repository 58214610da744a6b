"""The provider on every Airflow and every Python that it supports."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

pytestmark = pytest.mark.slow

COMPAT = pathlib.Path(__file__).parents[2] / "scripts" / "compat"
NOT_HERE = 77


@pytest.mark.parametrize(
    "version",
    [("2.11",), ("3.0",), ("3.1",), ("3.2",), ("3.3", "3.12"), ("3.3", "3.13"), ("3.4",)],
    ids=" on Python ".join,
)
def test_the_tests_pass_with_another_airflow_or_python(version):
    done = subprocess.run(
        [COMPAT, *version], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = done.stdout.splitlines()
    if done.returncode == NOT_HERE:
        pytest.skip(lines[-1].removeprefix("-- "))
    assert done.returncode == 0, "\n".join(lines[-60:])
