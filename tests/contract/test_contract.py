"""
What the reference documents, tested on the emulator or on a live service.

``CONNIX_CONTRACT_URL``, ``CONNIX_CONTRACT_API_KEY`` and ``CONNIX_CONTRACT_PROJECT`` name a live service. All
three have to be there, or none. Every agent that is made there is deleted again.
"""

import os
import time
import uuid

import pytest

from connix_provider.client import (
    AgentStatus,
    Client,
    ConnixAuthenticationError,
    ConnixConflictError,
    ConnixNotFoundError,
    ConnixValidationError,
)
from connix_provider.emulator import Durations, Emulator, Limits

VARIABLES = ("CONNIX_CONTRACT_URL", "CONNIX_CONTRACT_API_KEY", "CONNIX_CONTRACT_PROJECT")
CONFIG = {
    "model": "gpt-4",
    "temperature": 0.3,
    "max_tokens": 1024,
    "tools": ["web_search"],
    "system_prompt": "You are part of a contract test.",
    "environment_variables": {"CACHE_TTL": "3600"},
}
SETTLED = {AgentStatus.RUNNING, AgentStatus.PAUSED, AgentStatus.STOPPED, AgentStatus.ERROR}


@pytest.fixture(scope="module")
def service():
    """Give (URL, key, project) of the live service, or of an emulator."""
    live = [os.environ.get(name, "") for name in VARIABLES]
    if any(live):
        missing = [name for name, value in zip(VARIABLES, live, strict=True) if not value]
        assert not missing, f"a live service is named in part; set {', '.join(missing)} too"
        yield tuple(live)
        return
    quick = Durations(**dict.fromkeys(Durations.__dataclass_fields__, 0.01))
    with Emulator(durations=quick, limits=Limits.off()) as emulator:
        yield emulator.url, emulator.api_key, emulator.project_id


@pytest.fixture(scope="module")
def project(service):
    return service[2]


@pytest.fixture(scope="module")
def agents(service):
    with Client(service[1], service[0]) as client:
        yield client.agents


def wait(agents, project, agent_id, wanted):
    deadline = time.monotonic() + 120
    pause = 0.01
    while True:
        agent = agents.get(project, agent_id)
        if agent.status in wanted:
            return agent
        assert time.monotonic() < deadline, f"the agent is still {agent.status}"
        time.sleep(pause)
        pause = min(2 * pause, 5)


def delete(agents, project, agent_id):
    deadline = time.monotonic() + 120
    while True:
        try:
            result = agents.delete(project, agent_id)
            assert result.agent_id == agent_id
        except ConnixNotFoundError:
            return
        assert time.monotonic() < deadline, "the agent is still there"
        time.sleep(0.02)


@pytest.fixture
def agent(agents, project):
    """An agent that runs, and is gone after the test."""
    made = agents.create(
        project, {"name": f"contract-{uuid.uuid4()}", "config": CONFIG, "metadata": {"team": "contract"}}
    )
    try:
        yield wait(agents, project, made.id, {AgentStatus.RUNNING})
    finally:
        delete(agents, project, made.id)


def test_agent_is_as_created(agent, project):
    assert agent.project_id == project
    assert agent.config.model_dump().items() >= CONFIG.items()
    assert agent.metadata["team"] == "contract"
    assert agent.created_at <= agent.updated_at
    assert agent.stats is not None


def test_listing_shows_the_agent(agents, project, agent):
    shown = {one.id: one for one in agents.iter(project, status="running", sort="-created_at")}
    assert shown[agent.id].name == agent.name
    page = agents.list(project, limit=1)
    assert len(page) == 1
    assert (page.pagination.limit, page.pagination.offset) == (1, 0)
    assert page.pagination.total >= 1
    assert page.pagination.has_more is (page.pagination.total > 1)


def test_update_merges_and_moves_updated_at(agents, project, agent):
    changed = agents.update(project, agent.id, {"config": {"temperature": 0.5}, "description": "changed"})
    assert (changed.config.temperature, changed.config.model) == (0.5, "gpt-4")
    after = wait(agents, project, agent.id, SETTLED)
    assert after.name == agent.name
    assert after.description == "changed"
    assert after.config.model_dump() == agent.config.model_dump() | {"temperature": 0.5}
    assert after.updated_at > agent.updated_at


def test_actions_reach_their_promised_status(agents, project, agent):
    for action, promise in (
        ("pause", AgentStatus.PAUSED),
        ("start", AgentStatus.RUNNING),
        ("stop", AgentStatus.STOPPED),
        ("start", AgentStatus.RUNNING),
    ):
        result = getattr(agents, action)(project, agent.id)
        assert (result.agent_id, result.status) == (agent.id, promise)
        assert wait(agents, project, agent.id, {promise}).status is promise
    before = agents.get(project, agent.id).updated_at
    assert agents.restart(project, agent.id).status is AgentStatus.RUNNING
    deadline = time.monotonic() + 120
    while (
        now := agents.get(project, agent.id)
    ).updated_at == before or now.status is not AgentStatus.RUNNING:
        assert time.monotonic() < deadline, "the agent did not restart"
        time.sleep(0.02)


def test_logs_and_metrics(agents, project, agent):
    page = agents.logs(project, agent.id, limit=1)
    assert len(page) <= 1
    assert page.pagination.limit == 1
    times = [line.timestamp for line in agents.iter_logs(project, agent.id)]
    assert times == sorted(times, reverse=True)
    metrics = agents.metrics(project, agent.id, interval="1h")
    assert metrics.period.interval == "1h"
    assert metrics.tasks.total >= 0


def test_name_is_unique_in_its_project(agents, project, agent):
    with pytest.raises(ConnixConflictError):
        agents.create(project, {"name": agent.name})


def test_refusals_have_the_reference_errors(service, agents, project):
    with pytest.raises(ConnixNotFoundError):
        agents.get(project, f"agent_{uuid.uuid4().hex[:16]}")
    with pytest.raises(ConnixValidationError) as caught:
        agents.create(project, {"name": f"contract-{uuid.uuid4()}", "config": {"temperature": 3}})
    assert "temperature" in str(caught.value)
    with (
        Client("cx_" + 32 * "0", service[0]) as stranger,
        pytest.raises(ConnixAuthenticationError),
    ):
        stranger.agents.list(project)


def test_deleted_agent_is_not_found(agents, project):
    made = agents.create(project, {"name": f"contract-{uuid.uuid4()}"})
    delete(agents, project, made.id)
    with pytest.raises(ConnixNotFoundError):
        agents.get(project, made.id)
