"""Which action each status allows, what follows it, and how the agent shows it."""

from datetime import datetime, timedelta

import pytest

from connix_provider.emulator import Clock, Durations, Emulator
from connix_provider.emulator.transitions import STATUSES

DURATIONS = Durations()


def statuses(emulator, agent_id):
    return [status for _, status in emulator.history(agent_id)]


def pass_time(emulator, seconds):
    emulator.clock.advance(seconds)


def test_new_agent_is_creating_and_then_runs(emulator, api):
    response = api.create()
    assert (response.status_code, response.json()["status"]) == (201, "creating")
    agent_id = response.json()["id"]

    pass_time(emulator, DURATIONS.creating - 0.001)
    assert api.get(agent_id).json()["status"] == "creating"
    pass_time(emulator, 0.001)
    assert api.get(agent_id).json()["status"] == "running"


@pytest.mark.parametrize(
    ("verb", "before", "goal", "seconds"),
    [
        ("start", "paused", "running", DURATIONS.starting),
        ("start", "stopped", "running", DURATIONS.starting),
        ("pause", "running", "paused", DURATIONS.pausing),
        ("stop", "running", "stopped", DURATIONS.stopping),
        ("stop", "paused", "stopped", DURATIONS.stopping),
        ("stop", "error", "stopped", DURATIONS.stopping),
    ],
)
def test_response_to_an_action_is_a_promise(emulator, api, verb, before, goal, seconds):
    (agent_id,) = emulator.seed(status=before)

    response = api.act(agent_id, verb)
    done = {"start": "started", "pause": "paused", "stop": "stopped"}[verb]
    assert response.status_code == 200
    assert response.json() == {"message": f"Agent {done} successfully", "agent_id": agent_id, "status": goal}
    assert api.get(agent_id).json()["status"] == before

    pass_time(emulator, seconds)
    assert api.get(agent_id).json()["status"] == goal
    assert statuses(emulator, agent_id) == [before, goal]


@pytest.mark.parametrize("before", ["running", "paused", "stopped", "error"])
def test_restart_goes_down_and_up_again(emulator, api, before):
    (agent_id,) = emulator.seed(status=before)

    response = api.act(agent_id, "restart")
    assert response.json() == {
        "message": "Agent restarted successfully",
        "agent_id": agent_id,
        "status": "running",
    }
    assert api.get(agent_id).json()["status"] == before
    pass_time(emulator, DURATIONS.restarting_down)
    assert api.get(agent_id).json()["status"] == "stopped"
    pass_time(emulator, DURATIONS.restarting_up)
    assert api.get(agent_id).json()["status"] == "running"


ALLOWED = {
    "start": {"paused", "stopped"},
    "pause": {"running"},
    "stop": {"running", "paused", "error"},
    "restart": {"running", "paused", "stopped", "error"},
}


@pytest.mark.parametrize("verb", ALLOWED)
@pytest.mark.parametrize("status", [*STATUSES, "hibernating"])
def test_every_action_from_every_status(emulator, api, verb, status):
    (agent_id,) = emulator.seed(status=status)
    response = api.act(agent_id, verb)
    if status in ALLOWED[verb]:
        assert response.status_code == 200
    else:
        assert response.status_code == 409
        assert response.json()["error"]["code"] == "agent_conflict"
        assert status in response.json()["error"]["message"]
        pass_time(emulator, 60)
        assert statuses(emulator, agent_id) == [status]


@pytest.mark.parametrize("status", ["running", "paused", "stopped", "error"])
def test_update_returns_to_the_status_before(emulator, api, status):
    (agent_id,) = emulator.seed(status=status)
    assert api.update(agent_id, description="new").json()["status"] == "updating"
    assert api.get(agent_id).json()["status"] == "updating"
    pass_time(emulator, DURATIONS.updating)
    assert api.get(agent_id).json()["status"] == status


def test_update_during_an_action_keeps_its_promise(emulator, api):
    (agent_id,) = emulator.seed(status="stopped")
    api.act(agent_id, "start")
    api.update(agent_id, description="new")
    api.update(agent_id, description="newer")
    pass_time(emulator, 60)
    assert statuses(emulator, agent_id) == ["stopped", "updating", "updating", "running"]


def test_no_update_and_no_action_while_creating(api):
    agent_id = api.create().json()["id"]
    assert api.update(agent_id, description="new").status_code == 409
    assert api.act(agent_id, "restart").status_code == 409


def test_deleted_agent_keeps_its_name_until_removed(emulator, api):
    (agent_id,) = emulator.seed(name="one")
    response = api.delete(agent_id)
    assert response.status_code == 200
    assert response.json() == {"message": "Agent deleted successfully", "agent_id": agent_id}

    assert api.get(agent_id).json()["status"] == "running"
    assert api.create("one").status_code == 409
    for refused in (api.act(agent_id, "pause"), api.update(agent_id, description="new")):
        assert refused.status_code == 409
        assert "being deleted" in refused.json()["error"]["message"]
    pass_time(emulator, DURATIONS.deleting / 2)
    assert api.delete(agent_id).status_code == 200, "a second delete gets the same response"
    pass_time(emulator, DURATIONS.deleting / 2)
    assert api.get(agent_id).status_code == 404, "and does not put the end off"
    assert api.delete(agent_id).status_code == 404
    assert api.create("one").status_code == 201
    assert statuses(emulator, agent_id) == ["running"], "the history outlives the agent"
    with pytest.raises(KeyError, match=agent_id):
        emulator.agent(agent_id)


def test_later_action_replaces_an_earlier_one(emulator, api):
    (agent_id,) = emulator.seed()
    api.act(agent_id, "restart")
    api.act(agent_id, "pause")
    pass_time(emulator, 60)
    assert statuses(emulator, agent_id) == ["running", "paused"]


def test_changes_happen_at_their_planned_times(emulator, api):
    (agent_id,) = emulator.seed()
    begin = emulator.clock.now()
    api.act(agent_id, "restart")
    pass_time(emulator, 3600)
    down = begin + timedelta(seconds=DURATIONS.restarting_down)
    up = down + timedelta(seconds=DURATIONS.restarting_up)
    assert emulator.history(agent_id) == [(begin, "running"), (down, "stopped"), (up, "running")]
    assert datetime.fromisoformat(api.get(agent_id).json()["updated_at"]) == up


def test_updated_at_grows_on_a_frozen_clock(instant, connect):
    api = connect(instant)
    agent_id = api.create().json()["id"]
    seen = [api.get(agent_id).json()["updated_at"]]
    for verb in ("pause", "start", "restart", "stop"):
        assert api.act(agent_id, verb).status_code == 200
        seen.append(api.get(agent_id).json()["updated_at"])
    api.update(agent_id, description="new")
    seen.append(api.get(agent_id).json()["updated_at"])
    moments = [datetime.fromisoformat(text) for text in seen]
    assert moments == sorted(set(moments))
    expected = ["creating", "running", "paused", "running", "stopped", "running", "stopped", "updating"]
    assert statuses(instant, agent_id) == [*expected, "stopped"]


def test_instant_changes_are_there_at_once(instant, connect):
    api = connect(instant)
    response = api.create()
    assert response.json()["status"] == "creating", "the response is the reference's"
    agent_id = response.json()["id"]
    assert api.get(agent_id).json()["status"] == "running"
    api.delete(agent_id)
    assert api.get(agent_id).status_code == 404


def test_set_status_drops_planned_changes(emulator, api):
    agent_id = api.create().json()["id"]
    emulator.set_status(agent_id, "hibernating")
    assert api.get(agent_id).json()["status"] == "hibernating"
    pass_time(emulator, 60)
    assert api.get(agent_id).json()["status"] == "hibernating"


def test_set_status_takes_a_deletion_back(emulator, api):
    (agent_id,) = emulator.seed()
    api.delete(agent_id)
    emulator.set_status(agent_id, "running")
    pass_time(emulator, 60)
    assert api.act(agent_id, "pause").status_code == 200


def test_set_status_can_leave_updated_at_alone(emulator):
    (agent_id,) = emulator.seed()
    before = emulator.agent(agent_id)
    pass_time(emulator, 5)
    emulator.set_status(agent_id, "error", move_updated_at=False)
    after = emulator.agent(agent_id)
    assert after["status"] == "error"
    assert after["updated_at"] == before["updated_at"]


def test_script_is_a_chain_of_delays(emulator, api):
    (agent_id,) = emulator.seed()
    begin = emulator.clock.now()
    emulator.script(agent_id, [(0, "error"), (2, "running"), (3, "error"), (1, None)])
    assert api.get(agent_id).json()["status"] == "error"
    pass_time(emulator, 2)
    assert api.get(agent_id).json()["status"] == "running"
    pass_time(emulator, 3)
    assert api.get(agent_id).json()["status"] == "error"
    assert emulator.history(agent_id)[-1] == (begin + timedelta(seconds=5), "error")
    pass_time(emulator, 1)
    assert api.get(agent_id).status_code == 404


def test_empty_script_drops_planned_changes(emulator, api):
    agent_id = api.create().json()["id"]
    emulator.script(agent_id, [])
    pass_time(emulator, 60)
    assert api.get(agent_id).json()["status"] == "creating"


def test_remove_is_at_once(emulator, api):
    (agent_id,) = emulator.seed(name="one")
    emulator.remove(agent_id)
    assert api.get(agent_id).status_code == 404
    assert api.create("one").status_code == 201


@pytest.mark.parametrize(
    "change",
    [
        lambda emulator: emulator.set_status("agent_x", "running"),
        lambda emulator: emulator.script("agent_x", []),
        lambda emulator: emulator.remove("agent_x"),
        lambda emulator: emulator.add_logs("agent_x", 1),
        lambda emulator: emulator.agent("agent_x"),
        lambda emulator: emulator.history("agent_x"),
    ],
)
def test_unknown_agent_is_a_key_error(change):
    with pytest.raises(KeyError, match="agent_x"):
        change(Emulator())


def test_real_time_moves_agents_too(connect):
    with Emulator(durations=Durations(creating=0.02)) as emulator:
        api = connect(emulator)
        agent_id = api.create().json()["id"]
        for _ in range(500):
            if api.get(agent_id).json()["status"] == "running":
                break
        (_, first), (_, second) = emulator.history(agent_id)
        assert (first, second) == ("creating", "running")


def test_durations_are_not_negative():
    with pytest.raises(ValueError, match="creating"):
        Durations(creating=-1)


def test_clock_needs_aware_start_and_moves_forward():
    with pytest.raises(ValueError, match="aware"):
        Clock(start=datetime(2024, 1, 1))  # noqa: DTZ001  # a naive one is the point
    with pytest.raises(ValueError, match="forward"):
        Clock().advance(-1)


def test_clock_runs_unless_frozen():
    running, frozen = Clock(), Clock(frozen=True)
    first, still = running.now(), frozen.timestamp()
    running.advance(60)
    assert running.now() - first >= timedelta(seconds=60)
    assert frozen.timestamp() == still
