"""``python -m connix_provider.emulator``: start it, use what it prints, end it."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

pytestmark = pytest.mark.heavy


@contextmanager
def running(*flags: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", "-m", "connix_provider.emulator", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_json_is_one_line_and_a_signal_ends(number):
    with running("--json", "--agents", "3", "--no-limits") as process:
        facts = json.loads(process.stdout.readline())
        assert facts.keys() == {"url", "api_key", "project_id", "token_url"}
        url = f"{facts['url']}/projects/{facts['project_id']}/agents"
        response = httpx.get(url, headers={"X-API-Key": facts["api_key"]}, trust_env=False)
        assert response.json()["pagination"]["total"] == 3
        assert "X-RateLimit-Limit" not in response.headers
        assert httpx.post(facts["token_url"], trust_env=False).status_code == 400

        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert output == ""
        assert "GET /api/v1/projects/" in errors
        assert facts["api_key"] not in errors
        assert "Traceback" not in errors


def test_prose_holds_a_command_to_copy():
    with running("--project", "proj'quoted", "--key", "cx_my key") as process:
        printed = ""
        while "Ctrl+C" not in printed:
            line = process.stdout.readline()
            assert line, f"the emulator ended after {printed!r}"
            printed += line
        (line,) = [line for line in printed.splitlines() if "airflow connections add" in line]
        command = shlex.split(line)
        assert command[:6] == ["airflow", "connections", "add", "connix_default", "--conn-type", "connix"]
        options = dict(zip(command[6::2], command[7::2], strict=True))
        assert options["--conn-password"] == "cx_my key"
        assert options["--conn-port"] == "0"
        assert json.loads(options["--conn-extra"]) == {"project_id": "proj'quoted"}
        (line,) = [line for line in printed.splitlines() if "AIRFLOW_CONN" in line]
        name, _, value = shlex.split(line)[1].partition("=")
        assert name == "AIRFLOW_CONN_CONNIX_DEFAULT"
        assert json.loads(value) == {
            "conn_type": "connix",
            "host": options["--conn-host"],
            "password": "cx_my key",
            "port": 0,
            "extra": {"project_id": "proj'quoted"},
        }
        url = f"{options['--conn-host']}/projects"
        response = httpx.get(url, headers={"X-API-Key": "cx_my key"}, trust_env=False)
        assert response.json()["projects"][0]["id"] == "proj'quoted"
        assert response.headers["X-RateLimit-Limit"] == "100"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_agents_are_added_by_name():
    flags = ("--json", "--agent", "Support agent", "--agent", "Second agent", "--agents", "1")
    with running(*flags) as process:
        facts = json.loads(process.stdout.readline())
        url = f"{facts['url']}/projects/{facts['project_id']}/agents"
        response = httpx.get(url, headers={"X-API-Key": facts["api_key"]}, trust_env=False)
    agents = response.json()["agents"]
    assert [agent["name"] for agent in agents] == ["Support agent", "Second agent", "agent-1"]
    assert {agent["status"] for agent in agents} == {"running"}


def test_agents_get_the_given_metadata():
    described = {
        "name": "B",
        "status": "paused",
        "metadata": {"team": "support", "rank": 2},
        "description": "d",
    }
    flags = ("--json", "--agent", "A=1, x", "--agent", json.dumps(described), "--agents", "1")
    with running(*flags, "--metadata", "team=data", "--metadata", "cost=a=b") as process:
        facts = json.loads(process.stdout.readline())
        url = f"{facts['url']}/projects/{facts['project_id']}/agents"
        response = httpx.get(url, headers={"X-API-Key": facts["api_key"]}, trust_env=False)
    agents = {agent["name"]: agent for agent in response.json()["agents"]}
    given = {
        name: {key: agent["metadata"].get(key) for key in ("team", "cost", "rank")}
        for name, agent in agents.items()
    }
    assert given == {
        "A=1, x": {"team": "data", "cost": "a=b", "rank": None},
        "B": {"team": "support", "cost": "a=b", "rank": 2},
        "agent-1": {"team": "data", "cost": "a=b", "rank": None},
    }
    assert agents["B"]["status"] == "paused"
    assert agents["B"]["description"] == "d"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--agent", "{"), "is no JSON"),
        (("--agent", '{"name": "A", "metdata": {}}'), "an agent has no metdata; it has name, status"),
        (("--agent", '{"status": "paused"}'), "an agent needs a name"),
        (("--agent", '{"name": "A", "metadata": "x"}'), "metadata must be an object, not 'x'"),
        (("--metadata", "team"), "'team' is not KEY=VALUE"),
        (("--metadata", "=x"), "'=x' is not KEY=VALUE"),
    ],
)
def test_invalid_agent_flags_are_one_clear_line(flags, words):
    with running(*flags) as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert output == ""
    assert words in errors.splitlines()[-1]


def test_missing_dependency_names_the_extra(tmp_path):
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError(name='fastapi')")
    command = [sys.executable, "-m", "connix_provider.emulator"]
    ended = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    *_, last = ended.stderr.splitlines()
    assert last.endswith("the emulator needs fastapi: pip install 'airflow-provider-connix[emulator]'")


def test_agent_named_twice_is_one_clear_line():
    with running("--agent", "A", "--agent", "A") as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert output == ""
    assert errors.splitlines()[-1].endswith("names the same agent twice; names are unique in a project")


@pytest.mark.parametrize("port", ["taken", "70000"])
def test_unavailable_port_is_one_clear_line(port):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1]) if port == "taken" else port
        with running("--port", port) as process:
            output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert f"cannot listen on port {port}" in errors
