"""List the rows of the table twice: with the service's windows, and with short ones to see that all works."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.costs import HeartbeatRow, HookRow, ImportsRow, LogsRow
from benchmarks.rows import Company, RestartsRow, Row, WaitsRow
from benchmarks.waits import Waits

__all__ = ["PICTURED", "full", "quick"]

#: Rows that differ in the number of agents alone: the picture shows these.
PICTURED = ("waits-few", "waits-1000", "waits-5000", "waits-10000")


def full() -> Sequence[Row]:
    """
    List the rows as they are published.

    :return: the rows, in the order of the table
    """
    four = Waits(1_000, interval=5, spread=240, processes=4)
    few = Waits(10, interval=5, spread=60, project=50_000)
    return (
        WaitsRow("waits-1000", "1,000 waits, one key", Waits(1_000, interval=5, spread=240)),
        WaitsRow(
            "waits-5000",
            "5,000 waits, one key",
            Waits(5_000, interval=15, spread=240, quiet=40),
            kibibytes=16,
            company=Company.PAIR,
        ),
        WaitsRow(
            "waits-10000",
            "10,000 waits, one key",
            Waits(10_000, interval=30, spread=300, quiet=80),
            kibibytes=16,
            company=Company.NONE,
        ),
        # Here the limits allow the HTTP provider's waits the same interval as ours.
        WaitsRow("waits-few", "10 waits in a project of 50,000 agents", few, sweeps=0, http_interval=5),
        # An agent that leaves the listing by status costs a Get: 150 of 200 a minute here, 500 in the burst.
        WaitsRow(
            "waits-scattered",
            "1,000 waits in a project of 50,000 agents, of which the others run",
            Waits(1_000, interval=5, spread=400, project=50_000),
            http_interval=None,
        ),
        WaitsRow(
            "waits-burst",
            "the same, but all of them change within two minutes",
            Waits(1_000, interval=5, spread=120, project=50_000),
            http_interval=None,
            burst=True,
        ),
        WaitsRow(
            "waits-split",
            "4 processes x 250 waits, one key, no common memory; agents of one process created in a row",
            four,
            at_most=2,
            refused=0.01,
        ),
        WaitsRow(
            "waits-interleaved",
            "the same, but every fourth agent in a process: each needs all pages",
            Waits(1_000, interval=5, spread=240, processes=4, interleaved=True),
            sweeps=4,
            at_most=2,
            refused=0.01,
        ),
        RestartsRow(500),
        HookRow(3_000),
        ImportsRow(7),
        LogsRow(100_000),
        HeartbeatRow(200, first=10),
    )


def quick() -> Sequence[Row]:
    """
    List the rows with small numbers and short windows; their figures say nothing.

    :return: the same rows
    """
    window = 6.0

    def waits(name: str, what: str, case: Waits, **others: float | None) -> WaitsRow:
        return WaitsRow(name, what, case, window=window, **others)  # type: ignore[arg-type]  # numbers, by name

    def case(count: int, *, project: int = 0, processes: int = 1, interleaved: bool = False) -> Waits:
        return Waits(count, 1, 8, project, processes, quiet=3, interleaved=interleaved)

    return (
        waits("waits-1000", "100 waits", case(100)),
        waits("waits-5000", "200 waits", case(200), kibibytes=16),
        waits("waits-10000", "300 waits", case(300), kibibytes=16),
        waits("waits-few", "5 waits among 500 agents", case(5, project=500), sweeps=0, http_interval=10),
        waits("waits-scattered", "50 waits among 500 agents", case(50, project=500), http_interval=None),
        waits(
            "waits-burst",
            "400 waits among 800 agents",
            case(400, project=800),
            http_interval=None,
            burst=True,
        ),
        waits("waits-split", "2 processes x 50 waits", case(100, processes=2), at_most=2, refused=0.01),
        waits(
            "waits-interleaved",
            "2 processes x 50 waits, every second agent",
            case(100, processes=2, interleaved=True),
            sweeps=2,
            at_most=2,
            refused=0.01,
        ),
        RestartsRow(100, window=3.0),
        HookRow(50),
        ImportsRow(1),
        LogsRow(3_000, window=window),
        HeartbeatRow(20, first=2),
    )
