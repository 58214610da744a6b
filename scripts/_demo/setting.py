"""Say where the demo's Airflow lives and how it is set up."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from connix_provider.emulator import Emulator

ROOT: Final = Path(__file__).resolve().parents[2]
#: Beside the Python that runs this: the environment need not be activated.
AIRFLOW: Final = Path(sys.executable).with_name("airflow")
CONNECTION: Final = "connix_default"

#: The agents that the example DAGs name by default.
AGENTS: Final = {
    "Support agent": "Answers what customers ask",
    "Translator": "Translates what the others write",
    "Researcher": "Finds sources",
    "Proofreader": "Finds mistakes",
}


def home() -> Path:
    """
    Return Airflow's home, which the calling script has made.

    :return: the folder
    """
    return Path(os.environ["AIRFLOW_HOME"])


def environment(**more: str) -> dict[str, str]:
    """
    Make the environment for Airflow's processes.

    :param more: further variables
    :return: all variables
    """
    return {
        **os.environ,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        # Airflow sets the modes of its log files itself, whatever the umask.
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        # The output goes to files.
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def connection(emulator: Emulator) -> dict[str, Any]:
    """
    Describe the emulator as an Airflow connection.

    :param emulator: the emulator
    :return: the connection's fields, as Airflow's REST API takes them
    """
    return {
        "conn_type": "connix",
        "host": emulator.url,
        "password": emulator.api_key,
        # Without a port, the Test button of Airflow's form answers 400.
        "port": 0,
        "extra": json.dumps({"project_id": emulator.project_id}),
    }


def populate(emulator: Emulator) -> None:
    """
    Put the agents there that the example DAGs look for.

    :param emulator: the emulator
    """
    config = {"model": "gpt-4", "temperature": 0.3, "max_tokens": 1024, "tools": ["web_search"]}
    for name, description in AGENTS.items():
        emulator.seed(name=name, description=description, config=config, metadata={"team": "data-platform"})
