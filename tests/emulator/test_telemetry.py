"""Logs and metrics: a life told the same way each time, in pages that cost the same anywhere."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connix_provider.emulator import Clock, Emulator
from connix_provider.emulator.agent import Agent
from connix_provider.emulator.telemetry import LEVELS, Timeline

SECOND = 1_000_000


def lines(reply):
    assert reply.status_code == 200
    return reply.json()["logs"]


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


def test_the_log_tells_the_life_newest_first(emulator, api, worked):
    told = lines(api.logs(worked, limit=1000))
    moments = [moment(line) for line in told]
    assert moments == sorted(moments, reverse=True)
    assert all(line.keys() == {"timestamp", "level", "message", "context"} for line in told)
    assert {line["level"] for line in told} == set(LEVELS)
    events = [line for line in told if "status" in line["message"]]
    assert [(line["level"], line["message"]) for line in events[::-1]] == [
        ("info", "Agent created with status 'running'"),
        ("error", "Agent encountered an error; its status was 'running'"),
        ("info", "Agent status changed from 'error' to 'stopped'"),
        ("info", "Agent status changed from 'stopped' to 'running'"),
    ]
    assert [moment(line) for line in events[::-1]] == [at for at, _ in emulator.history(worked)]


def test_work_is_done_only_while_running(emulator, api, worked):
    (_, (down, _), _, (up, _)) = emulator.history(worked)
    idle = [line for line in lines(api.logs(worked, limit=1000)) if down < moment(line) < up]
    assert [line["message"] for line in idle] == ["Agent status changed from 'error' to 'stopped'"]

    before = api.get(worked).json()
    emulator.set_status(worked, "paused")
    emulator.clock.advance(3600)
    after = api.get(worked).json()
    assert after["stats"]["completed_tasks"] == before["stats"]["completed_tasks"] > 0
    assert after["last_activity"] == before["last_activity"]
    assert before["stats"]["total_tasks"] - after["stats"]["total_tasks"] == 1, "the one in progress"


def test_statistics_agree_with_the_log(api, worked):
    told = lines(api.logs(worked, limit=1000))
    tasks = [line for line in told if "task_id" in line["context"]]
    failed = [line for line in told if "endpoint" in line["context"]]
    agent = api.get(worked).json()
    assert agent["stats"]["completed_tasks"] == len(tasks)
    assert agent["stats"]["failed_tasks"] == len(failed)
    assert agent["stats"]["total_tasks"] == len(tasks) + len(failed) + 1
    assert agent["stats"]["success_rate"] == round(len(tasks) / agent["stats"]["total_tasks"], 3)
    assert agent["last_activity"] == max(line["timestamp"] for line in [*tasks, *failed])


def test_an_agent_that_has_done_nothing(emulator, api):
    (agent_id,) = emulator.seed(status="stopped")
    agent = api.get(agent_id).json()
    assert agent["last_activity"] is None
    assert set(agent["stats"].values()) == {0}
    assert api.metrics(agent_id).json()["metrics"]["tasks"]["success_rate"] == 0


def test_the_same_question_has_the_same_answer(api, worked):
    assert api.logs(worked).json() == api.logs(worked).json()
    assert api.metrics(worked).json() == api.metrics(worked).json()


def test_levels_and_times_select(emulator, api, worked):
    told = lines(api.logs(worked, limit=1000))
    assert len(told) < 1000
    for level in LEVELS:
        reply = api.logs(worked, level=level, limit=1000)
        assert lines(reply) == [line for line in told if line["level"] == level]
        assert reply.json()["pagination"]["total"] == len(lines(reply))
    for level in (None, "info"):
        start, end = moment(told[-50]), moment(told[20])
        chosen = {} if level is None else {"level": level}
        reply = api.logs(worked, start_time=start.isoformat(), end_time=end.isoformat(), limit=1000, **chosen)
        expected = [line for line in told if start <= moment(line) <= end and level in {None, line["level"]}]
        assert lines(reply) == expected
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
def test_log_parameters_out_of_range(api, worked, name, value):
    reply = api.logs(worked, **{name: value})
    assert reply.status_code == 400
    assert [detail["field"] for detail in reply.json()["error"]["details"]] == [name]


@pytest.mark.parametrize(
    "broken", ["yesterday", "", "2024-02-30", "2024-13-15T10:30:00Z", "2024-01-15T10:xx", "2024-01-15\n"]
)
def test_a_broken_time_is_refused_in_the_services_words(api, worked, broken):
    for reply in (api.logs(worked, start_time=broken), api.metrics(worked, start_time=broken)):
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert (error["code"], error["message"]) == ("validation_error", "Invalid request parameters")
        assert error["details"] == [
            {"field": "start_time", "message": "start_time must be a time in ISO 8601 format"}
        ]


def test_a_date_alone_is_its_midnight(api, worked):
    reply = api.metrics(worked, start_time="2024-01-15", end_time="2024-01-16")
    assert reply.json()["period"] == {
        "start_time": "2024-01-15T00:00:00Z",
        "end_time": "2024-01-16T00:00:00Z",
        "interval": "1h",
    }


@pytest.mark.parametrize(
    "written",
    ["2024-01-15T10:30:00Z", "2024-01-15t10:30:00z", "2024-01-15T11:30:00+01:00", "2024-01-15T10:30:00"],
)
def test_ways_to_write_a_time(api, worked, written):
    reply = api.metrics(worked, start_time=written, end_time="2024-01-15T12:00:00.25Z")
    assert reply.json()["period"] == {
        "start_time": "2024-01-15T10:30:00Z",
        "end_time": "2024-01-15T12:00:00.250000Z",
        "interval": "1h",
    }


def test_log_pages_join_up(api, worked):
    whole = lines(api.logs(worked, limit=1000))
    joined = []
    while True:
        reply = api.logs(worked, limit=37, offset=len(joined))
        joined += lines(reply)
        if not reply.json()["pagination"]["has_more"]:
            break
    assert joined == whole


def test_a_page_of_a_hundred_thousand_lines_makes_no_more_of_them_than_it_shows(effort, emulator, api):
    (agent_id,) = emulator.seed()
    emulator.clock.advance(3600)
    emulator.add_logs(agent_id, 100_000, level="warn")
    emulator.clock.advance(3600)
    total = api.logs(agent_id).json()["pagination"]["total"]
    assert total > 100_000
    with effort.counted():
        reply = api.logs(agent_id, offset=total - 60_000, limit=1000)
    assert 1000 < effort.calls < 20_000
    assert {line["level"] for line in lines(reply)} == {"warn"}
    numbers = [line["context"]["line"] for line in lines(reply)]
    assert numbers == list(range(numbers[0], numbers[0] - 1000, -1))
    errors = api.logs(agent_id, level="error").json()["pagination"]["total"]
    assert 0 < errors < 100
    with pytest.raises(ValueError, match="level"):
        emulator.add_logs(agent_id, 1, level="fatal")


def test_bulk_lines_take_their_place_in_time(emulator, api):
    (agent_id,) = emulator.seed(status="stopped")
    emulator.add_logs(agent_id, 2)
    emulator.clock.advance(10)
    emulator.set_status(agent_id, "running")
    emulator.clock.advance(100)
    emulator.add_logs(agent_id, 1, level="error")
    emulator.add_logs(agent_id, 1, level="debug")
    emulator.clock.advance(100)
    emulator.set_status(agent_id, "paused")
    emulator.clock.advance(10)
    emulator.add_logs(agent_id, 1, level="warn")
    told = lines(api.logs(agent_id, limit=1000))
    moments = [moment(line) for line in told]
    assert moments == sorted(moments, reverse=True)
    assert sum("line" in line["context"] for line in told) == 5


@settings(max_examples=30, derandomize=True)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(["running", "paused", "error"])), max_size=6
    ),
    extras=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 3), st.sampled_from(LEVELS)), max_size=3),
    level=st.sampled_from([None, *LEVELS]),
    start=st.none() | st.integers(0, 1000),
    end=st.none() | st.integers(0, 1000),
    offset=st.integers(0, 60),
    limit=st.integers(1, 30),
    name=st.integers(0, 20),
)
def test_a_page_is_a_slice_of_the_whole_log(changes, extras, level, start, end, offset, limit, name):
    history, at = [(0, "running")], 0
    for wait, status in changes:
        at += wait * SECOND + 1
        history.append((at, status))
    agent = Agent(f"a{name}", 1, "n", None, "p", history[-1][1], {}, {}, 0, at, history, history[-1][1])
    now = at + 300 * SECOND
    agent.extra_logs += sorted((min(when * SECOND, now), count, how) for when, count, how in extras)
    timeline = Timeline(agent, now)
    low, high = (None if bound is None else bound * SECOND for bound in (start, end))

    whole, total = timeline.page(None, None, None, 0, 10**6)
    assert len(whole) == total
    assert [moment(line) for line in whole] == sorted(map(moment, whole), reverse=True)
    begin = datetime.fromisoformat("1970-01-01T00:00:00Z")
    chosen = [
        line
        for line in whole
        if level in {None, line["level"]}
        and (low is None or moment(line) >= begin + timedelta(microseconds=low))
        and (high is None or moment(line) <= begin + timedelta(microseconds=high))
    ]
    page, total = timeline.page(level, low, high, offset, limit)
    assert total == len(chosen)
    assert page == chosen[offset : offset + limit]


def test_metrics_have_the_reference_s_shape_and_agree_with_get(api, worked):
    answer = api.metrics(worked, interval="15m").json()
    assert answer.keys() == {"metrics", "period"}
    metrics = answer["metrics"]
    assert metrics.keys() == {"tasks", "performance", "resource_usage", "time_series"}
    stats = api.get(worked).json()["stats"]
    assert metrics["tasks"]["total"] == stats["total_tasks"]
    assert metrics["tasks"]["completed"] == stats["completed_tasks"]
    assert metrics["tasks"]["success_rate"] == stats["success_rate"]
    assert metrics["tasks"]["in_progress"] == 1
    assert sum(point["tasks_completed"] for point in metrics["time_series"]) == stats["completed_tasks"]
    assert metrics["performance"]["p99_response_time"] > metrics["performance"]["p95_response_time"] > 0
    assert all(0 < metrics["resource_usage"][f"{of}_usage"] < 1 for of in ("cpu", "memory", "disk"))
    assert all(0 <= point["cpu_usage"] <= 1 for point in metrics["time_series"])


def test_points_lie_on_the_interval_and_cover_the_period(emulator, api, worked):
    for interval, seconds in {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86400}.items():
        answer = api.metrics(worked, interval=interval).json()
        stamps = [moment(point).timestamp() for point in answer["metrics"]["time_series"]]
        assert answer["period"]["interval"] == interval
        assert all(stamp % seconds == 0 for stamp in stamps)
        assert stamps == [stamps[0] + n * seconds for n in range(len(stamps))]
        assert stamps[0] <= emulator.history(worked)[0][0].timestamp() < stamps[0] + seconds
        assert stamps[-1] <= emulator.clock.timestamp() < stamps[-1] + seconds


def test_a_period_counts_only_what_is_in_it(emulator, api, worked):
    (_, (down, _), _, (up, _)) = emulator.history(worked)
    idle = {"start_time": (down + timedelta(seconds=1)).isoformat(), "end_time": up.isoformat()}
    metrics = api.metrics(worked, **idle).json()["metrics"]
    assert metrics["tasks"] == {"total": 0, "completed": 0, "failed": 0, "in_progress": 0, "success_rate": 0}
    assert metrics["resource_usage"]["cpu_usage"] == 0
    parts = [
        {"end_time": down.isoformat(), "start_time": (down - timedelta(days=1)).isoformat()},
        {"start_time": down.isoformat()},
    ]
    completed = [api.metrics(worked, **part).json()["metrics"]["tasks"]["completed"] for part in parts]
    assert sum(completed) == api.get(worked).json()["stats"]["completed_tasks"]


@pytest.mark.parametrize(
    "period",
    [
        {"start_time": "0001-01-01T00:00:00Z", "end_time": "9999-12-31T23:59:59Z"},
        {"start_time": "9000-01-01T00:00:00Z"},
        {"end_time": "0001-01-01T00:00:00Z"},
        {"start_time": "9000-01-01T00:00:00Z", "end_time": "2000-01-01T00:00:00Z"},
    ],
)
def test_extreme_periods_are_answered_and_bounded(api, period, connect):
    with Emulator(clock=Clock(frozen=True)) as emulator:
        (agent_id,) = emulator.seed(created_at=datetime.fromisoformat("2000-01-01T00:00:00Z"))
        reply = connect(emulator).metrics(agent_id, interval="1m", **period)
        assert reply.status_code == 200
        assert len(reply.json()["metrics"]["time_series"]) <= 1440


@pytest.mark.parametrize(("name", "value"), [("interval", "2h"), ("start_time", "x"), ("end_time", "x")])
def test_metrics_parameters_out_of_range(api, worked, name, value):
    reply = api.metrics(worked, **{name: value})
    assert reply.status_code == 400
    assert [detail["field"] for detail in reply.json()["error"]["details"]] == [name]
