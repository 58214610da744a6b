"""What a measurement and a selection cost, and what they find."""

from __future__ import annotations

import json

import pytest
from received import received_calls

from connix_provider.client import AsyncClient, Client, ConnixNotFoundError, ConnixServerError
from connix_provider.client.models import AgentPage
from connix_provider.emulator import Fault
from connix_provider.health import HealthPolicy
from connix_provider.polling.measurement import measure
from connix_provider.polling.selection import describe, select_agents
from connix_provider.selector import AgentSelector


@pytest.fixture
def client(emulator):
    with Client(emulator.api_key, emulator.url, max_attempts=1) as client:
        yield client


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ({"statuses": "running"}, ["get_agent"]),
        ({"max_silence": 60}, ["get_agent"]),
        ({"max_cpu_usage": 0.9}, ["get_agent", "get_metrics"]),
        ({"max_error_logs": 3}, ["get_agent", "get_logs"]),
        (
            {"statuses": "running", "min_success_rate": 0.9, "max_p99_response_time": 9, "max_error_logs": 0},
            ["get_agent", "get_metrics", "get_logs"],
        ),
    ],
)
async def test_only_the_requests_the_checks_need_are_sent(policy, wanted, client, emulator):
    (agent_id,) = emulator.seed()
    made = HealthPolicy(**policy)
    report = client.run_flow(measure(client, made, emulator.project_id, agent_id))
    assert received_calls(emulator) == wanted
    assert report.agent_id == agent_id
    emulator.journal.clear()
    async with AsyncClient(emulator.api_key, emulator.url) as other:
        again = await other.run_flow(measure(other, made, emulator.project_id, agent_id))
    assert received_calls(emulator) == wanted
    assert [check.state for check in again.checks] == [check.state for check in report.checks]


def test_a_fresh_agent_is_not_read_again(client, emulator):
    (agent_id,) = emulator.seed()
    agent = client.agents.get(emulator.project_id, agent_id)
    policy = HealthPolicy(statuses="running", max_cpu_usage=1)
    client.run_flow(measure(client, policy, emulator.project_id, agent_id, agent=agent))
    assert received_calls(emulator) == ["get_agent", "get_metrics"]


@pytest.mark.parametrize(
    ("inside", "outside", "other", "most", "wanted"),
    [
        (0, 5, 5, 0, "healthy"),
        (1, 0, 0, 0, "unhealthy"),
        (3, 5, 5, 3, "healthy"),
        (4, 5, 5, 3, "unhealthy"),
        (150, 0, 0, 150, "healthy"),
        (1001, 0, 0, 1000, "unhealthy"),
    ],
)
def test_error_logs_of_the_window_are_counted(inside, outside, other, most, wanted, client, emulator):
    (agent_id,) = emulator.seed()
    emulator.add_logs(agent_id, outside, "error", after=-1000)
    emulator.add_logs(agent_id, inside, "error", after=-10)
    emulator.add_logs(agent_id, other, "warn")
    policy = HealthPolicy(max_error_logs=most)
    report = client.run_flow(measure(client, policy, emulator.project_id, agent_id))
    assert report.state == wanted
    assert len(received_calls(emulator)) <= 3


def test_a_metric_of_the_window_is_measured(client, emulator):
    (agent_id,) = emulator.seed()
    emulator.set_metrics(agent_id, completed=1, failed=9)
    policy = HealthPolicy(min_success_rate=0.5, window=60)
    report = client.run_flow(measure(client, policy, emulator.project_id, agent_id))
    assert report.state == "unhealthy"
    assert report.checks[0].value == 0.1


@pytest.mark.parametrize("call", ["get_agent", "get_metrics", "get_logs"])
def test_a_request_that_fails_fails_the_measurement(call, client, emulator):
    (agent_id,) = emulator.seed()
    emulator.faults.add(Fault.status(503), on=call)
    policy = HealthPolicy(max_cpu_usage=1, max_error_logs=0)
    with pytest.raises(ConnixServerError):
        client.run_flow(measure(client, policy, emulator.project_id, agent_id))


def select(client, emulator, **criteria):
    agents = client.run_flow(select_agents(client, AgentSelector(**criteria), emulator.project_id))
    return [agent.id for agent in agents]


def test_a_selection_has_all_agents_that_match(client, emulator):
    emulator.seed(130, name="other-{n}")
    team = emulator.seed(120, name="team-{n}", metadata={"team": "a"})
    down = emulator.seed(2, name="team-down-{n}", status="stopped")
    emulator.journal.clear()
    assert select(client, emulator, name="team-*") == [*team, *down]
    assert select(client, emulator, metadata={"team": "a"}) == team
    assert set(received_calls(emulator)) == {"list_agents"}
    emulator.journal.clear()
    assert select(client, emulator, statuses="stopped") == down
    assert len(received_calls(emulator)) == 1
    assert select(client, emulator, name="team-*", statuses="stopped, error") == down
    assert select(client, emulator, names=["team-down-2", "team-1"]) == [team[0], down[1]]
    assert select(client, emulator, ids=[*reversed(team)]) == [*reversed(team)]


def test_few_ids_cost_a_get_each(client, emulator):
    agents = emulator.seed(30)
    assert select(client, emulator, ids=agents[:3]) == agents[:3]
    assert received_calls(emulator) == ["get_agent"] * 3
    emulator.journal.clear()
    assert select(client, emulator, ids=agents) == agents
    assert received_calls(emulator) == ["list_agents"]


@pytest.mark.parametrize(
    ("criteria", "says"),
    [
        ({"name": "absent-*"}, "no agent of project .* meets name='absent-\\*'"),
        ({"names": ["agent-1", "agent-9"]}, "has no agent 'agent-9'; correct the selector"),
        ({"ids": ["agent_none"]}, "has no agent 'agent_none'"),
        ({"name": "*", "statuses": "error"}, "meets name='\\*', statuses=\\['error'\\]"),
    ],
)
def test_selecting_nothing_is_an_error(criteria, says, client, emulator):
    emulator.seed(3)
    with pytest.raises(ValueError, match=says):
        select(client, emulator, **criteria)
    select(client, emulator, **criteria, allow_empty=True)


def test_a_missing_project_is_no_missing_agent(client, emulator):
    with pytest.raises(ConnixNotFoundError):
        client.run_flow(select_agents(client, AgentSelector(ids="agent_1", allow_empty=True), "proj_none"))


def test_a_log_line_names_the_first_agents(client, emulator):
    agents = emulator.seed(25)
    found = client.run_flow(select_agents(client, AgentSelector(ids=agents), emulator.project_id))
    assert describe(found).startswith(f"25 agents: 'agent-1' ({agents[0]}), 'agent-2'")
    assert describe(found).endswith(f"'agent-20' ({agents[19]}) and 5 more")
    assert describe([]) == "0 agents"


@pytest.mark.parametrize("field", ["metadata", "last_activity"])
def test_a_field_missing_in_a_listing_is_read(field, client, emulator, monkeypatch):
    """An agent whose listing shows no last activity may be active."""
    agents = emulator.seed(2, metadata={"team": "a"})
    emulator.add_logs(agents[0], 1)
    page_of = AgentPage._read.__func__

    def without_field(cls, body):
        whole = json.loads(body)
        for agent in whole["agents"]:
            del agent[field]
        return page_of(cls, json.dumps(whole).encode())

    monkeypatch.setattr(AgentPage, "_read", classmethod(without_field))
    criteria = {"metadata": {"team": "a"}} if field == "metadata" else {"idle_for": 1e9, "name": "*"}
    found = select(client, emulator, allow_empty=True, **criteria)
    assert found == (agents if field == "metadata" else [])
    assert received_calls(emulator).count("get_agent") == 2
