"""
Make the environments of this project and run its checks and tests; ``scripts/nox -l`` lists the sessions.

- What is tested is the built wheel, never the source tree.
- Every version comes from ``constraints/``, which ``scripts/lock`` writes.
- Sessions without an Airflow of their own share ``.venv``, which editors find too.
"""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2026.10"
nox.options.sessions = ["check", "unit", "end_to_end"]
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
# A machine without one of the Pythons skips the session, which says so.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
VENV = ROOT / ".venv"
UV = str(Path(sys.executable).with_name("uv"))
EVERYDAY = "airflow-3.3"
#: Airflow before 3.3 does not run on every newer Python.
OLDER_PYTHON = ">=3.11,<3.13"
#: More workers than this spend their time on importing Airflow, and need more than half a GiB each.
IN_PARALLEL = ("-n", "auto", "--maxprocesses", "8")
#: The tests whose outcome depends on the version of Airflow.
MEET_AIRFLOW = (
    *(f"tests/unit/{folder}" for folder in ("hooks", "operators", "sensors", "triggers")),
    *("tests/unit/test_provider_info.py", "tests/docs", "tests/example_dags"),
)
#: Seconds that tests and what they started get to stop after Ctrl-C.
PATIENCE = 30


@nox.session(venv_backend="none", default=False)
def environment(session: nox.Session) -> None:
    """Make .venv with the built wheel, Airflow 3.3 and the tools; leave it alone where nothing changed."""
    if not (VENV / "bin" / "python").exists():
        session.run_install(UV, "venv", "--clear", "--python", sys.executable, str(VENV), external=True)
    _install(session, VENV, EVERYDAY, "test", "check", "scripts", "system")


@nox.session(venv_backend="none", default=False, requires=["environment"])
def database(session: nox.Session) -> None:
    """Make the database that scripts/demo copies."""
    _database(session, VENV, EVERYDAY)


@nox.session(venv_backend="none", requires=["environment"])
def check(session: nox.Session) -> None:
    """Check style, format and types."""
    for command in (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)):
        session.run(str(VENV / "bin" / command[0]), *command[1:], external=True)


@nox.session(venv_backend="none", requires=["environment"])
def unit(session: nox.Session) -> None:
    """Run the unit tests: about a minute on two cores."""
    _pytest(session, VENV, EVERYDAY, "-m", "not heavy and not slow", *IN_PARALLEL)


@nox.session(venv_backend="none", requires=["environment"])
def end_to_end(session: nox.Session) -> None:
    """Run one DAG with a real scheduler and triggerer: about a minute."""
    _pytest(session, VENV, EVERYDAY, "tests/system/test_scheduler.py")


@nox.session(python="3.12")
def coverage(session: nox.Session) -> None:
    """Run every test but the slow ones, and measure the coverage."""
    folder = Path(session.virtualenv.location)
    _install(session, folder, EVERYDAY, "test", "scripts", "system")
    # Python 3.12 and later can measure it by sys.monitoring, which costs less than a trace function.
    session.env["COVERAGE_CORE"] = "sysmon"
    measured = ("--cov", "--cov-report=term-missing")
    _pytest(session, folder, EVERYDAY, "-m", "not slow", *IN_PARALLEL, *measured)


@nox.session(venv_backend="none", requires=["environment"])
def slow(session: nox.Session) -> None:
    """Run the slow tests: real processes, killed and restarted."""
    session.run("scripts/_postgresql", external=True)
    # CI reads the last line, which is then pytest's summary; a failure is still logged.
    logging.getLogger("nox").setLevel(logging.WARNING)
    # Files side by side, because the tests spend most of their time waiting for Airflow.
    _pytest(session, VENV, EVERYDAY, "-m", "slow", "-v", "-n", "3", "--dist", "loadfile")


@nox.session(venv_backend="none", requires=["environment"])
def pytest(session: nox.Session) -> None:
    """Run pytest with the arguments that follow ``--``."""
    _pytest(session, VENV, EVERYDAY, *session.posargs)


@nox.session
@nox.parametrize(
    ("python", "airflow"),
    [
        nox.param(OLDER_PYTHON, "2.11", id="2.11"),
        nox.param(OLDER_PYTHON, "3.0", id="3.0"),
        nox.param(OLDER_PYTHON, "3.1", id="3.1"),
        nox.param(OLDER_PYTHON, "3.2", id="3.2"),
        nox.param("3.11", "3.3", id="3.3-3.11"),
        # On 3.12, the session coverage runs every test.
        nox.param("3.13", "3.3", id="3.3-3.13"),
        nox.param(OLDER_PYTHON, "3.4", id="3.4"),
    ],
)
def compat(session: nox.Session, airflow: str) -> None:
    """Run the tests that meet Airflow on another version of it, or pytest with the arguments after ``--``."""
    folder, constraints = Path(session.virtualenv.location), f"airflow-{airflow}"
    _install(session, folder, constraints, "test")
    everything = ("-m", "not slow and not one_airflow", *IN_PARALLEL, *MEET_AIRFLOW)
    # Warnings are errors in .venv only, because other versions warn of other things.
    options = ("-p", "no:cacheprovider", "-W", "default", "--disable-warnings")
    _pytest(session, folder, constraints, *options, *(session.posargs or everything))


@nox.session
def benchmark(session: nox.Session) -> None:
    """Measure the provider; scripts/benchmark does the same."""
    folder = Path(session.virtualenv.location)
    _install(session, folder, "benchmark", "benchmark", "scripts")
    # Python finds the benchmarks there, and not the package that lies beside them in the source tree.
    (packages,) = folder.glob("lib/python3*/site-packages")
    for found in (ROOT / "benchmarks", ROOT / "scripts" / "_pages" / "marked_page.py"):
        link = packages / found.name
        link.unlink(missing_ok=True)
        link.symlink_to(found)
    session.run("python", "-P", "-m", "benchmarks", *session.posargs, interrupt_timeout=PATIENCE)


@nox.session(venv_backend="none", requires=["environment"])
def simulate(session: nox.Session) -> None:
    """Play histories against a hostile service; scripts/simulate says with which arguments."""
    env = {
        # Airflow writes its configuration there, and needs no database for this.
        "AIRFLOW_HOME": str(Path(session.create_tmp()).absolute()),
        "PYTHONPATH": os.pathsep.join((str(ROOT / "tests/simulation"), str(ROOT / "scripts/_pages"))),
    }
    python = str(VENV / "bin" / "python")
    session.run(python, "-P", "-m", "hostile", *session.posargs, env=env, external=True)


@nox.session(venv_backend="none", requires=["environment"])
def reliability(session: nox.Session) -> None:
    """Try every fault, kill real processes, hunt for secrets, and write docs/reliability.md."""
    tally = Path(session.create_tmp()).absolute() / "tally.jsonl"
    tally.unlink(missing_ok=True)
    session.env["CONNIX_TALLY"] = str(tally)
    session.run("scripts/_postgresql", external=True)
    outcome = "right"
    # With the same seed each time, two tables differ by the provider, not by luck.
    faults = ("tests/reliability", "tests/unit/client/test_faults.py", "--hypothesis-seed=0")
    for arguments in (
        (*faults, "-m", "not slow", *IN_PARALLEL),
        tuple(f"tests/system/test_{name}.py" for name in ("crash", "fleet_crash", "kill", "canary")),
    ):
        try:
            _pytest(session, VENV, EVERYDAY, *arguments)
        except CommandFailed:
            outcome = "wrong"
    table = ("scripts/_reliability/table.py", str(tally), "docs/reliability.md", outcome)
    session.run(str(VENV / "bin" / "python"), *table, external=True)
    if outcome == "wrong":
        session.error("an outcome was wrong; the table says so")


def _pytest(session: nox.Session, folder: Path, constraints: str, *arguments: str) -> None:
    env = {
        "CONNIX_TEST_DATABASE": str(_database(session, folder, constraints)),
        # No process that a test starts finds the package in the working directory.
        "PYTHONSAFEPATH": "1",
    }
    command = str(folder / "bin" / "pytest")
    session.run(command, *arguments, env=env, external=True, interrupt_timeout=PATIENCE)


def _install(session: nox.Session, folder: Path, constraints: str, *groups: str) -> None:
    """Install the wheel, its requirements and these dependency groups at the constraints' versions."""
    wheel = _wheel(session)
    chosen = (f"--group={group}" for group in groups)
    session.run_install(
        *(UV, "pip", "install", "--quiet", "--python", str(folder)),
        *("--constraint", f"constraints/{constraints}.txt", f"{wheel}[emulator]", *chosen),
        env=mirrors(),
        external=True,
    )


def _wheel(session: nox.Session) -> Path:
    """Build the wheel where it is older than the sources; uv installs only a wheel that changed."""
    dist = ROOT / ".nox" / "dist"
    sources = [ROOT / "pyproject.toml", ROOT / "README.md", *(ROOT / "connix_provider").rglob("*")]
    newest = max(path.stat().st_mtime for path in sources if "__pycache__" not in path.parts)
    if not any(wheel.stat().st_mtime > newest for wheel in dist.glob("*.whl")):
        session.run_install(
            *(UV, "build", "--quiet", "--wheel", "--clear", "--no-create-gitignore", "--out-dir", str(dist)),
            *("--build-constraints", f"constraints/{EVERYDAY}.txt"),
            env=mirrors(),
            external=True,
        )
    (wheel,) = dist.glob("*.whl")
    return wheel


def mirrors() -> dict[str, str]:
    """Return in uv's variables what pip is configured with, unless uv is configured itself."""
    if {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & os.environ.keys():
        return {}
    command = (sys.executable, "-m", "pip", "config", "list")
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        # Environment variables come first in the list, and win.
        settings.setdefault(name.rpartition(".")[2], ast.literal_eval(value))
    names = {"index-url": "UV_DEFAULT_INDEX", "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE"}
    return {names[name]: value for name, value in settings.items() if name in names}


def _database(session: nox.Session, folder: Path, constraints: str) -> Path:
    """Return an empty database of this Airflow, migrated once; tests and demos copy it."""
    migrated = ROOT / ".airflow" / "databases" / f"{constraints}.db"
    versions = ROOT / "constraints" / f"{constraints}.txt"
    if migrated.exists() and migrated.stat().st_mtime > versions.stat().st_mtime:
        return migrated
    home = Path(session.create_tmp()).absolute()
    session.run_install(
        *(str(folder / "bin" / "airflow"), "db", "migrate"),
        env={"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        external=True,
        silent=True,
    )
    migrated.parent.mkdir(parents=True, exist_ok=True)
    return (home / "airflow.db").replace(migrated)
