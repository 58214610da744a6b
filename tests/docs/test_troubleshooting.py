"""What docs/troubleshooting.md quotes is what a failed task says."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from foreign_service import html_service, write_certificate

from connix_provider.client import ConnixError
from connix_provider.emulator import Fault
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

pytestmark = pytest.mark.heavy

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "troubleshooting.md"
#: Characters of an error after which user interfaces may cut it: agent, reason and next step come before.
FIRST_LINE = 430
START = ConnixStartAgentOperator
PERMISSION = Fault.status(403, code="insufficient_permissions", message="You may not access this agent")
LIMIT = Fault.status(409, code="agent_limit_reached", message="Agent limit reached for this project")


@dataclasses.dataclass
class Stage:
    """Where a task is to fail."""

    emulator: Any
    connection: Callable[..., None]
    monkeypatch: pytest.MonkeyPatch
    tmp_path: pathlib.Path
    opened: ExitStack

    def agent(self, status: str = "running", *steps: tuple[float, str | None]) -> str:
        (agent_id,) = self.emulator.seed(name="Translator", status=status)
        self.emulator.script(agent_id, list(steps))
        return agent_id

    def fault(self, fault: Fault, on: str | None = None, **how: Any) -> None:
        self.emulator.faults.add(fault, **({"on": on} if on else {}), **{"times": None, **how})


@pytest.fixture
def stage(emulator, connection, monkeypatch, tmp_path):
    with ExitStack() as opened:
        yield Stage(emulator, connection, monkeypatch, tmp_path, opened)


def wrong_key(stage):
    stage.connection(password="cx_00000000000000000000000000000000")
    return START, {"agent_id": stage.agent()}


def no_permission(stage):
    stage.fault(PERMISSION, on="restart_agent")
    return ConnixRestartAgentOperator, {"agent_id": stage.agent()}


def undefined(stage):
    return START, {"agent_id": stage.agent(), "connix_conn_id": "connix_prod"}


def no_key(stage):
    stage.connection(password="")
    return START, {"agent_id": stage.agent()}


def unknown_host(stage):
    known = socket.getaddrinfo

    def unknown(host, *arguments, **options):
        if host in {"connix.invalid", b"connix.invalid"}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *arguments, **options)

    stage.monkeypatch.setattr(socket, "getaddrinfo", unknown)
    stage.connection(host="https://connix.invalid")
    return START, {"agent_id": stage.agent()}


def nothing_listens(stage):
    stage.connection(host="http://127.0.0.1:9/api/v1")
    return START, {"agent_id": stage.agent(), "timeout": 3}


def wrong_certificate(stage):
    certificate = stage.tmp_path / "certificate.pem"
    write_certificate(certificate)
    stage.connection(host=stage.opened.enter_context(html_service(200, certificate)))
    return START, {"agent_id": stage.agent()}


def not_connix(stage):
    stage.connection(host=stage.opened.enter_context(html_service(200)))
    return START, {"agent_id": stage.agent()}


def agent_in_error(stage):
    stage.fault(Fault.ends_in_error(), on="restart_agent")
    return ConnixRestartAgentOperator, {"agent_id": stage.agent(), "poll_interval": 1}


def agent_in_error_deferred(stage):
    agent_id = stage.agent("creating", (15, "error"))
    return ConnixAgentStatusSensor, {"agent_id": agent_id, "deferrable": True, "poke_interval": 10}


def refused_all_the_time(stage):
    stage.fault(Fault.rate_limited(retry_after=2))
    return START, {"agent_id": stage.agent(), "timeout": 5, "poll_interval": 1}


def polls_refused(stage):
    stage.fault(Fault.rate_limited(retry_after=3), on="get_agent", after=1)
    return START, {"agent_id": stage.agent("stopped"), "timeout": 20}


def polls_refused_deferred(stage):
    kind, arguments = polls_refused(stage)
    return kind, {**arguments, "deferrable": True}


def deleted_meanwhile(stage):
    agent_id = stage.agent("creating", (30, None))
    return ConnixAgentStatusSensor, {"agent_id": agent_id, "poke_interval": 10, "timeout": 120}


def never_ready(stage):
    stage.fault(Fault.unknown_status("provisioning"), on="get_agent")
    return START, {"agent_id": stage.agent("stopped"), "timeout": 5, "poll_interval": 1}


def never_ready_deferred(stage):
    kind, arguments = never_ready(stage)
    return kind, {**arguments, "deferrable": True}


def never_running(stage):
    return ConnixAgentStatusSensor, {"agent_id": stage.agent("paused"), "poke_interval": 1, "timeout": 3}


def never_running_reschedule(stage):
    kind, arguments = never_running(stage)
    return kind, {**arguments, "mode": "reschedule"}


def never_running_deferred(stage):
    kind, arguments = never_running(stage)
    return kind, {**arguments, "deferrable": True}


def service_down(stage):
    stage.fault(Fault.status(503), on="get_agent", after=1)
    return ConnixRestartAgentOperator, {"agent_id": stage.agent(), "timeout": 20}


def service_down_deferred(stage):
    kind, arguments = service_down(stage)
    return kind, {**arguments, "deferrable": True}


def lost_restart(stage):
    stage.fault(Fault.reset_before(), on="restart_agent")
    return ConnixRestartAgentOperator, {"agent_id": stage.agent()}


def no_such_name(stage):
    return START, {"agent_name": "Translator"}


def name_taken(stage):
    stage.agent()
    return ConnixCreateAgentOperator, {"name": "Translator", "config": {"model": "gpt-4"}}


def project_full(stage):
    stage.fault(LIMIT, on="create_agent")
    return ConnixCreateAgentOperator, {"name": "Translator", "config": {"model": "gpt-4"}}


def not_in_this_state(stage):
    return ConnixPauseAgentOperator, {"agent_id": stage.agent("stopped"), "timeout": 30}


def already_gone(stage):
    return ConnixDeleteAgentOperator, {"agent_id": "agent_1234567890abcdef"}


def refused_configuration(stage):
    return ConnixCreateAgentOperator, {"name": "Translator", "config": {"model": "gpt-4", "temperature": 9}}


def missing_value_message(stage):
    return START, {"agent_id": "{{ ti.xcom_pull('no_such_task') }}"}


CASES = {
    wrong_key: "The key is refused",
    no_permission: "The key may not do this",
    undefined: "The Airflow connection is not defined",
    no_key: "The connection has no key",
    unknown_host: "The host's name is not known",
    nothing_listens: "Nothing listens at the connection's host",
    wrong_certificate: "The certificate is not trusted",
    not_connix: "The address is not Connix's",
    agent_in_error: "The agent ended in error",
    agent_in_error_deferred: "The agent ended in error",
    refused_all_the_time: "The rate limit left no request",
    polls_refused: "The rate limit left no poll",
    polls_refused_deferred: "The rate limit left no poll",
    deleted_meanwhile: "The agent is gone",
    never_ready: "The time is up",
    never_ready_deferred: "The time is up",
    never_running: "The time is up",
    never_running_reschedule: "The time is up",
    never_running_deferred: "The time is up",
    service_down: "Connix failed until the time was up",
    service_down_deferred: "Connix failed until the time was up",
    lost_restart: "The restart got no response",
    no_such_name: "No agent has that name",
    name_taken: "Another agent has the name",
    project_full: "The project is full",
    not_in_this_state: "The agent's status does not allow it",
    already_gone: "The agent to delete is not there",
    refused_configuration: "Connix refuses the configuration",
    missing_value_message: "A template or another task returned no value",
}


def quoted(heading: str) -> list[str]:
    """Return the parts of the line that the page quotes under a heading, which are the same in every log."""
    section = PAGE.read_text().split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    line = " ".join(re.findall(r"^> (.*)$", section, flags=re.MULTILINE))
    parts = [part.strip() for part in line.split("…") if part.strip()]
    assert parts, heading
    return parts


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_failed_task_logs_the_quoted_message(case, stage, run, warp):
    kind, arguments = case(stage)
    ran = run(kind, **arguments)
    assert ran.state == "failed"
    said = f"{type(ran.error).__name__}: {ran.error}"
    assert "\n" not in said
    at = 0
    for part in quoted(CASES[case]):
        assert part in said[at:], said
        at = said.index(part, at) + len(part)
    assert at <= FIRST_LINE, said
    if isinstance(ran.error, ConnixError | AirflowException) and hasattr(ran.error, "agent_id"):
        assert ran.error.project_id == stage.emulator.project_id
        assert ran.error.agent_id or ran.error.agent_name == "Translator"


def test_every_section_about_a_task_has_its_case():
    tasks = PAGE.read_text().split("## A failed task\n", 1)[1].split("\n## ", 1)[0]
    assert set(re.findall(r"^### (.*)$", tasks, flags=re.MULTILINE)) == set(CASES.values())
