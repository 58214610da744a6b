"""What docs/troubleshooting.md quotes is what a failed task says."""

from __future__ import annotations

import pathlib
import re

import pytest

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
SENSOR = {"poke_interval": 1, "timeout": 3}


def wrong_key(emulator, connection):
    connection(password="cx_00000000000000000000000000000000")
    return ConnixStartAgentOperator, {"agent_id": emulator.seed()[0]}


def wrong_host(emulator, connection):
    connection(host="http://127.0.0.1:9/api/v1")
    return ConnixStartAgentOperator, {"agent_id": emulator.seed()[0], "timeout": 3}


def agent_in_error(emulator, connection):
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent")
    return ConnixRestartAgentOperator, {"agent_id": emulator.seed(name="Translator")[0], "poll_interval": 1}


def refused_all_the_time(emulator, connection):
    emulator.faults.add(Fault.rate_limited(retry_after=2), times=None)
    return ConnixStartAgentOperator, {"agent_id": emulator.seed()[0], "timeout": 5, "poll_interval": 1}


def deleted_meanwhile(emulator, connection):
    (agent_id,) = emulator.seed(name="Translator", status="creating")
    emulator.script(agent_id, [(30, None)])
    return ConnixAgentStatusSensor, {"agent_id": agent_id, "poke_interval": 10, "timeout": 120}


def never_ready(emulator, connection):
    (agent_id,) = emulator.seed(name="Translator", status="stopped")
    emulator.faults.add(Fault.unknown_status("provisioning"), on="get_agent", times=None)
    return ConnixStartAgentOperator, {"agent_id": agent_id, "timeout": 5, "poll_interval": 1}


def never_ready_deferred(emulator, connection):
    kind, arguments = never_ready(emulator, connection)
    return kind, {**arguments, "deferrable": True}


def never_running(emulator, connection):
    return ConnixAgentStatusSensor, {"agent_id": emulator.seed(status="paused")[0], **SENSOR}


def never_running_reschedule(emulator, connection):
    kind, arguments = never_running(emulator, connection)
    return kind, {**arguments, "mode": "reschedule"}


def never_running_deferred(emulator, connection):
    kind, arguments = never_running(emulator, connection)
    return kind, {**arguments, "deferrable": True}


def no_such_name(emulator, connection):
    return ConnixStartAgentOperator, {"agent_name": "Translator"}


def name_taken(emulator, connection):
    emulator.seed(name="Translator")
    return ConnixCreateAgentOperator, {"name": "Translator", "config": {"model": "gpt-4"}}


def not_in_this_state(emulator, connection):
    (agent_id,) = emulator.seed(name="Translator", status="stopped")
    return ConnixPauseAgentOperator, {"agent_id": agent_id, "timeout": 30}


def already_gone(emulator, connection):
    return ConnixDeleteAgentOperator, {"agent_id": "agent_1234567890abcdef"}


def refused_configuration(emulator, connection):
    return ConnixCreateAgentOperator, {"name": "Translator", "config": {"model": "gpt-4", "temperature": 9}}


CASES = {
    wrong_key: "The key is refused",
    wrong_host: "Nothing listens at the connection's host",
    agent_in_error: "The agent ended in error",
    refused_all_the_time: "The rate limit left no request",
    deleted_meanwhile: "The agent is gone",
    never_ready: "The time is up",
    never_ready_deferred: "The time is up",
    never_running: "The time is up",
    never_running_reschedule: "The time is up",
    never_running_deferred: "The time is up",
    no_such_name: "No agent has that name",
    name_taken: "Another agent has the name",
    not_in_this_state: "The agent's status does not allow it",
    already_gone: "The agent to delete is not there",
    refused_configuration: "Connix refuses the configuration",
}


def quoted(heading: str) -> list[str]:
    """Return the parts of the line that the page quotes under a heading, which are the same in every log."""
    section = PAGE.read_text().split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    line = " ".join(re.findall(r"^> (.*)$", section, flags=re.MULTILINE))
    parts = [part.strip() for part in line.split("…") if part.strip()]
    assert parts, heading
    return parts


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_failed_task_says_what_the_page_quotes(case, emulator, connection, run, warp):
    kind, arguments = case(emulator, connection)
    ran = run(kind, **arguments)
    assert ran.state == "failed"
    said = f"{type(ran.error).__name__}: {ran.error}"
    for part in quoted(CASES[case]):
        assert part in said


def test_every_section_about_a_task_has_its_case():
    tasks = PAGE.read_text().split("## A failed task\n", 1)[1].split("\n## ", 1)[0]
    assert set(re.findall(r"^### (.*)$", tasks, flags=re.MULTILINE)) == set(CASES.values())
