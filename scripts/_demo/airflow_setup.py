"""Give the demo's Airflow a home, settings and a connection to the emulator."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from connix_provider.emulator import Emulator

ROOT: Final = Path(__file__).resolve().parents[2]
#: Beside the running Python, because the environment need not be activated.
AIRFLOW: Final = Path(sys.executable).with_name("airflow")
CONNECTION: Final = "connix_default"

#: The agents that the example DAGs name by default.
AGENTS: Final = {
    "Support agent": "Answers what customers ask",
    "Translator": "Translates what the others write",
    "Researcher": "Finds sources",
    "Proofreader": "Finds mistakes",
}


def make_home(name: str) -> Path:
    """
    Make Airflow's home with an empty database, or keep the one of an earlier demo.

    The folder is readable by this user alone, because it holds connections and a password.

    :param name: the folder's name; the version of Airflow is added
    :return: the folder
    """
    os.umask(0o077)
    # Tests name another folder, because the demo keeps what a user did in its UI.
    homes = Path(os.environ.get("_CONNIX_HOMES", ROOT / ".airflow"))
    home = homes / f"{name}-{version('apache-airflow')}"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "airflow.db").exists():
        # Not copy(), which would also copy the permissions.
        shutil.copyfile(ROOT / ".airflow" / "databases" / "airflow-3.3.db", home / "airflow.db")
    return home


def environment(home: Path, **more: str) -> dict[str, str]:
    """
    Return the environment for Airflow's processes.

    :param home: Airflow's home
    :param more: further variables
    """
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # Airflow sets the modes of its log files itself, whatever the umask.
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        # The output goes to files.
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def connection(emulator: Emulator) -> dict[str, Any]:
    """Return the emulator as an Airflow connection, with the fields of Airflow's REST API."""
    return {
        "conn_type": "connix",
        "host": emulator.url,
        "password": emulator.api_key,
        # Without a port, the Test button of Airflow's form answers 400.
        "port": 0,
        "extra": json.dumps({"project_id": emulator.project_id}),
    }


def seed_agents(emulator: Emulator) -> None:
    """Create the agents that the example DAGs look for."""
    config = {"model": "gpt-4", "temperature": 0.3, "max_tokens": 1024, "tools": ["web_search"]}
    for name, description in AGENTS.items():
        emulator.seed(name=name, description=description, config=config, metadata={"team": "data-platform"})
