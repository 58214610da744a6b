"""Bad input gets one clear error, and nothing is sent."""

from __future__ import annotations

import json

import pytest

from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixStartAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

pytestmark = pytest.mark.heavy

START, SENSOR, CREATE = ConnixStartAgentOperator, ConnixAgentStatusSensor, ConnixCreateAgentOperator
AGENT = {"agent_id": "agent_1"}

CASES = [
    (START, {}, "exactly one of agent_id and agent_name is needed; the task was given neither"),
    (START, {"agent_id": "a", "agent_name": "b"}, "the task was given both"),
    (START, {"agent_id": ""}, "agent_id must be a non-empty string, not ''"),
    (START, {"agent_id": "  "}, "agent_id must be a non-empty string"),
    (START, {"agent_id": "None"}, "it may come from a template or another task that returned no value"),
    (
        START,
        {"agent_id": "{{ params.get('nothing') }}"},
        "agent_id must be a non-empty string, not 'None'",
    ),
    (START, {"agent_id": ["agent_1"]}, "agent_id must be a string, not a value of type list; use expand()"),
    (
        START,
        {"agent_id": "cx_hunter22hunter22"},
        "agent_id looks like an API key; the key belongs in the password of the connection",
    ),
    (START, {**AGENT, "timeout": "cx_hunter22hunter22"}, "a timedelta, not what looks like an API key"),
    (START, {"agent_id": ".."}, "agent_id must be an id, not the relative path '..'"),
    (START, {"agent_name": ""}, "agent_name must be a non-empty string"),
    (START, {**AGENT, "project_id": ""}, "project_id must be a non-empty string"),
    (START, {**AGENT, "timeout": 0}, "timeout must be more than 0 s, not 0"),
    (START, {**AGENT, "timeout": -5}, "timeout must be more than 0 s, not -5"),
    (START, {**AGENT, "timeout": "10"}, "timeout must be a number of seconds or a timedelta, not '10'"),
    (START, {**AGENT, "timeout": float("nan")}, "timeout must be"),
    (START, {**AGENT, "poll_interval": 0.5}, "poll_interval must be at least 1 s, not 0.5"),
    (SENSOR, {}, "the task was given neither"),
    (SENSOR, {**AGENT, "poke_interval": 0.5}, "poke_interval must be at least 1 s, not 0.5"),
    (SENSOR, {**AGENT, "timeout": 0}, "timeout must be more than 0 s"),
    (START, {**AGENT, "timeout": float("inf"), "deferrable": True}, "timeout must be a number of seconds"),
    (
        SENSOR,
        {**AGENT, "target_statuses": "runing"},
        "'runing' is not a status of a Connix agent. Did you mean 'running'?",
    ),
    (SENSOR, {**AGENT, "target_statuses": []}, "target_statuses is empty"),
    (SENSOR, {**AGENT, "failure_statuses": ["eror"]}, "failure_statuses: 'eror' is not a status"),
    (
        SENSOR,
        {**AGENT, "stable_for": -1},
        "stable_for must be a number of seconds, 0 or more and less than 300 years, not -1",
    ),
    (CREATE, {"name": ""}, "name must be a non-empty string"),
    (CREATE, {"name": 7}, "name must be a string, not int"),
    (CREATE, {"name": "a", "config": "no mapping"}, "config must be a mapping, not str"),
    (CREATE, {"name": "a", "metadata": ["x"]}, "metadata must be a mapping, not list"),
    (
        CREATE,
        {"name": "a", "if_exists": "replace"},
        "if_exists must be one of fail, adopt, update, not 'replace'",
    ),
    (ConnixUpdateAgentOperator, AGENT, "there is nothing to update"),
    (ConnixDeleteAgentOperator, {"ignore_if_missing": True}, "the task was given neither"),
]


@pytest.mark.parametrize(("operator", "arguments", "says"), CASES)
def test_it_is_refused_before_anything_is_sent(operator, arguments, says, emulator, run, warp):
    ran = run(operator, **{"deferrable": False, **arguments})
    assert ran.state == "failed"
    assert type(ran.error) is ValueError, ran.log
    assert says in str(ran.error)
    assert not emulator.journal.entries()


CONNECTIONS = [
    ({"password": None}, "there is no Connix API key"),
    ({"password": "***"}, "the API key is the mask '***'"),
    ({"password": "cx_1\n2"}, "the API key holds characters that no API key has"),
    ({"host": "api.connix.io"}, "the base URL must begin with https:// (or http://)"),
    ({"host": "ftp://api.connix.io"}, "the base URL must begin with https:// (or http://)"),
    ({"host": "https://api.connix.io?x=1"}, "the base URL must not have a query"),
    ({"host": "https://u:p@api.connix.io"}, "must not contain a user or password"),
    ({"extra": {}}, "project_id is missing: give it to the task, or set it in the extra of the Airflow"),
    ({"extra": {"project_id": "p", "timeout": "soon"}}, "timeout in the connection's extra must be a number"),
    ({"extra": {"project_id": "p", "timeout": 0}}, "timeout must be more than 0 seconds"),
    (
        {"extra": {"project_id": "p", "verify": "/nowhere.pem"}},
        "verify names a CA bundle that cannot be read",
    ),
    (
        {"password": None, "extra": {"project_id": "p", "refresh_token": "r", "token_url": "x"}},
        "token_url must begin",
    ),
    (
        {
            "password": None,
            "extra": {"project_id": "p", "refresh_token": "r", "token_url": "https://http://x"},
        },
        "token_url must begin",
    ),
    ({"host": "https://https://api.connix.io"}, "the base URL must begin with https:// (or http://)"),
    ({"host": "https://api connix.io"}, "the base URL cannot be read"),
    (
        {"extra": {"project_id": "p", "console_url": "https://https://c"}},
        "console_url in the connection's extra",
    ),
]


@pytest.mark.parametrize(("changes", "says"), CONNECTIONS)
def test_a_task_with_an_invalid_connection_names_it(changes, says, emulator, run, connection, warp):
    connection(**changes)
    ran = run(START, **AGENT)
    assert ran.state == "failed"
    assert type(ran.error) is ValueError, ran.log
    assert says in str(ran.error)
    assert "'connix_default'" in str(ran.error)
    assert not emulator.journal.entries()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NO_PROXY", "localhost,fd00::/8"),
        ("HTTPS_PROXY", "http://user:hunter22@proxy:port"),
        ("SSL_CERT_FILE", "/nowhere.pem"),
    ],
)
def test_a_wrong_environment_variable_is_named(variable, value, emulator, run, connection, warp, monkeypatch):
    monkeypatch.setenv(variable, value)
    connection(extra={"project_id": "p", "verify": True})
    ran = run(START, **AGENT)
    assert ran.state == "failed"
    assert type(ran.error) is ValueError, ran.log
    assert str(ran.error).startswith(f"Could not start agent agent_1: {variable} of the environment")
    assert "'connix_default'" in str(ran.error)
    assert "hunter22" not in ran.log
    assert not emulator.journal.entries()


def test_the_log_names_a_refused_keys_connection(emulator, run, connection, warp):
    connection(password="cx_" + 32 * "0")
    ran = run(START, **AGENT)
    assert type(ran.error).__name__ == "ConnixAuthenticationError"
    assert f"Connix at {emulator.url} (Airflow connection 'connix_default')." in ran.log


def test_a_connection_that_is_not_defined_is_named(run, warp):
    ran = run(START, connix_conn_id="connix_typo", **AGENT)
    assert type(ran.error).__name__ == "AirflowNotFoundException"
    assert "connix_typo" in str(ran.error)
    assert "AIRFLOW_CONN_CONNIX_TYPO, which `airflow dags test` reads too" in str(ran.error)


@pytest.mark.parametrize("operator", [START, SENSOR])
def test_two_agents_of_one_name_are_both_named(operator, emulator, run, warp, monkeypatch):
    ids = emulator.seed(count=2, name="twin-{n}")
    original = emulator.agent(ids[0])["name"]
    other = emulator.agent(ids[1])["name"]
    # The service keeps names unique; a listing that shifts or a service that does not may still show two.
    from connix_provider.client.pagination import AgentPaginator

    take = AgentPaginator.take

    def take_twins(self, page):
        return [
            agent.model_copy(update={"name": original}) if agent.name == other else agent
            for agent in take(self, page)
        ]

    monkeypatch.setattr(AgentPaginator, "take", take_twins)
    ran = run(operator, agent_name=original)
    assert type(ran.error) is ValueError
    assert all(agent_id in str(ran.error) for agent_id in ids)
    assert "give an agent_id" in str(ran.error)


@pytest.mark.parametrize("operator", [START, SENSOR])
def test_a_name_in_an_unreadable_entry_is_awaited(operator, emulator, run, warp, monkeypatch):
    emulator.seed(name="other")
    from connix_provider.client.models import AgentPage

    read = AgentPage.read.__func__

    def with_unreadable_entry(cls, body, **paging):
        return read(
            cls, body.replace(b'"agents":[', b'"agents":[{"id": "agent_x", "name": "wanted"},'), **paging
        )

    monkeypatch.setattr(AgentPage, "read", classmethod(with_unreadable_entry))
    ran = run(operator, agent_name="wanted", timeout=20)
    assert "has no agent named" not in str(ran.error)
    assert "The listing has agents that cannot be read" in str(ran.error)


@pytest.mark.parametrize("operator", [START, SENSOR])
def test_an_unknown_name_is_reported(operator, emulator, run, warp):
    emulator.seed(name="somebody")
    ran = run(operator, agent_name="nobody")
    assert type(ran.error).__name__ == "AgentNameNotFoundError"
    assert f"project {emulator.project_id} has no agent named 'nobody'" in str(ran.error)


@pytest.mark.parametrize("operator", [START, SENSOR, ConnixDeleteAgentOperator])
def test_an_agent_of_another_project_is_not_found(operator, emulator, run, warp):
    (foreign,) = emulator.seed(project_id=emulator.add_project(), name="foreign")
    ran = run(operator, agent_id=foreign)
    assert ran.state == "failed"
    assert foreign in str(ran.error)
    assert emulator.agent(foreign)["status"] == "running"


def test_a_uri_connection_keeps_its_scheme_and_port(emulator, run, warp, monkeypatch):
    (agent_id,) = emulator.seed(status="running")
    host, port = emulator.url.removeprefix("http://").removesuffix("/api/v1").split(":")
    fields = {"conn_type": "connix", "host": host, "port": int(port), "schema": "http"}
    extra = {"project_id": emulator.project_id}
    monkeypatch.setenv(
        "AIRFLOW_CONN_CONNIX_DEFAULT", json.dumps({**fields, "password": emulator.api_key, "extra": extra})
    )
    assert run(START, agent_id=agent_id).result == agent_id
