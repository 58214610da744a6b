"""Agent Metrics and the statistics of Get: constants, and the values a test sets."""

from datetime import datetime, timedelta

import pytest

from connix_provider.emulator import Clock, Emulator

HOUR = datetime.fromisoformat("2024-01-15T15:00:00Z")


@pytest.fixture
def clock():
    return Clock(frozen=True, start=HOUR + timedelta(hours=2))


@pytest.fixture
def agent_id(emulator):
    """An agent that has run for an hour and a half."""
    return emulator.seed(created_at=HOUR + timedelta(minutes=30))[0]


def shown(response):
    assert response.status_code == 200
    return response.json()["metrics"]


def test_metrics_have_the_reference_shape(api, agent_id):
    response = api.metrics(agent_id, start_time="2024-01-15T15:00:00Z")
    metrics = shown(response)
    points = metrics.pop("time_series")
    assert metrics == {
        "tasks": {"total": 100, "completed": 96, "failed": 4, "in_progress": 0, "success_rate": 0.96},
        "performance": {
            "avg_response_time": 2.34,
            "p95_response_time": 8.12,
            "p99_response_time": 15.67,
            "tokens_per_minute": 1245.6,
            "requests_per_minute": 24.3,
        },
        "resource_usage": {
            "cpu_usage": 0.45,
            "memory_usage": 0.67,
            "disk_usage": 0.23,
            "network_in": 1234567,
            "network_out": 987654,
        },
    }
    # As in the reference's example, the end of the period has no point.
    point = {"tasks_completed": 12, "avg_response_time": 2.34, "cpu_usage": 0.45, "memory_usage": 0.67}
    assert points == [{"timestamp": f"2024-01-15T{hour}:00:00Z"} | point for hour in (15, 16)]
    assert response.json()["period"] == {
        "start_time": "2024-01-15T15:00:00Z",
        "end_time": "2024-01-15T17:00:00Z",
        "interval": "1h",
    }


def test_get_shows_the_same_numbers(emulator, api, agent_id):
    assert api.get(agent_id).json()["stats"] == {
        "total_tasks": 100,
        "completed_tasks": 96,
        "failed_tasks": 4,
        "success_rate": 0.96,
        "avg_response_time": 2.34,
    }
    emulator.set_metrics(agent_id, completed=7, failed=1, in_progress=2, avg_response_time=9.5)
    assert api.get(agent_id).json()["stats"] == {
        "total_tasks": 10,
        "completed_tasks": 7,
        "failed_tasks": 1,
        "success_rate": 0.7,
        "avg_response_time": 9.5,
    }
    tasks = shown(api.metrics(agent_id))["tasks"]
    assert tasks == {"total": 10, "completed": 7, "failed": 1, "in_progress": 2, "success_rate": 0.7}


def test_agent_that_never_worked_shows_zeros(emulator, api):
    (agent_id,) = emulator.seed(status="stopped")
    assert set(api.get(agent_id).json()["stats"].values()) == {0}
    metrics = shown(api.metrics(agent_id))
    assert metrics["tasks"]["success_rate"] == 0
    assert metrics["resource_usage"]["cpu_usage"] == 0


def test_period_before_the_agent_shows_zeros(api, agent_id):
    for period in (
        {"end_time": "2024-01-15T14:00:00Z"},
        {"start_time": "2024-01-16"},
        {"start_time": "2024-01-15T16:30:00Z", "end_time": "2024-01-15T16:00:00Z"},
    ):
        metrics = shown(api.metrics(agent_id, **period))
        assert metrics["tasks"]["total"] == 0
        assert metrics["time_series"] == []


def test_metrics_can_be_scripted_over_time(emulator, api, agent_id):
    emulator.set_metrics(agent_id, after=3600, success_rate=0.5, cpu_usage=0.9)
    emulator.set_metrics(agent_id, success_rate=1.0)
    emulator.set_metrics(agent_id, after=7200)
    rates = []
    for _ in range(3):
        rates.append(shown(api.metrics(agent_id))["tasks"]["success_rate"])
        emulator.clock.advance(3600)
    assert rates == [1.0, 0.5, 0.96]
    points = shown(api.metrics(agent_id))["time_series"]
    assert [point["cpu_usage"] for point in points] == [0.45, 0.45, 0.9, 0.45, 0.45]
    at_five = shown(api.metrics(agent_id, end_time="2024-01-15T17:30:00Z"))
    assert at_five["tasks"]["success_rate"] == 1.0, "a response shows what held at the end of its period"


def test_metric_set_to_none_is_left_out(emulator, api, agent_id):
    emulator.set_metrics(agent_id, p95_response_time=None, success_rate=None, cpu_usage=None)
    metrics = shown(api.metrics(agent_id))
    assert "p95_response_time" not in metrics["performance"]
    assert "success_rate" not in metrics["tasks"]
    assert "cpu_usage" not in metrics["resource_usage"]
    assert ["cpu_usage" in point for point in metrics["time_series"]] == [True, False], "from now on"
    assert "success_rate" not in api.get(agent_id).json()["stats"]


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"completion": 1}, "no metric is named completion; the metrics are completed, failed"),
        ({"completed": float("nan")}, "completed must be a finite number"),
        ({"cpu_usage": float("inf")}, "cpu_usage must be a finite number"),
    ],
)
def test_metrics_are_checked(emulator, agent_id, metrics, words):
    with pytest.raises(ValueError, match=words):
        emulator.set_metrics(agent_id, **metrics)
    with pytest.raises(KeyError):
        emulator.set_metrics("agent_0", completed=1)


@pytest.mark.parametrize(
    ("interval", "seconds"), {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86400}.items()
)
def test_points_lie_on_the_interval(emulator, api, agent_id, interval, seconds):
    emulator.clock.advance(123)
    response = api.metrics(agent_id, interval=interval)
    stamps = [
        datetime.fromisoformat(point["timestamp"]).timestamp() for point in shown(response)["time_series"]
    ]
    assert response.json()["period"]["interval"] == interval
    assert all(stamp % seconds == 0 for stamp in stamps)
    assert stamps == [stamps[0] + n * seconds for n in range(len(stamps))]
    assert stamps[0] <= (HOUR + timedelta(minutes=30)).timestamp() < stamps[0] + seconds
    assert stamps[-1] <= emulator.clock.timestamp() < stamps[-1] + seconds


@pytest.mark.parametrize(
    "period",
    [
        {"start_time": "0001-01-01T00:00:00Z", "end_time": "9999-12-31T23:59:59Z"},
        {"start_time": "9000-01-01T00:00:00Z"},
        {"end_time": "0001-01-01T00:00:00Z"},
        {"start_time": "9000-01-01T00:00:00Z", "end_time": "2000-01-01T00:00:00Z"},
    ],
)
def test_extreme_periods_are_bounded(period, connect):
    with Emulator(clock=Clock(frozen=True)) as emulator:
        (agent_id,) = emulator.seed(created_at=datetime.fromisoformat("2000-01-01T00:00:00Z"))
        response = connect(emulator).metrics(agent_id, interval="1m", **period)
        assert len(shown(response)["time_series"]) <= 1440


@pytest.mark.parametrize(("name", "value"), [("interval", "2h"), ("start_time", "x"), ("end_time", "x")])
def test_parameters_out_of_range_are_refused(api, agent_id, name, value):
    response = api.metrics(agent_id, **{name: value})
    assert response.status_code == 400
    assert [detail["field"] for detail in response.json()["error"]["details"]] == [name]


def test_date_alone_is_its_midnight(api, agent_id):
    response = api.metrics(agent_id, start_time="2024-01-15", end_time="2024-01-16")
    assert response.json()["period"] == {
        "start_time": "2024-01-15T00:00:00Z",
        "end_time": "2024-01-16T00:00:00Z",
        "interval": "1h",
    }


@pytest.mark.parametrize(
    "written",
    ["2024-01-15T10:30:00Z", "2024-01-15t10:30:00z", "2024-01-15T11:30:00+01:00", "2024-01-15T10:30:00"],
)
def test_time_may_be_written_in_many_ways(api, agent_id, written):
    response = api.metrics(agent_id, start_time=written, end_time="2024-01-15T12:00:00.25Z")
    assert response.json()["period"] == {
        "start_time": "2024-01-15T10:30:00Z",
        "end_time": "2024-01-15T12:00:00.250000Z",
        "interval": "1h",
    }
