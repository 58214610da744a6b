"""Logs and metrics of agents in files: complete or absent, the same bytes each time, and without secrets."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest
from in_process import TaskRun

from connix_provider.client.errors import ConnixAuthenticationError, ConnixNotFoundError, ConnixServerError
from connix_provider.emulator import Fault
from connix_provider.operators._export import file as export_file
from connix_provider.operators.export import ConnixExportAgentLogsOperator, ConnixExportAgentMetricsOperator

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]

BOTH = [ConnixExportAgentLogsOperator, ConnixExportAgentMetricsOperator]


def iso(moment):
    return moment.isoformat().replace("+00:00", "Z")


@pytest.fixture
def now(emulator, warp):
    return datetime.fromtimestamp(warp.time(), UTC)


@pytest.fixture
def interval(now):
    """Return an hour that is over, from one minute to another."""
    end = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    return {"start_time": iso(end - timedelta(hours=1)), "end_time": iso(end)}


@pytest.fixture
def agent_id(emulator, now):
    (agent_id,) = emulator.seed(name="exported", created_at=now - timedelta(days=200))
    emulator.set_metrics(agent_id, after=-86400 * 100, completed=95, failed=5, tasks_completed=3)
    return agent_id


@pytest.fixture
def export(connection, warp):
    def run(operator, **arguments):
        ran = TaskRun(warp, operator, **{"timeout": 3600, **arguments}).try_once()
        if ran.error:
            raise ran.error
        return ran.result

    return run


def lines(path):
    data = path.read_bytes()
    return [
        json.loads(line) for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    ]


def test_the_end_belongs_to_the_next_interval(export, agent_id, emulator, now, tmp_path):
    begin = now.replace(second=0, microsecond=0) - timedelta(minutes=10)
    emulator.add_logs(agent_id, 6, after=(begin - now).total_seconds(), every=60)
    times = [begin + timedelta(minutes=minute) for minute in range(7)]
    found = []
    for number, (start, end) in enumerate(((0, 2), (2, 3), (3, 6))):
        path = tmp_path / f"{number}.jsonl"
        arguments = {"agent_id": agent_id, "start_time": times[start], "end_time": iso(times[end])}
        result = export(ConnixExportAgentLogsOperator, path=str(path), **arguments)
        assert result == {
            "path": str(path),
            "rows": end - start,
            "agents": {agent_id: end - start},
            "start_time": iso(times[start]),
            "end_time": iso(times[end]),
        }
        found += lines(path)
    assert sorted(entry["message"] for entry in found) == [f"Line {number}" for number in range(1, 7)]
    assert found[0] == {
        "agent_id": agent_id,
        "agent_name": "exported",
        "timestamp": iso(times[1]),
        "level": "info",
        "message": "Line 2",
        "context": {"line": 2, "of": 6},
    }


@pytest.mark.parametrize("name", ["logs.jsonl", "logs.jsonl.gz", "deep/er/logs"])
def test_many_pages_are_the_same_bytes_each_time(name, export, agent_id, emulator, interval, tmp_path):
    emulator.add_logs(agent_id, 2500, after=-1800, every=0.1)
    written = []
    for folder in ("first", "second"):
        path = tmp_path / folder / name
        result = export(
            ConnixExportAgentLogsOperator, path=f"file://{path}", agent_name="exported", **interval
        )
        assert result["agents"] == {agent_id: 2500}
        written.append(path.read_bytes())
        emulator.clock.advance(5)
        emulator.add_logs(agent_id, ["A line of the next interval"])
        assert [entry["context"]["line"] for entry in lines(path)] == list(range(2500, 0, -1))
        assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert written[0] == written[1]


def test_a_level_and_a_selector_choose_the_lines(export, emulator, interval, tmp_path):
    ids = emulator.seed(3, name="export-{n}", metadata={"team": "a"})
    for agent_id in ids:
        emulator.add_logs(agent_id, ["broken"], "error", after=-120)
        emulator.add_logs(agent_id, ["fine"], "info", after=-120)
    agents = {"name": "export-*", "metadata": {"team": "a"}}
    result = export(
        ConnixExportAgentLogsOperator, path=tmp_path / "logs", agents=agents, level="error", **interval
    )
    assert result["agents"] == dict.fromkeys(ids, 1)
    assert [(each["agent_name"], each["message"]) for each in lines(tmp_path / "logs")] == [
        (f"export-{number}", "broken") for number in (1, 2, 3)
    ]


def test_a_selection_without_agents_is_an_empty_file(export, emulator, interval, tmp_path):
    agents = {"name": "missing", "allow_empty": True}
    result = export(ConnixExportAgentLogsOperator, path=str(tmp_path / "x.gz"), agents=agents, **interval)
    assert (result["rows"], result["agents"], lines(tmp_path / "x.gz")) == (0, {}, [])


def test_metrics_are_totals_and_points(export, agent_id, interval, tmp_path):
    path = tmp_path / "metrics.jsonl"
    arguments = {"path": str(path), "agent_id": agent_id, "interval": "15m", **interval}
    result = export(ConnixExportAgentMetricsOperator, **arguments)
    period, *points = lines(path)
    assert result["rows"] == 1 + len(points)
    assert period["record"] == "period"
    assert (period["timestamp"], period["end_time"]) == (interval["start_time"], interval["end_time"])
    assert (period["completed"], period["success_rate"], period["cpu_usage"]) == (95, 0.95, 0.45)
    assert 4 <= len(points) <= 5
    assert {(point["record"], point["interval"], point["tasks_completed"]) for point in points} == {
        ("point", "15m", 3)
    }
    first = path.read_bytes()
    export(ConnixExportAgentMetricsOperator, **arguments)
    assert path.read_bytes() == first


def test_a_long_interval_misses_no_point(export, agent_id, emulator, now, tmp_path):
    end = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    start = end - timedelta(minutes=2500)
    arguments = {"agent_id": agent_id, "interval": "1m", "start_time": start, "end_time": end}
    export(ConnixExportAgentMetricsOperator, path=str(tmp_path / "m"), **arguments)
    times = [row["timestamp"] for row in lines(tmp_path / "m") if row["record"] == "point"]
    assert times == [iso(start + timedelta(minutes=minute)) for minute in range(2500)]
    assert len(emulator.journal.entries("get_metrics")) == 4


def test_metrics_as_parquet(export, agent_id, emulator, interval, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    emulator.seed(2, name="export-{n}")
    for name in ("a.parquet", "b.parquet", "c.jsonl"):
        path = str(tmp_path / name)
        export(ConnixExportAgentMetricsOperator, path=path, agents={"name": "export*"}, **interval)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    expected = lines(tmp_path / "c.jsonl")
    assert len(table) == len(expected) > 3
    for row, wanted in zip(table, expected, strict=True):
        assert {name: value for name, value in row.items() if value is not None} == {
            name: datetime.fromisoformat(value) if name in {"timestamp", "end_time"} else value
            for name, value in wanted.items()
            if value is not None
        }


def test_a_number_that_is_missing_stays_missing(export, agent_id, emulator, interval, tmp_path):
    emulator.set_metrics(agent_id, after=-86400, cpu_usage=None)
    export(ConnixExportAgentMetricsOperator, path=str(tmp_path / "m"), agent_id=agent_id, **interval)
    assert {row["cpu_usage"] for row in lines(tmp_path / "m")} == {None}


SECRETS = {
    "system_prompt": "canary of a prompt",
    "environment_variables": {"URL": "postgres://canary-url", "PIN": "48151623"},
}


def test_the_file_holds_no_secret_of_the_agent(export, emulator, connection, interval, tmp_path):
    (agent_id,) = emulator.seed(name="quoting", config=SECRETS)
    texts = ["I am the canary of a prompt!", "to postgres://canary-url", "PIN=48151623", emulator.api_key]
    emulator.add_logs(
        agent_id, texts, after=-120, context={"error": "at postgres://canary-url", "pin": 48151623}
    )
    for name in ("logs", "logs.gz"):
        path = tmp_path / name
        result = export(ConnixExportAgentLogsOperator, path=str(path), agent_id=agent_id, **interval)
        assert result["rows"] == len(lines(path)) == 4
        text = json.dumps(lines(path))
        assert [entry["message"] for entry in lines(path)] == ["***", "PIN=***", "to ***", "I am the ***!"]
        assert not [secret for secret in ("canary", "48151623", emulator.api_key) if secret in text]


TRANSIENT = [Fault.status(503), Fault.rate_limited(retry_after=5), Fault.reset_before(), Fault.cut_body()]


@pytest.mark.parametrize("operator", BOTH)
@pytest.mark.parametrize("fault", TRANSIENT, ids=["503", "429", "reset", "cut"])
def test_a_transient_error_changes_no_byte(fault, operator, export, agent_id, emulator, interval, tmp_path):
    emulator.add_logs(agent_id, 2500, after=-1800, every=0.1)
    arguments = {"agent_id": agent_id, **interval}
    export(operator, path=str(tmp_path / "before"), **arguments)
    for call in ("get_agent", "get_logs", "get_metrics"):
        emulator.faults.add(fault, on=call, times=2)
    export(operator, path=str(tmp_path / "after"), **arguments)
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()


@pytest.mark.parametrize("operator", BOTH)
def test_a_failed_export_leaves_the_old_file(operator, export, agent_id, emulator, interval, tmp_path):
    emulator.add_logs(agent_id, 2500, after=-1800, every=0.1)
    path = tmp_path / "out.gz"
    path.write_text("old")
    second = 1 if operator is ConnixExportAgentLogsOperator else 0
    for call in ("get_logs", "get_metrics"):
        emulator.faults.add(Fault.status(503), on=call, after=second, times=None)
    with pytest.raises(ConnixServerError, match=r"Could not export the .* of agent 'exported'"):
        export(operator, path=str(path), agent_id=agent_id, **interval)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["out.gz"]


@pytest.mark.parametrize("is_local", [True, False], ids=["replaced", "moved"])
@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_a_retry_overwrites_a_killed_trys_file(
    name, is_local, connection, warp, agent_id, emulator, interval, tmp_path, monkeypatch
):
    if not is_local:
        monkeypatch.setattr(export_file, "_LOCAL", frozenset())
    emulator.add_logs(agent_id, 10, after=-1800)
    arguments = {"path": f"file://{tmp_path / name}", "agent_id": agent_id, "timeout": 600, **interval}
    run = TaskRun(warp, ConnixExportAgentLogsOperator, **arguments)
    with monkeypatch.context() as killed:
        killed.setattr(export_file.ExportFile, "__exit__", lambda self, *error: self._file.close())
        run.try_once()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f".{name}.")
    for _ in range(2):
        assert run.try_once().result["rows"] == 10
        assert [each.name for each in tmp_path.iterdir()] == [name]
    assert len(lines(tmp_path / name)) == 10


def test_the_data_interval_is_the_default(connection, warp, agent_id, interval, tmp_path, emulator):
    emulator.add_logs(agent_id, 3, after=-600)
    start, end = map(datetime.fromisoformat, interval.values())
    task = ConnixExportAgentLogsOperator(task_id="task", path=str(tmp_path / "x"), agent_id=agent_id)
    context = {"data_interval_start": start, "data_interval_end": end}
    result = _execute(task, context)
    assert (result["rows"], result["start_time"], result["end_time"]) == (3, *interval.values())
    task.end_time = iso(start + timedelta(minutes=1))
    assert _execute(task, context)["rows"] == 0


def _execute(task, context):
    from in_process import _as_the_task_runner_does, _execute

    return _as_the_task_runner_does(task, _execute, context)


@pytest.mark.parametrize("operator", BOTH)
@pytest.mark.parametrize(
    "context",
    [
        {},
        {"data_interval_start": None, "data_interval_end": None},
        dict.fromkeys(("data_interval_start", "data_interval_end"), datetime(2026, 1, 1, tzinfo=UTC)),
    ],
    ids=["missing", "none", "a moment"],
)
def test_a_run_without_a_data_interval_is_refused(context, operator, connection, warp, emulator, tmp_path):
    task = operator(task_id="task", path=str(tmp_path / "x"), agent_id="agent_1")
    with pytest.raises(ValueError, match=r"data interval.*give start_time and end_time"):
        _execute(task, context)
    assert not emulator.journal.entries()
    assert not list(tmp_path.iterdir())


WRONG = {
    "two agents": ({"agent_name": "x"}, "exactly one of agent_id, agent_name and agents"),
    "no agent": ({"agent_id": None}, "the task was given none"),
    "a selector": (
        {"agent_id": None, "agents": {"nam": "x"}},
        "agents: 'nam' is unknown. Did you mean 'name'?",
    ),
    "no time": ({"start_time": "yesterday"}, "start_time must be ISO 8601"),
    "turned round": ({"start_time": "2100-01-01"}, "lies after end_time"),
    "a moment": ({"start_time": "2026-01-01", "end_time": "2026-01-01"}, "give start_time and end_time"),
    "a folder": ({"path": "/data/x/"}, "path must name a file"),
    "no path": ({"path": ""}, "path must name a file"),
    "packed twice": ({"path": "x.parquet.gz"}, "leave .gz out"),
    "a timeout": ({"timeout": 0}, "timeout must be"),
}


@pytest.mark.parametrize("operator", BOTH)
@pytest.mark.parametrize(("arguments", "says"), WRONG.values(), ids=WRONG.keys())
def test_bad_input_is_refused(arguments, says, operator, export, agent_id, interval, emulator, tmp_path):
    arguments = {"path": str(tmp_path / "x"), "agent_id": agent_id, **interval, **arguments}
    with pytest.raises(ValueError, match=r".") as refused:
        export(operator, **arguments)
    assert says in str(refused.value)
    assert not emulator.journal.entries()


def test_a_format_that_is_not_there_is_refused(export, agent_id, interval, tmp_path, monkeypatch):
    arguments = {"path": str(tmp_path / "x.parquet"), "agent_id": agent_id, **interval}
    with pytest.raises(ValueError, match="logs are written as JSON Lines"):
        export(ConnixExportAgentLogsOperator, **arguments)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match="Parquet needs pyarrow, which is not installed"):
        export(ConnixExportAgentMetricsOperator, **arguments)
    for operator, wrong in zip(BOTH, ({"level": "warning"}, {"interval": "2h"}), strict=True):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be one of"):
            export(operator, **{**arguments, "path": "x", **wrong})


@pytest.mark.parametrize("operator", BOTH)
def test_a_refusal_names_the_agent(operator, export, agent_id, emulator, interval, tmp_path):
    with pytest.raises(ConnixNotFoundError, match=r"Could not export the .* of agent agent_none"):
        export(operator, path=str(tmp_path / "x"), agent_id="agent_none", **interval)
    for call in ("get_logs", "get_metrics"):
        emulator.faults.add(Fault.status(401, code="unauthorized"), on=call)
    with pytest.raises(ConnixAuthenticationError, match=r"of agent 'exported' \(agent_"):
        export(operator, path=str(tmp_path / "x"), agent_id=agent_id, **interval)
    assert not list(tmp_path.iterdir())


def test_progress_is_in_the_log(export, agent_id, emulator, interval, tmp_path, caplog, capfd):
    emulator.add_logs(agent_id, 4000, after=-1800, every=0.1)
    emulator.faults.add(Fault.rate_limited(retry_after=30), on="get_logs", after=1, times=1)
    with caplog.at_level("INFO"):
        export(ConnixExportAgentLogsOperator, path=str(tmp_path / "x"), agent_id=agent_id, **interval)
    log = caplog.text + capfd.readouterr().out
    assert f"Exported 2000 of 4000 log lines of 'exported' ({agent_id}), agent 1 of 1." in log
    assert "Wrote 4000 log lines of 1 agent from" in log
