"""List the rows of the table, in its order."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.fresh_restarts import FreshRestartsRow
from benchmarks.get import GetRow
from benchmarks.heartbeat import HeartbeatRow
from benchmarks.imports import ImportsRow
from benchmarks.logs import LogsRow
from benchmarks.restarts import RestartsRow
from benchmarks.row import Row
from benchmarks.waits import WaitsRow

__all__ = ["ROWS"]

_OURS = ("connix",)

ROWS: Sequence[Row] = (
    WaitsRow(name="waits-1000", what="1,000 waits, one key", waits=1_000),
    WaitsRow(
        name="waits-2s",
        what="1,000 waits that begin within 2 s of each other",
        waits=1_000,
        begin_within=2,
        spread=120,
        p95_at_most=1.1,
        longest_at_most=2,
        providers=_OURS,
        group="more waits",
    ),
    WaitsRow(
        name="waits-30s",
        what="1,000 waits that begin within 30 s of each other",
        waits=1_000,
        begin_within=30,
        p95_at_most=1.1,
        longest_at_most=2,
        providers=_OURS,
        group="more waits",
    ),
    WaitsRow(
        name="waits-5000",
        what="5,000 waits, one key",
        waits=5_000,
        interval=15,
        kibibytes=16,
        group="5,000 waits",
    ),
    WaitsRow(
        name="waits-10000",
        what="10,000 waits, one key",
        waits=10_000,
        interval=30,
        spread=300,
        kibibytes=16,
        group="",
    ),
    # The limits allow the HTTP provider's waits the same interval as ours.
    WaitsRow(
        name="waits-few",
        what="10 waits in a project of 50,000 agents",
        waits=10,
        http_interval=5,
        spread=60,
        project=50_000,
        readings=0,
    ),
    # Each change costs a Get here: 150 a minute of 200, and 500 a minute in the row below.
    WaitsRow(
        name="waits-scattered",
        what="1,000 waits in a project of 50,000 agents, of which the others run",
        waits=1_000,
        spread=400,
        project=50_000,
        providers=_OURS,
        group="more waits",
    ),
    WaitsRow(
        name="waits-burst",
        what="the same, but all of them change within two minutes",
        waits=1_000,
        spread=120,
        project=50_000,
        burst=True,
        providers=_OURS,
        group="more waits",
    ),
    WaitsRow(
        name="waits-split",
        what="4 machines of 250 waits, one key; agents of a machine created in a row",
        waits=1_000,
        processes=4,
        p95_at_most=2,
        refused_at_most=0.01,
    ),
    WaitsRow(
        name="waits-interleaved",
        what="the same, but every fourth agent on a machine: each needs all pages",
        waits=1_000,
        processes=4,
        interleaved=True,
        readings=4,
        p95_at_most=2,
        refused_at_most=0.01,
    ),
    RestartsRow(name="restarts", what="500 restarts from one process, 50 actions a minute", agents=500),
    FreshRestartsRow(
        name="restarts-fresh",
        what="200 restarts, 8 at a time, each from a new process of one machine",
        agents=200,
        processes=8,
        refused_at_most=0.15,
    ),
    GetRow(name="get", what="one Get through the hook, keep-alive, loopback", times=3_000),
    ImportsRow(name="imports", what="importing operators, sensors and triggers after `airflow.sdk`", times=7),
    LogsRow(name="logs", what="100,000 log lines read", lines=100_000),
    HeartbeatRow(
        name="heartbeat", what="200 waits in one event loop, every tenth response a fault", waits=200
    ),
)
