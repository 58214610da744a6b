"""Each of the eleven calls through both clients, against a real service over a real socket."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connix_provider.client import (
    ActionResult,
    Agent,
    AgentMetrics,
    AgentPage,
    AgentStatus,
    Client,
    DeleteResult,
    LogPage,
)
from connix_provider.emulator import Clock, Durations, Emulator

CONFIG = {
    "model": "gpt-4",
    "temperature": 0.3,
    "max_tokens": 1024,
    "tools": ["web_search", "knowledge_base"],
    "system_prompt": "You are a helpful customer support agent...",
    "environment_variables": {"SUPPORT_QUEUE": "high_priority", "ESCALATION_THRESHOLD": "3"},
    "voice": "of a later version",
}
METADATA = {"environment": "production", "team": "customer-success"}
CREATED = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


def seed(emulator, project, status="running", **more):
    (agent_id,) = emulator.seed(1, status, "one", project, config=CONFIG, metadata=METADATA, **more)
    return agent_id


def truth(emulator, agent_id):
    return Agent.model_validate(emulator.agent(agent_id))


async def test_create(driver, emulator, project):
    body = {"name": "Customer Support Agent", "description": "Helps", "config": CONFIG, "metadata": METADATA}
    agent = await driver.run(driver.to(emulator), "create", project, body)
    assert isinstance(agent, Agent)
    assert (agent.name, agent.description, agent.project_id) == (body["name"], "Helps", project)
    assert agent.status is AgentStatus.CREATING
    assert agent.config.model_dump() == CONFIG
    assert agent.config.voice == "of a later version"
    assert METADATA.items() <= agent.metadata.items()
    assert agent.created_at == agent.updated_at == emulator.clock.now()
    assert agent.last_activity is None
    assert agent.stats is None
    assert emulator.agent(agent.id)["name"] == body["name"]
    assert [entry.call for entry in emulator.journal.executed()] == ["create_agent"]


async def test_get(driver, emulator, project):
    agent_id = seed(emulator, project, created_at=CREATED)
    agent = await driver.run(driver.to(emulator), "get", project, agent_id)
    assert agent.model_dump() == truth(emulator, agent_id).model_dump()
    assert (agent.id, agent.name, agent.status) == (agent_id, "one", "running")
    assert agent.config.model_dump() == CONFIG
    # The agent was two seconds on its way to its status.
    changed = CREATED + timedelta(seconds=2)
    assert (agent.created_at, agent.updated_at) == (CREATED, changed)
    assert agent.last_activity > CREATED
    assert agent.stats.total_tasks > agent.stats.completed_tasks > agent.stats.failed_tasks > 0
    assert 0 < agent.stats.success_rate <= 1
    assert agent.stats.avg_response_time > 0
    snapshot = agent.snapshot()
    assert (snapshot.status, snapshot.updated_at) == ("running", changed)


async def test_list(driver, emulator, project):
    ids = emulator.seed(3, "running", "run-{n}", project)
    emulator.seed(2, "stopped", "stop-{n}", project)
    client = driver.to(emulator)
    page = await driver.run(client, "list", project, status="running", limit=2, offset=1, sort="-name")
    assert isinstance(page, AgentPage)
    assert [agent.name for agent in page] == ["run-2", "run-1"]
    assert [agent.id for agent in page.items] == [ids[1], ids[0]]
    assert (len(page), page[0].id) == (2, ids[1])
    assert page.pagination.model_dump() == {"total": 3, "limit": 2, "offset": 1, "has_more": False}
    whole = await driver.run(client, "list", project)
    assert len(whole) == 5
    assert whole.pagination.limit == 20
    assert all(agent.config.system_prompt is None and agent.stats is None for agent in whole)


async def test_update_sends_only_changed_fields(driver, emulator, project):
    agent_id = seed(emulator, project)
    agent = await driver.run(
        driver.to(emulator), "update", project, agent_id, {"config": {"temperature": 0.5}}
    )
    assert agent.status is AgentStatus.UPDATING
    assert agent.config.model_dump() == {**CONFIG, "temperature": 0.5}
    assert agent.name == "one"
    assert emulator.agent(agent_id)["config"] == {**CONFIG, "temperature": 0.5}


async def test_delete(driver, emulator, project):
    agent_id = seed(emulator, project)
    result = await driver.run(driver.to(emulator), "delete", project, agent_id)
    assert result == DeleteResult(agent_id=agent_id, message="Agent deleted successfully")
    with pytest.raises(KeyError):
        emulator.agent(agent_id)


@pytest.mark.parametrize(
    ("action", "before", "promise", "after"),
    [
        ("start", "stopped", "running", "running"),
        ("start", "paused", "running", "running"),
        ("pause", "running", "paused", "paused"),
        ("stop", "running", "stopped", "stopped"),
        ("restart", "running", "running", "running"),
    ],
)
async def test_actions(driver, emulator, project, action, before, promise, after):
    agent_id = seed(emulator, project, before)
    result = await driver.run(driver.to(emulator), action, project, agent_id)
    assert isinstance(result, ActionResult)
    assert (result.agent_id, result.status) == (agent_id, promise)
    assert isinstance(result.status, AgentStatus)
    assert result.message.startswith("Agent ")
    assert emulator.agent(agent_id)["status"] == after
    assert [entry.call for entry in emulator.journal.executed()] == [f"{action}_agent"]


async def test_logs(driver, emulator, project):
    agent_id = seed(emulator, project)
    emulator.add_logs(agent_id, 5, "error")
    emulator.add_logs(agent_id, 2, "debug")
    client = driver.to(emulator)
    page = await driver.run(client, "logs", project, agent_id, level="error", limit=2, offset=1)
    assert isinstance(page, LogPage)
    assert [(line.level, line.message) for line in page] == [("error", "Line 4"), ("error", "Line 3")]
    assert page[0].timestamp == emulator.clock.now()
    assert page[0].context == {"line": 4, "of": 5}
    assert page.pagination.model_dump() == {"total": 5, "limit": 2, "offset": 1, "has_more": True}
    assert [entry.message for entry in page.items] == [entry.message for entry in page.logs]
    late = emulator.clock.now().replace(year=2090)
    assert len(await driver.run(client, "logs", project, agent_id, start_time=late)) == 0
    assert (
        len(await driver.run(client, "logs", project, agent_id, start_time="2020-01-01", end_time=late)) == 8
    )


async def test_metrics(driver, emulator, project):
    agent_id = seed(emulator, project, created_at=CREATED)
    metrics = await driver.run(
        driver.to(emulator),
        "metrics",
        project,
        agent_id,
        start_time="2024-01-15T12:00:00+01:00",
        end_time=datetime(2024, 1, 15, 13, 30, tzinfo=UTC),
        interval="1h",
    )
    assert isinstance(metrics, AgentMetrics)
    period = metrics.period
    assert (period.start_time, period.end_time, period.interval) == (
        datetime(2024, 1, 15, 11, tzinfo=UTC),
        datetime(2024, 1, 15, 13, 30, tzinfo=UTC),
        "1h",
    )
    assert metrics.tasks.total == metrics.tasks.completed + metrics.tasks.failed + metrics.tasks.in_progress
    assert [point.tasks_completed for point in metrics.time_series] == [12, 12, 12]
    assert [point.timestamp.hour for point in metrics.time_series] == [11, 12, 13]
    performance = metrics.performance
    assert performance.avg_response_time < performance.p95_response_time < performance.p99_response_time
    assert performance.tokens_per_minute > performance.requests_per_minute > 0
    assert 0 <= metrics.resource_usage.cpu_usage <= 1
    assert metrics.resource_usage.network_in > 0
    assert metrics.metrics.tasks is metrics.tasks


def test_the_connection_test_lists_projects(open_client):
    from connix_provider.client.endpoints import list_projects

    with Emulator() as emulator:
        page = open_client(emulator.api_key, emulator.url).perform(list_projects(limit=100))
    assert [(entry.id, entry.name) for entry in page] == [(emulator.project_id, "Default project")]


def test_the_references_example_runs():
    reference = Path(__file__).parent / "reference_example.py.txt"
    with Emulator(
        clock=Clock(frozen=True),
        durations=Durations.instant(),
        project_id="proj_1234567890abcdef",
        api_key="cx_your_api_key_here",
    ) as emulator:
        (agent_id,) = emulator.seed(1, "stopped")
        source = (
            reference.read_text()
            .replace("import connix\n", "import connix_provider.client as connix\n")
            .replace("'cx_your_api_key_here'", f"'cx_your_api_key_here', {emulator.url!r}, verify=False")
            .replace("agent_1234567890abcdef", agent_id)
        )
        names: dict = {}
        exec(compile(source, str(reference), "exec"), names)
        names["client"].close()
        assert isinstance(names["client"], Client)
        assert names["agent"].name == "Customer Support Agent"
        assert names["agent"].config.tools == ["web_search", "knowledge_base"]
        assert [agent.name for agent in names["agents"]] == ["Customer Support Agent"]
        assert names["agent_details"].stats is not None
        assert names["updated_agent"].config.temperature == 0.5
        assert len(names["logs"]) == 0
        assert names["metrics"].period.interval == "1h"
        assert [entry.call for entry in emulator.journal.executed()] == [
            "create_agent",
            "list_agents",
            "get_agent",
            "update_agent",
            "start_agent",
            "get_logs",
            "get_metrics",
        ]
