"""Secrets are hunted in all that Airflow keeps of a run of everything: none is found."""

from __future__ import annotations

import json
import pathlib
import secrets
from typing import Any

import pytest
from cryptography.fernet import Fernet
from real_airflow import RealAirflow
from secret_scan import SecretScan
from tally import record
from tokens import renewable

from connix_provider.emulator import Durations, Emulator, Fault, OAuthGrant

pytestmark = pytest.mark.slow

DAGS = pathlib.Path(__file__).with_name("dags")
#: Where users put their secrets themselves. Airflow encrypts these columns, but has the key.
STORES = {"connection.password", "connection.extra", "variable.val"}
#: An agent stays on its way to running when it is started: something is left to kill.
DURATIONS = Durations(creating=6, updating=6, starting=3600)
#: Tasks that are made to fail. Of the mapped sensors these are the agents at 401 and behind a redirect.
FAILING = {
    *("fails_template", "fails_in_prompt", "fails_text", "fails_renewal", "killed_sensor", "killed_start"),
    *(f"fails_with_hook[{n}]" for n in range(4)),
    *(f"sensor_{mode}[{n}]" for mode in ("poke", "reschedule", "deferred") for n in (1, 4)),
}


def test_no_secret_is_left_anywhere(tmp_path):
    home = tmp_path / "home"
    fernet_key = Fernet.generate_key().decode()
    known = {
        "prompt": f"You are {_word()}.\nNever say \"{_word()}\", 'Zürich' or {_word()} Ω:\t€\\n",
        "data source": f"postgres://canary:{_word()}'\"ß%?@host/{_word()}",
        "warehouse": f'"{_word()}" &\n<{_word()}>',
        "key": f"cx_{secrets.token_hex(16)}",
        "mistaken key": f"cx_{secrets.token_hex(16)} with more",
    }
    with Emulator(api_key=known["key"], durations=DURATIONS) as emulator:
        known |= {"stored key": emulator.add_key(), "environment's key": emulator.add_key()}
        tokens = _keep_tokens(emulator)
        grants = {name: emulator.add_token() for name in ("oauth", "renewed", "twice")}
        for name in ("renewed", "twice"):
            emulator.revoke_token(grants[name].access_token)
        known |= {f"client secret of {name}": grant.client_secret for name, grant in grants.items()}
        sleeping = _set_scene(emulator, known)
        with RealAirflow(
            home,
            DAGS,
            emulator,
            AIRFLOW__LOGGING__LOGGING_LEVEL="DEBUG",
            AIRFLOW__CORE__FERNET_KEY=fernet_key,
            AIRFLOW__CORE__PARALLELISM="8",
            AIRFLOW__CORE__TEST_CONNECTION="Enabled",
            CONNIX_API_KEY=known["environment's key"],
        ) as airflow:
            _store_secrets(airflow, emulator, known, grants)
            said = _test_connections(airflow, emulator, known)
            run_id = airflow.run("canary")
            airflow.until(
                "the start is executed",
                lambda: sleeping in {entry.agent_id for entry in emulator.journal.executed("start_agent")},
            )
            # An agent that is still stopped a minute after its start has failed.
            emulator.set_status(sleeping, "updating")
            airflow.until_states("canary", run_id, _only_the_killed_are_left)
            # What lies in triggers' rows is there only as long as they run.
            known |= {f"token {number}": token for number, token in enumerate(tokens)}
            found = set(SecretScan(known, fernet_key).database(home / "airflow.db"))
            for task in ("killed_sensor", "killed_start"):
                airflow.set_state("canary", run_id, task, "failed")
            airflow.until(
                "the start is undone", lambda: bool(emulator.journal.entries("stop_agent", sleeping))
            )
            airflow.until_ended("canary", run_id)
            states = airflow.states("canary", run_id)
    (home / "said.txt").write_text(said)
    found |= {*SecretScan(known, fernet_key).database(home / "airflow.db"), *SecretScan(known).folder(home)}

    leaks = sorted(line for line in found if line.partition(":")[0] not in STORES)
    record("canary", "found" if leaks else "nothing found", secrets_found=len(leaks), tried=len(known))
    assert not leaks, "\n".join(leaks)
    assert {line.partition(":")[0] for line in found} == STORES, "the scan does not see what is there"
    assert {task for task, state in states.items() if state != "success"} == FAILING
    assert "is refused" in said, "the connection's test has not met the fault"


def _word() -> str:
    return f"{secrets.token_hex(8)}-canary"


def _keep_tokens(emulator: Emulator) -> list[str]:
    """Keep every token that is issued from now on, the renewed ones too."""
    tokens: list[str] = []
    issue = emulator._keyring._issue

    def keep(*arguments: Any) -> Any:
        issued = issue(*arguments)
        tokens.extend((issued.access_token, issued.refresh_token))
        return issued

    emulator._keyring._issue = keep
    return tokens


def _set_scene(emulator: Emulator, known: dict[str, str]) -> str:
    """Put agents there, and let the service quote what was sent to it, as one that is badly made may do."""
    config = {
        "system_prompt": known["prompt"],
        "environment_variables": {"DATA_SOURCE": known["data source"]},
    }
    looks = {
        "500": Fault.status(500, message=f"{known['key']} broke us"),
        "401": Fault.status(401, message=f"'{known['key']}' is refused"),
        "429": Fault.rate_limited(retry_after=1),
        "reset": Fault.reset_before(),
        # Without the key: httpcore logs headers at DEBUG, and what LocalExecutor itself prints is not masked.
        "redirect": Fault.redirect("https://elsewhere.invalid/"),
        "bad_json": Fault.bad_json(),
        "cut_body": Fault.cut_body(),
    }
    for name, fault in looks.items():
        (agent_id,) = emulator.seed(name=name, config=config)
        lasting = name in {"401", "redirect"}
        emulator.faults.add(fault, on="get_agent", agent_id=agent_id, times=None if lasting else 6)
    body = f"{known['prompt']} {known['data source']} {known['warehouse']}"
    for fault in (
        Fault.status(422, message=body),
        Fault.bad_json(),
        Fault.status(503, message=body),
        Fault.cut_body(),
        Fault.reset_after(),
        Fault.status(500, message=body, executed=True),
    ):
        emulator.faults.add(fault, on="create_agent")
    emulator.faults.add(Fault.status(400, message=body), on="update_agent")
    emulator.faults.add(Fault.status(500), on="token")
    emulator.seed(name="watched", status="paused", config=config)
    (sleeping,) = emulator.seed(name="sleeping", status="stopped", config=config)
    return sleeping


def _store_secrets(
    airflow: RealAirflow, emulator: Emulator, known: dict[str, str], grants: dict[str, OAuthGrant]
) -> None:
    """Put secrets where users are told to put them, by what the form of the UI sends."""
    common = {"conn_type": "connix", "host": emulator.url}
    project = {"project_id": emulator.project_id}
    connections = {
        "canary_warehouse": {"conn_type": "generic", "password": known["warehouse"]},
        "connix_environment": {**common, "extra": json.dumps(project)},
        "connix_mistaken": {**common, "password": known["mistaken key"], "extra": json.dumps(project)},
    }
    for name, grant in grants.items():
        tokens = renewable(emulator, grant)
        connections[f"connix_{name}"] = {**common, "extra": json.dumps({**project, **tokens})}
    for name, connection in connections.items():
        airflow.post("connections", {"connection_id": name, **connection})
    variables = {
        "canary_prompt": known["prompt"],
        "canary_data_source": known["data source"],
        "canary_config": json.dumps({"model": "gpt-4", "system_prompt": known["prompt"]}),
    }
    for name, value in variables.items():
        airflow.post("variables", {"key": name, "value": value})


def _test_connections(airflow: RealAirflow, emulator: Emulator, known: dict[str, str]) -> str:
    """Make a connection by the command that the README names, test all of them, and return what is said."""
    said = airflow.command(
        *("connections", "add", "connix_stored", "--conn-type", "connix", "--conn-host", emulator.url),
        *("--conn-password", known["stored key"]),
        *("--conn-extra", json.dumps({"project_id": emulator.project_id})),
    )
    for name in ("default", "environment", "mistaken", "oauth"):
        said += airflow.command("connections", "test", f"connix_{name}")
    emulator.faults.add(Fault.status(401, message=f"{known['stored key']} is refused"), on="list_agents")
    return said + airflow.command("connections", "test", "connix_stored")


def _only_the_killed_are_left(states: list[str]) -> bool:
    return states.count("deferred") == 2 and {*states} <= {"deferred", "success", "failed"}
