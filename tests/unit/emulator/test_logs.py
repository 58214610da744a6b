"""Agent Logs: canned lines, the lines a test adds, filters and pages."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connix_provider.emulator import Clock, Emulator, logs
from connix_provider.emulator.clock import micros_of
from connix_provider.emulator.logs import LEVELS


def lines(response):
    assert response.status_code == 200
    return response.json()["logs"]


def messages(response):
    return [line["message"] for line in lines(response)]


def moment(line):
    return datetime.fromisoformat(line["timestamp"])


@pytest.fixture
def worked(emulator):
    """An agent that ran, failed, was stopped and runs again."""
    (agent_id,) = emulator.seed()
    emulator.clock.advance(1800)
    emulator.set_status(agent_id, "error")
    emulator.clock.advance(600)
    emulator.set_status(agent_id, "stopped")
    emulator.clock.advance(600)
    emulator.set_status(agent_id, "running")
    emulator.clock.advance(900)
    return agent_id


def test_log_shows_status_changes_and_canned_work(emulator, api, worked):
    shown = lines(api.logs(worked))
    assert [(line["level"], line["message"]) for line in shown] == [
        ("info", "Task completed successfully"),
        ("info", "Agent status changed from 'stopped' to 'running'"),
        ("info", "Agent status changed from 'error' to 'stopped'"),
        ("error", "Agent encountered an error; its status was 'running'"),
        ("info", "Task completed successfully"),
        ("info", "Agent created with status 'running'"),
    ]
    assert all(line.keys() == {"timestamp", "level", "message", "context"} for line in shown)
    assert shown[0]["context"] == {"task_id": "task_1234567890abcdef", "duration": 2.34, "tokens_used": 156}
    changes = [moment(line) for line in shown if "status" in line["message"]]
    assert changes == [at for at, _ in emulator.history(worked)][::-1]


def test_canned_work_needs_ten_seconds_of_running(emulator, api):
    (agent_id,) = emulator.seed()
    assert emulator.agent(agent_id)["last_activity"] is None
    emulator.clock.advance(9)
    assert emulator.agent(agent_id)["last_activity"] is None
    emulator.set_status(agent_id, "paused")
    emulator.clock.advance(3600)
    assert messages(api.logs(agent_id))[0] == "Agent status changed from 'running' to 'paused'"
    assert emulator.agent(agent_id)["stats"]["total_tasks"] == 0


def test_last_activity_is_the_newest_line_of_work(emulator, api):
    (agent_id,) = emulator.seed(created_at=datetime.fromisoformat("2024-01-15T10:30:00Z"))
    assert api.get(agent_id).json()["last_activity"] == "2024-01-15T10:30:12Z"
    emulator.clock.advance(7)
    emulator.set_status(agent_id, "stopped")
    assert emulator.agent(agent_id)["last_activity"] == "2024-01-15T10:30:12Z"
    emulator.add_logs(agent_id, ["awake"], after=60)
    assert emulator.agent(agent_id)["last_activity"] == "2024-01-15T10:30:12Z", "the line is in the future"
    emulator.clock.advance(60)
    assert datetime.fromisoformat(emulator.agent(agent_id)["last_activity"]) == emulator.clock.now()


def test_added_lines_have_message_level_and_context(emulator, api):
    (agent_id,) = emulator.seed(status="stopped")
    emulator.add_logs(agent_id, ["first", "second"], level="warn", context={"queue": 3})
    emulator.add_logs(agent_id, ["third"])
    shown = lines(api.logs(agent_id))
    assert [(line["level"], line["message"], line["context"]) for line in shown[:3]] == [
        ("info", "third", {}),
        ("warn", "second", {"queue": 3}),
        ("warn", "first", {"queue": 3}),
    ]
    emulator.add_logs(agent_id, 2, level="error")
    shown = lines(api.logs(agent_id, level="error"))
    assert [line["context"] for line in shown] == [{"line": 2, "of": 2}, {"line": 1, "of": 2}]


def test_scripted_lines_appear_at_their_times(emulator, api):
    (agent_id,) = emulator.seed(status="stopped")
    start = emulator.clock.now()
    emulator.add_logs(agent_id, ["a", "b", "c"], level="error", after=30, every=10)
    emulator.add_logs(agent_id, ["between"], level="error", after=45)
    assert messages(api.logs(agent_id, level="error")) == []
    emulator.clock.advance(40)
    assert messages(api.logs(agent_id, level="error")) == ["b", "a"]
    emulator.clock.advance(3600)
    shown = lines(api.logs(agent_id, level="error"))
    assert [line["message"] for line in shown] == ["c", "between", "b", "a"]
    assert [(moment(line) - start).total_seconds() for line in shown] == [50, 45, 40, 30]


def test_added_lines_are_checked(emulator):
    (agent_id,) = emulator.seed()
    with pytest.raises(ValueError, match="level must be one of debug, info, warn, error"):
        emulator.add_logs(agent_id, 1, level="fatal")
    with pytest.raises(KeyError):
        emulator.add_logs("agent_0", 1)


def test_level_and_times_filter(emulator, api, worked):
    emulator.add_logs(worked, 3, "debug")
    emulator.add_logs(worked, 2, "warn")
    shown = lines(api.logs(worked))
    for level in LEVELS:
        response = api.logs(worked, level=level)
        assert lines(response) == [line for line in shown if line["level"] == level] != []
        assert response.json()["pagination"]["total"] == len(lines(response))
    start, end = moment(shown[-3]), moment(shown[4])
    for level in (None, "info"):
        chosen = {} if level is None else {"level": level}
        response = api.logs(worked, start_time=start.isoformat(), end_time=end.isoformat(), **chosen)
        expected = [line for line in shown if start <= moment(line) <= end and level in {None, line["level"]}]
        assert lines(response) == expected
    assert lines(api.logs(worked, start_time="9000-01-01T00:00:00Z")) == []
    assert lines(api.logs(worked, end_time="0001-01-01T00:00:00+14:00")) == []
    backwards = api.logs(worked, start_time=end.isoformat(), end_time=start.isoformat())
    assert backwards.json()["pagination"]["total"] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("level", "fatal"),
        ("start_time", "yesterday"),
        ("start_time", "2024-01"),
        ("start_time", "1705312200"),
        ("end_time", "2024-13-15T10:30:00Z"),
        ("end_time", "2024-02-30"),
        ("end_time", ""),
        ("limit", "0"),
        ("limit", "1001"),
        ("offset", "-1"),
    ],
)
def test_parameters_out_of_range_are_refused(api, worked, name, value):
    response = api.logs(worked, **{name: value})
    assert response.status_code == 400
    assert [detail["field"] for detail in response.json()["error"]["details"]] == [name]


@pytest.mark.parametrize(
    "broken", ["yesterday", "", "2024-02-30", "2024-13-15T10:30:00Z", "2024-01-15T10:xx", "2024-01-15\n"]
)
def test_unreadable_time_is_refused(api, worked, broken):
    for response in (api.logs(worked, start_time=broken), api.metrics(worked, start_time=broken)):
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["code"], error["message"]) == ("validation_error", "Invalid request parameters")
        assert error["details"] == [
            {"field": "start_time", "message": "start_time must be a time in ISO 8601 format"}
        ]


def test_pages_join_up(emulator, api, worked):
    emulator.add_logs(worked, 100)
    whole = lines(api.logs(worked, limit=1000))
    assert len(lines(api.logs(worked))) == 100, "the reference's default limit"
    joined = []
    while True:
        response = api.logs(worked, limit=37, offset=len(joined))
        joined += lines(response)
        pagination = response.json()["pagination"]
        assert (pagination["total"], pagination["limit"]) == (106, 37)
        if not pagination["has_more"]:
            break
    assert joined == whole


def test_page_of_a_large_log_is_cheap(effort, emulator, api):
    (agent_id,) = emulator.seed()
    emulator.clock.advance(3600)
    emulator.add_logs(agent_id, 100_000, level="warn")
    total = api.logs(agent_id).json()["pagination"]["total"]
    assert total == 100_002
    with effort.counted():
        response = api.logs(agent_id, offset=total - 60_000, limit=1000)
    assert 1000 < effort.calls < 20_000
    numbers = [line["context"]["line"] for line in lines(response)]
    assert numbers == list(range(numbers[0], numbers[0] - 1000, -1))


@settings(max_examples=30, derandomize=True, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["running", "paused", "error"])), max_size=6
    ),
    added=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 3), st.sampled_from(LEVELS)), max_size=3),
    level=st.sampled_from([None, *LEVELS]),
    start=st.none() | st.integers(0, 100),
    end=st.none() | st.integers(0, 100),
    offset=st.integers(0, 20),
    limit=st.integers(1, 10),
)
def test_page_is_a_slice_of_the_log(changes, added, level, start, end, offset, limit):
    emulator = Emulator(clock=Clock(frozen=True))
    begin = emulator.clock.now()
    (agent_id,) = emulator.seed()
    for after, count, how in added:
        emulator.add_logs(agent_id, count, how, after=after, every=1)
    emulator.script(agent_id, changes)
    emulator.clock.advance(60)

    def page(level, start, end, offset, limit):
        low, high = (
            None if bound is None else micros_of(begin + timedelta(seconds=bound)) for bound in (start, end)
        )
        with emulator._state.service.agent(emulator.project_id, agent_id) as (agent, now):
            return logs.page(agent, now, level, low, high, offset, limit)

    whole, total = page(None, None, None, 0, 10**6)
    assert len(whole) == total
    assert [moment(line) for line in whole] == sorted(map(moment, whole), reverse=True)
    assert all(moment(line) <= emulator.clock.now() for line in whole)
    chosen = [
        line
        for line in whole
        if level in {None, line["level"]}
        and (start is None or moment(line) >= begin + timedelta(seconds=start))
        and (end is None or moment(line) <= begin + timedelta(seconds=end))
    ]
    assert page(level, start, end, offset, limit) == (chosen[offset : offset + limit], len(chosen))
