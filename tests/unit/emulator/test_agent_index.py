"""List Agents and List Projects: orders, filters, pages, and what a page of a large fleet costs."""

from datetime import UTC, datetime, timedelta

import pytest

from connix_provider.emulator import Clock, Durations, Emulator, Limits


def names(response):
    assert response.status_code == 200
    return [agent["name"] for agent in response.json()["agents"]]


def list_all(api, **params):
    """Collect the names on all pages."""
    found, offset = [], 0
    while True:
        response = api.list(offset=offset, **params)
        found += names(response)
        pagination = response.json()["pagination"]
        assert pagination["offset"] == offset
        if not pagination["has_more"]:
            assert len(found) == pagination["total"]
            return found
        offset += pagination["limit"]


def test_empty_project(api):
    response = api.list()
    assert response.json() == {
        "agents": [],
        "pagination": {"total": 0, "limit": 20, "offset": 0, "has_more": False},
    }


def test_pages_join_up_in_every_order(emulator, api):
    made = [f"n{number:02}" for number in (3, 1, 4, 0, 5, 9, 2, 6)]
    for name in made:
        emulator.seed(name=name)
        emulator.clock.advance(1)
    for limit in (1, 3, 8, 100):
        assert list_all(api, limit=limit) == made
        assert list_all(api, limit=limit, sort="created_at") == made
        assert list_all(api, limit=limit, sort="-created_at") == made[::-1]
        assert list_all(api, limit=limit, sort="name") == sorted(made)
        assert list_all(api, limit=limit, sort="-name") == sorted(made, reverse=True)


def test_agents_of_one_moment_have_an_order_too(emulator, api):
    emulator.seed(count=50)
    assert list_all(api, limit=7) == [f"agent-{n}" for n in range(1, 51)]
    assert list_all(api, limit=7, sort="-created_at") == [f"agent-{n}" for n in range(50, 0, -1)]


def test_agent_seeded_in_the_past_is_sorted_in(emulator, api):
    emulator.seed(name="young")
    emulator.seed(name="old", created_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert names(api.list()) == ["old", "young"]


def test_filter_follows_the_agents(emulator, api):
    ids = emulator.seed(count=5)
    assert len(names(api.list(status="running"))) == 5
    emulator.set_status(ids[1], "error")
    emulator.set_status(ids[3], "error")
    assert names(api.list(status="error")) == ["agent-2", "agent-4"]
    assert api.list(status="running").json()["pagination"]["total"] == 3
    emulator.remove(ids[1])
    assert names(api.list(status="error")) == ["agent-4"]
    api.act(ids[3], "stop")
    emulator.clock.advance(60)
    assert names(api.list(status="error")) == []
    assert names(api.list(status="stopped", sort="-name")) == ["agent-4"]


def test_renamed_agents_move_in_the_order_of_names(emulator, api):
    ids = emulator.seed(count=3)
    assert api.update(ids[0], name="zzz").status_code == 200
    assert names(api.list(sort="name")) == ["agent-2", "agent-3", "zzz"]
    assert names(api.list()) == ["zzz", "agent-2", "agent-3"], "but not in that of creation"


@pytest.mark.parametrize(
    ("offset", "expected", "more"),
    [(0, 2, True), (3, 2, False), (4, 1, False), (5, 0, False), (10**18, 0, False)],
)
@pytest.mark.parametrize("sort", ["name", "-name"])
def test_offsets_up_to_the_end_and_beyond(emulator, api, offset, expected, more, sort):
    emulator.seed(count=5)
    response = api.list(offset=offset, limit=2, sort=sort)
    assert len(names(response)) == expected
    assert response.json()["pagination"] == {"total": 5, "limit": 2, "offset": offset, "has_more": more}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "ten"),
        ("limit", ""),
        ("limit", "1.0"),
        ("limit", "1_0"),
        ("offset", "-1"),
        ("offset", "x"),
        ("status", "hibernating"),
        ("status", ""),
        ("sort", "age"),
        ("sort", "--name"),
    ],
)
def test_parameters_out_of_range(api, name, value):
    response = api.list(**{name: value})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["message"]) == ("validation_error", "Invalid request parameters")
    assert [detail["field"] for detail in error["details"]] == [name]


def test_parameter_given_twice_is_refused(api):
    response = api.http.get(api.agents, params=[("limit", "1"), ("limit", "2")])
    assert response.status_code == 400
    assert response.json()["error"]["details"] == [{"field": "limit", "message": "limit must be given once"}]
    assert api.http.get(api.agents, params=[("colour", "1"), ("colour", "2")]).status_code == 200


def test_projects_are_listed_searched_and_paged(emulator, api):
    emulator.add_project("proj_b", "Beta")
    emulator.add_project("7", "Alphabet")
    response = api.http.get("/projects")
    assert response.json() == {
        "projects": [
            {"id": emulator.project_id, "name": "Default project"},
            {"id": "proj_b", "name": "Beta"},
            {"id": "7", "name": "Alphabet"},
        ],
        "pagination": {"total": 3, "page": 1, "limit": 20, "has_more": False},
    }
    page = api.http.get("/projects", params={"page": 2, "limit": 1, "search": "BET"}).json()
    assert page["projects"] == [{"id": "7", "name": "Alphabet"}]
    assert page["pagination"] == {"total": 2, "page": 2, "limit": 1, "has_more": False}
    assert api.http.get("/projects", params={"page": 0}).status_code == 400
    with pytest.raises(ValueError, match="exists already"):
        emulator.add_project("7")


def test_page_of_a_large_fleet_is_cheap(effort, connect):
    clock = Clock(frozen=True)
    durations = Durations(pausing=1.0)
    with Emulator(clock=clock, limits=Limits.off(), durations=durations) as emulator:
        ids = emulator.seed(count=50_000)
        api = connect(emulator)
        for params in ({}, {"sort": "-name"}, {"status": "running"}):
            names(api.list(limit=100, offset=40_000, **params))
            emulator.set_status(ids.pop(), "paused")
            clock.advance(1)
            with effort.counted():
                response = api.list(limit=100, offset=40_000, **params)
            assert len(names(response)) == 100
            assert 100 < effort.calls < 20_000, params


def test_many_changes_due_at_once_are_seen(connect):
    with Emulator(clock=Clock(frozen=True), limits=Limits.off()) as emulator:
        ids = emulator.seed(count=20_000, status="creating")
        for agent_id in ids:
            emulator.script(agent_id, [(1, "running")])
        emulator.clock.advance(timedelta(minutes=1).total_seconds())
        assert connect(emulator).list(status="running").json()["pagination"]["total"] == 20_000
