"""Which agents a selector selects, and what no selector can be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connix_provider.client.models import Agent
from connix_provider.selector import AgentSelector

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC).timestamp()
AGENT = {
    "id": "agent_1",
    "name": "support-eu",
    "status": "running",
    "metadata": {"team": "support", "tier": 1, "live": True, "tags": ["a"]},
    "created_at": "2026-01-01T00:00:00Z",
    "last_activity": "2026-01-15T11:00:00Z",
}


def matches(selector, **changes):
    return AgentSelector.of(selector).matches(Agent.model_validate({**AGENT, **changes}), now=NOW)


@pytest.mark.parametrize(
    "selector",
    [
        {"ids": "agent_1"},
        {"ids": ["agent_0", "agent_1"]},
        {"names": "support-eu"},
        {"names": ("x", "support-eu")},
        {"name": "support-*"},
        {"name": "support-[!x]?"},
        {"statuses": "paused, running"},
        {"metadata": {"team": "support"}},
        {"metadata": {"team": "support", "tier": "1", "live": "true", "tags": ["a"]}},
        {"idle_for": 3600},
        {"idle_for": timedelta(minutes=59)},
        {"ids": "agent_1", "name": "s*", "statuses": ["running"], "metadata": {"tier": 1}, "idle_for": "60"},
    ],
)
def test_an_agent_that_meets_all_criteria_is_selected(selector):
    assert matches(selector)


@pytest.mark.parametrize(
    "selector",
    [
        {"ids": ["agent_2"]},
        {"names": "support"},
        {"name": "Support-*"},
        {"name": "support"},
        {"statuses": "error"},
        {"metadata": {"team": "sales"}},
        {"metadata": {"missing": "support"}},
        {"metadata": {"tier": True}},
        {"metadata": {"live": 1}},
        {"idle_for": 3601},
        {"name": "support-*", "statuses": "error"},
    ],
)
def test_an_agent_that_misses_a_criterion_is_not(selector):
    assert not matches(selector)


def test_an_agent_without_activity_is_idle_since_creation():
    assert matches({"idle_for": 86400}, last_activity=None)
    assert not matches({"idle_for": 86400}, last_activity=None, created_at="2026-01-15T11:00:00Z")
    assert matches({"idle_for": 86400}, last_activity=None, created_at=None)


def test_numbers_among_ids_become_text():
    assert AgentSelector(ids=[7, " a "]).ids == ("7", "a")


@pytest.mark.parametrize(
    ("selector", "says"),
    [
        ({}, "needs a criterion"),
        ({"allow_empty": True}, "needs a criterion"),
        ({"nmae": "x"}, "'nmae' is unknown. Did you mean 'name'?"),
        ({"ids": []}, "ids must be text or a non-empty list of texts"),
        ({"ids": ["a", None]}, "ids contains None"),
        ({"ids": ["a", " "]}, "ids contains ' '"),
        ({"ids": "['a', 'b']"}, "render_template_as_native_obj=True"),
        ({"names": {"a": 1}}, "names must be text or a non-empty list"),
        ({"names": True}, "names contains True"),
        ({"name": 3}, "name must be a pattern"),
        ({"name": "None"}, "name is 'None': leave it out"),
        ({"statuses": []}, "statuses is empty"),
        ({"statuses": "runing"}, "Did you mean 'running'"),
        ({"metadata": {}}, "metadata must be a non-empty mapping"),
        ({"metadata": "team=a"}, "metadata must be a non-empty mapping"),
        ({"idle_for": -1}, "idle_for must be a number of seconds"),
        ({"name": "*", "allow_empty": "perhaps"}, "allow_empty must be true or false"),
        ("*", "must be an AgentSelector or a mapping"),
        (["agent_1"], "must be an AgentSelector or a mapping"),
        (None, "must be an AgentSelector or a mapping"),
    ],
)
def test_a_wrong_selector_is_refused(selector, says):
    with pytest.raises(ValueError, match=r"^agents: ") as refused:
        AgentSelector.of(selector)
    assert says in str(refused.value)
