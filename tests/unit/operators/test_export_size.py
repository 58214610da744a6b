"""An export of 100,000 log lines: the same bytes twice, and no memory that grows with the lines."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from connix_provider.emulator import Emulator, Limits

pytestmark = pytest.mark.slow

LINES = 100_000
#: Export one page first, so that modules and connections are not counted. The highest use of memory is reset
#: then; ``ru_maxrss`` would begin with that of the process which started this one.
EXPORT = """
import json, pathlib, sys
from connix_provider.operators.export import ConnixExportAgentLogsOperator

def export(task_id, **arguments):
    task = ConnixExportAgentLogsOperator(task_id=task_id, **arguments)
    return type(task).execute.__wrapped__(task, {})["rows"]

def mebibytes(name):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name))) / 1024

folder, arguments, short = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
export("warm", path=f"{folder}/warm.jsonl.gz", **{**arguments, **short})
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = mebibytes("VmRSS")
rows = [export(f"export_{n}", path=f"{folder}/{n}.jsonl.gz", **arguments) for n in range(2)]
print(json.dumps({"rows": rows, "before": before, "more": mebibytes("VmHWM") - before}))
"""


def test_a_hundred_thousand_lines_take_no_more_memory(tmp_path, monkeypatch):
    with Emulator(limits=Limits(logs=None, get=None)) as emulator:
        (agent_id,) = emulator.seed(created_at=datetime.now(UTC) - timedelta(days=2))
        end = datetime.now(UTC).replace(second=0, microsecond=0)
        seconds = (end - datetime.now(UTC)).total_seconds() - 7200
        emulator.add_logs(agent_id, LINES, after=seconds, every=0.05)
        connection = {
            "conn_type": "connix",
            "host": emulator.url,
            "password": emulator.api_key,
            "extra": {"project_id": emulator.project_id},
        }
        monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", json.dumps(connection))
        arguments = {"agent_id": agent_id, "start_time": str(end - timedelta(days=1)), "end_time": str(end)}
        short = {"start_time": str(end - timedelta(hours=2)), "end_time": str(end - timedelta(seconds=7100))}
        command = [
            sys.executable,
            "-P",
            "-c",
            EXPORT,
            str(tmp_path),
            json.dumps(arguments),
            json.dumps(short),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(ran.stdout.splitlines()[-1])
    print(measured)
    assert measured["rows"] == [LINES, LINES]
    assert measured["more"] < 30, measured
    first, second = [(tmp_path / f"{number}.jsonl.gz").read_bytes() for number in range(2)]
    assert first == second
    assert gzip.decompress(first).count(b"\n") == LINES
