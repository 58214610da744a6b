"""A connection that can only be wrong ends a wait after 10 minutes; one that was right never does."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from typing import Any

import pytest
from foreign_service import html_service, write_certificate
from in_process import TaskRun
from scenarios import Scenario

from connix_provider.client.errors import (
    ConnixConnectionError,
    ConnixError,
    ConnixNotFoundError,
    ConnixResponseError,
)
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixSensorTimeoutError
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixUpdateAgentOperator,
)

pytestmark = pytest.mark.heavy

MODES = pytest.mark.parametrize("mode", ["poke", "reschedule", "deferred"])
WORKERS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
CONFIG = {"model": "gpt-4"}
#: Each operator, by id and by name.
TASKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "create": (ConnixCreateAgentOperator, {"name": "alpha", "config": CONFIG}),
    "create or update": (
        ConnixCreateAgentOperator,
        {"name": "alpha", "config": CONFIG, "if_exists": "update"},
    ),
    "update": (ConnixUpdateAgentOperator, {"agent_id": "alpha", "config": CONFIG}),
    "start": (ConnixStartAgentOperator, {"agent_id": "alpha"}),
    "pause by name": (ConnixPauseAgentOperator, {"agent_name": "alpha"}),
    "restart": (ConnixRestartAgentOperator, {"agent_id": "alpha"}),
    "delete": (ConnixDeleteAgentOperator, {"agent_id": "alpha"}),
    "delete by name": (ConnixDeleteAgentOperator, {"agent_name": "alpha", "ignore_if_missing": True}),
}
BY = pytest.mark.parametrize("by", ["agent_id", "agent_name"])


def sensor(scenario: Scenario, mode: str, **arguments: Any) -> TaskRun:
    return scenario.sensor(mode, **{"poke_interval": 30, "timeout": 604_800, **arguments})


@pytest.fixture
def wrong(request, scenario, monkeypatch, tmp_path):
    """Define a connection with a mistake in it."""
    with ExitStack() as opened:
        match request.param:
            case "unknown host":
                url = "http://connix.invalid"
                known = socket.getaddrinfo

                def unknown(host: Any, *arguments: Any, **options: Any) -> Any:
                    if host in {"connix.invalid", b"connix.invalid"}:
                        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
                    return known(host, *arguments, **options)

                monkeypatch.setattr(socket, "getaddrinfo", unknown)
            case "certificate":
                write_certificate(tmp_path / "certificate.pem")
                url = opened.enter_context(html_service(200, tmp_path / "certificate.pem"))
            case status:
                url = opened.enter_context(html_service(int(status)))
        connection = {"conn_type": "connix", "host": url, "password": scenario.emulator.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", json.dumps(connection))
        yield


@MODES
@BY
@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        ("unknown host", ConnixConnectionError, "the host name cannot be resolved"),
        ("certificate", ConnixConnectionError, "its TLS certificate is not trusted"),
        ("200", ConnixResponseError, "not with Connix's API; check the host"),
    ],
    indirect=["wrong"],
)
def test_a_wrong_connection_fails_after_ten_minutes(scenario, mode, by, wrong, kind, says):
    began = scenario.warp.time()
    ran = sensor(scenario, mode, **{by: "alpha"}).try_once()
    assert type(ran.error) is kind, ran.error
    assert 600 <= scenario.warp.time() - began <= 700
    for words in (says, "alpha", "Airflow connection 'connix_default'", "no other response came"):
        assert words in str(ran.error)


@MODES
@pytest.mark.parametrize("wrong", ["404"], indirect=True)
def test_a_foreign_404_is_final_sooner(scenario, mode, wrong):
    began = scenario.warp.time()
    ran = sensor(scenario, mode, agent_id="alpha").try_once()
    assert type(ran.error) is ConnixNotFoundError, ran.error
    assert 15 <= scenario.warp.time() - began <= 120
    assert "whether the agent is gone is not known" in str(ran.error)


@MODES
@pytest.mark.parametrize("before", [1, 3])
def test_a_connection_that_worked_is_never_called_wrong(scenario, mode, before):
    (agent_id,) = scenario.emulator.seed(status="paused", project_id=scenario.project_id)
    scenario.emulator.script(agent_id, [(1500, "running")])
    scenario.emulator.faults.add(Fault.bad_json(), on="get_agent", times=60, after=before)
    began = scenario.warp.time()
    ran = sensor(scenario, mode, agent_id=agent_id).try_once()
    assert ran.error is None, ran.error
    assert scenario.warp.time() - began > 1700


@MODES
def test_one_other_failure_is_enough_to_wait_on(scenario, mode):
    (agent_id,) = scenario.emulator.seed(status="running", project_id=scenario.project_id)
    scenario.emulator.faults.add(Fault.status(503), on="get_agent", times=1, after=2)
    scenario.emulator.faults.add(Fault.bad_json(), on="get_agent", times=60)
    began = scenario.warp.time()
    assert sensor(scenario, mode, agent_id=agent_id).try_once().error is None
    assert scenario.warp.time() - began > 1700


@WORKERS
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("unknown host", "the host name cannot be resolved"),
        ("certificate", "its TLS certificate is not trusted"),
        ("200", "not with Connix's API; check the host"),
        ("405", "not with Connix's API; check the host"),
    ],
    indirect=["wrong"],
)
@pytest.mark.parametrize("tries", [1, 2])
def test_a_wrong_connection_ends_operators_within_10_minutes(scenario, deferrable, task, wrong, says, tries):
    kind, arguments = TASKS[task]
    run = scenario.task(kind, remembering=True, deferrable=deferrable, timeout=36_000, **arguments)
    for _ in range(tries):
        began = scenario.warp.time()
        ran = run.try_once()
        assert isinstance(ran.error, ConnixError), ran.error
        assert scenario.warp.time() - began <= 700
        for words in (says, "alpha", "Airflow connection 'connix_default'"):
            assert words in str(ran.error)


@WORKERS
def test_a_connection_that_breaks_later_ends_no_wait(scenario, deferrable):
    (agent_id,) = scenario.emulator.seed(status="stopped", project_id=scenario.project_id)
    scenario.emulator.faults.add(Fault.bad_json(), on="get_agent", times=70, after=1)
    began = scenario.warp.time()
    ran = scenario.task(
        ConnixStartAgentOperator, agent_id=agent_id, deferrable=deferrable, timeout=36_000
    ).try_once()
    assert ran.error is None, ran.error
    assert scenario.warp.time() - began > 650


@WORKERS
def test_a_lost_create_is_searched_until_the_deadline(scenario, deferrable):
    scenario.emulator.faults.add(Fault.reset_after(), on="create_agent", times=1)
    scenario.emulator.faults.add(Fault.status(503), on="list_agents", times=100)
    ran = scenario.task(
        ConnixCreateAgentOperator, name="alpha", config=CONFIG, deferrable=deferrable, timeout=36_000
    ).try_once()
    assert ran.error is None, ran.error
    assert scenario.executed("create_agent") == 1


@MODES
def test_a_closed_port_is_a_transient_error(scenario, mode, monkeypatch):
    connection = {"conn_type": "connix", "host": "http://127.0.0.1:9", "password": scenario.emulator.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", json.dumps(connection))
    began = scenario.warp.time()
    ran = sensor(scenario, mode, agent_id="alpha", timeout=2000).try_once()
    assert type(ran.error) is ConnixSensorTimeoutError, ran.error
    assert "nothing is listening on that port; check the connection's host and port" in str(ran.error)
    assert scenario.warp.time() - began >= 1999
