"""Create, Get, Update, Delete: bodies as the reference shows them, the merge, the names, the refusals."""

import re
from datetime import UTC, datetime

import pytest

from connix_provider.emulator import Clock, Emulator

CONFIG = {
    "model": "gpt-4",
    "temperature": 0.3,
    "max_tokens": 1024,
    "tools": ["web_search", "knowledge_base"],
    "system_prompt": "You are a helpful agent...",
    "environment_variables": {"SUPPORT_QUEUE": "high_priority", "ESCALATION_THRESHOLD": "3"},
}
ALWAYS = {
    "id",
    "name",
    "description",
    "project_id",
    "status",
    "config",
    "metadata",
    "created_at",
    "updated_at",
    "last_activity",
}


def details(response):
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "validation_error"
    return {detail["field"]: detail["message"] for detail in error["details"]}


def test_create_responds_as_in_the_reference(emulator, api):
    response = api.create(
        "Customer Support", description="Handles it", config=CONFIG, metadata={"team": "cs"}
    )
    assert response.status_code == 201
    agent = response.json()
    assert agent.keys() == ALWAYS
    assert re.fullmatch(r"agent_[0-9a-f]{16}", agent["id"])
    assert agent["name"] == "Customer Support"
    assert agent["description"] == "Handles it"
    assert agent["project_id"] == emulator.project_id
    assert agent["config"] == CONFIG
    assert agent["metadata"].pop("created_by").startswith("user_")
    assert agent["metadata"] == {"team": "cs", "version": "1.0.0"}
    assert agent["created_at"] == agent["updated_at"]
    assert datetime.fromisoformat(agent["created_at"]) == emulator.clock.now()
    assert agent["last_activity"] is None


def test_create_needs_only_a_name(api):
    agent = api.create("bare").json()
    assert (agent["description"], agent["config"]) == (None, {})


def test_times_are_iso_8601_with_z(connect):
    clock = Clock(frozen=True, start=datetime(2024, 1, 15, 10, 30, tzinfo=UTC))
    with Emulator(clock=clock) as emulator:
        api = connect(emulator)
        assert api.create("whole").json()["created_at"] == "2024-01-15T10:30:00Z"
        clock.advance(0.5)
        assert api.create("half").json()["created_at"] == "2024-01-15T10:30:00.500000Z"


def test_list_shows_neither_statistics_nor_secrets(api):
    agent_id = api.create(config=CONFIG).json()["id"]
    whole = api.get(agent_id).json()
    assert whole.keys() == ALWAYS | {"stats"}
    assert whole["config"] == CONFIG
    (listed,) = api.list().json()["agents"]
    assert listed.keys() == ALWAYS
    assert listed["config"].keys() == CONFIG.keys() - {"system_prompt", "environment_variables"}


def test_update_merges(emulator, api):
    (agent_id,) = emulator.seed(
        name="one", description="old", config=CONFIG, metadata={"a": 1, "b": {"c": 2}}
    )
    before = emulator.agent(agent_id)
    emulator.clock.advance(1)
    response = api.update(
        agent_id,
        name="two",
        config={"temperature": 2, "environment_variables": {"NEW": "1"}},
        metadata={"b": 3, "version": "2.0.0"},
    )
    assert response.status_code == 200
    agent = response.json()
    assert agent.keys() == ALWAYS
    assert (agent["name"], agent["description"]) == ("two", "old")
    assert agent["config"] == CONFIG | {"temperature": 2, "environment_variables": {"NEW": "1"}}
    expected = before["metadata"] | {"b": 3, "version": "2.0.0"}
    assert agent["metadata"] == expected
    assert agent["created_at"] == before["created_at"]
    assert agent["updated_at"] > before["updated_at"]
    assert api.update(agent_id).json()["config"] == agent["config"], "an empty change changes nothing"
    assert api.update(agent_id, description=None).json()["description"] is None


def test_only_the_service_sets_created_by(emulator, api):
    agent = api.create(metadata={"created_by": "me", "version": "7"}).json()
    assert agent["metadata"]["created_by"] != "me"
    assert agent["metadata"]["version"] == "7"
    emulator.set_status(agent["id"], "running")
    assert api.update(agent["id"], metadata={"created_by": "me"}).json()["metadata"] == agent["metadata"]


def test_free_form_objects_and_unknown_fields_are_accepted(api):
    odd = {"nested": {"list": [1, None, True, 2.5, "\u2603", "\U0001f600"]}, "model_config": {}, "": 0}
    response = api.create(config=odd, metadata=odd, colour="green")
    assert response.status_code == 201
    whole = api.get(response.json()["id"]).json()
    assert whole["config"] == odd
    assert {key: whole["metadata"][key] for key in odd} == odd
    assert "colour" not in whole


def test_agents_made_together_do_not_share_changes(emulator, api):
    first, second = emulator.seed(count=2, config={"model": "a"})
    api.update(first, config={"model": "b"})
    emulator.agent(second)["config"]["model"] = "c"
    assert emulator.agent(first)["config"] == {"model": "b"}
    assert emulator.agent(second)["config"] == {"model": "a"}


def test_refusal_matches_the_reference_example(emulator, api):
    response = api.create(config={"temperature": 2.1, "max_tokens": 0})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error.pop("request_id").startswith("req_")
    assert datetime.fromisoformat(error.pop("timestamp")) == emulator.clock.now()
    assert error == {
        "code": "validation_error",
        "message": "Invalid agent configuration",
        "details": [
            {"field": "config.temperature", "message": "Temperature must be between 0 and 2"},
            {"field": "config.max_tokens", "message": "Max tokens must be a positive integer"},
        ],
    }


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": ""}),
        ("name", {"name": 256 * "n"}),
        ("name", {"name": None}),
        ("name", {"name": 7}),
        ("description", {"description": 7}),
        ("config", {"config": []}),
        ("config", {"config": None}),
        ("config.model", {"config": {"model": 4}}),
        ("config.temperature", {"config": {"temperature": -0.1}}),
        ("config.temperature", {"config": {"temperature": "0.5"}}),
        ("config.temperature", {"config": {"temperature": True}}),
        ("config.temperature", {"config": {"temperature": None}}),
        ("config.max_tokens", {"config": {"max_tokens": 1.5}}),
        ("config.max_tokens", {"config": {"max_tokens": "5"}}),
        ("config.max_tokens", {"config": {"max_tokens": True}}),
        ("config.tools", {"config": {"tools": "web_search"}}),
        ("config.tools", {"config": {"tools": ["web_search", 1]}}),
        ("config.system_prompt", {"config": {"system_prompt": 1}}),
        ("config.environment_variables", {"config": {"environment_variables": []}}),
        ("config.environment_variables", {"config": {"environment_variables": {"A": 1}}}),
        ("metadata", {"metadata": "x"}),
    ],
)
def test_invalid_values_are_refused(emulator, api, field, fields):
    assert details(api.create(**fields)).keys() == {field}
    (agent_id,) = emulator.seed()
    assert details(api.update(agent_id, **fields)).keys() == {field}
    assert api.list().json()["pagination"]["total"] == 1, "nothing was created"
    assert len(emulator.history(agent_id)) == 1, "nothing was changed"


@pytest.mark.parametrize(
    "config",
    [
        {"temperature": 0},
        {"temperature": 2},
        {"temperature": 1.5},
        {"max_tokens": 1},
        {"max_tokens": 5.0},
        {"tools": []},
        {"environment_variables": {}},
    ],
)
def test_values_at_the_edge(api, config):
    response = api.create(name=255 * "n", config=config)
    assert response.status_code == 201
    assert response.json()["config"] == config


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"name": "x", "config": {"temperature": NaN}}',
        b'{"name": "x", "metadata": {"x": Infinity}}',
        b'{"name": "\xff"}',
        100_000 * b"[",
        b'{"name": "x", "metadata": {"x": ' + 5000 * b"9" + b"}}",
    ],
)
def test_body_that_is_no_json_object_is_refused(api, content):
    response = api.http.post(api.agents, content=content, headers={"Content-Type": "application/json"})
    assert details(response) == {"body": "Request body must be a JSON object"}


def test_body_of_another_media_type_is_refused(api):
    response = api.http.post(api.agents, content=b'{"name": "x"}', headers={"Content-Type": "text/plain"})
    assert details(response).keys() == {"body"}


def test_half_a_surrogate_pair_is_survived(api):
    def post(content):
        return api.http.post(api.agents, content=content, headers={"Content-Type": "application/json"})

    assert details(post(b'{"name": "\\ud83d"}')).keys() == {"name"}
    response = post(b'{"name": "x", "metadata": {"half": "\\ud83d"}}')
    assert response.status_code in {201, 400}
    assert api.list().status_code == 200


def test_name_is_unique_in_its_project(emulator, api):
    first = api.create("one").json()["id"]
    response = api.create("one")
    assert response.status_code == 409
    error = response.json()["error"]
    assert (error["code"], error["message"]) == (
        "agent_conflict",
        "Agent name already exists in this project",
    )

    (second,) = emulator.seed(name="two")
    refused = api.update(second, name="one")
    assert (refused.status_code, refused.json()["error"]["message"]) == (409, error["message"])
    assert api.update(second, name="two").status_code == 200, "its own name is no conflict"
    assert api.update(second, name="three").status_code == 200
    assert api.create("two").status_code == 201, "the old name is free"
    assert emulator.agent(first)["name"] == "one"

    other = emulator.add_project()
    assert api.http.post(f"/projects/{other}/agents", json={"name": "one"}).status_code == 201


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/start"),
        ("POST", "/pause"),
        ("POST", "/stop"),
        ("POST", "/restart"),
        ("GET", "/logs"),
        ("GET", "/metrics"),
    ],
)
def test_agent_of_another_project_is_not_found(emulator, api, method, rest):
    (elsewhere,) = emulator.seed(project_id=emulator.add_project())
    for agent_id in ("agent_1234567890abcdef", elsewhere):
        response = api.http.request(method, api.path(agent_id) + rest, json={} if method == "PUT" else None)
        assert response.status_code == 404
        error = response.json()["error"]
        assert error["code"] == "agent_not_found"
        assert error["message"] == f"Agent with ID '{agent_id}' not found"
    assert emulator.agent(elsewhere)["status"] == "running"


def test_seed_counts_on_and_refuses_names_in_use(emulator):
    emulator.seed(count=2)
    names = [emulator.agent(agent_id)["name"] for agent_id in emulator.seed(count=2)]
    assert names == ["agent-3", "agent-4"]
    with pytest.raises(ValueError, match="unique"):
        emulator.seed(count=2, name="same")
    emulator.seed(name="same")
    with pytest.raises(ValueError, match="unique"):
        emulator.seed(name="same")


def test_seed_sets_the_fields_of_an_agent(emulator, api):
    born = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
    (agent_id,) = emulator.seed(
        status="hibernating", name="old", description="d", config={"x": 1}, metadata={"y": 2}, created_at=born
    )
    agent = api.get(agent_id).json()
    assert agent["status"] == "hibernating"
    assert agent["created_at"] == "2024-01-15T10:30:00Z"
    assert agent["config"] == {"x": 1}
    assert agent["metadata"]["y"] == 2
    assert agent == emulator.agent(agent_id)
