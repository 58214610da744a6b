"""Draw the lag against the number of waits."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from benchmarks.figures import quantile
from benchmarks.forms import PICTURED

__all__ = ["draw"]


def draw(rows: Mapping[str, tuple[Any, Mapping[str, Any]]], file: pathlib.Path) -> None:
    """
    Draw a picture of what was measured.

    :param rows: rows of waits with what was measured, by their names
    :param file: where it goes, as SVG
    """
    import matplotlib as mpl

    mpl.use("Agg")
    # The same figures are to make the same file.
    mpl.rcParams["svg.hashsalt"] = "connix"
    import matplotlib.pyplot as plt

    chosen = [rows[name] for name in PICTURED]
    waits = [row.case.waits for row, _ in chosen]
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    axes.plot(waits, [row.floor for row, _ in chosen], "--", color="0.45", label="floor")
    for who, colour, label in (
        ("connix", "tab:blue", "this provider"),
        ("http", "tab:orange", "HTTP provider, of those that were told"),
    ):
        told = [measured[who] for _, measured in chosen]
        p95 = [quantile(one.lags, 0.95) for one in told]
        axes.plot(waits, p95, "o-", color=colour, label=label)
        for count, lag, one in zip(waits, p95, told, strict=True):
            if one.died and one.lags:
                # The last two stand close together.
                place = (-6, -16) if count == waits[-1] else (-6, 6)
                axes.annotate(
                    f"{one.died / one.waits:.0%} died", (count, lag), place, textcoords="offset points",
                    ha="right", color=colour,
                )  # fmt: skip
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="waits on one key",
        ylabel="seconds from change to event (95th percentile)",
        title="How late a deferred wait is told of its agent's change",
    )
    axes.set_xticks(waits, [f"{count:,}" for count in waits])
    axes.set_xticks([], minor=True)
    seconds = (1, 2, 5, 10, 20, 50, 100, 200, 500)
    axes.set_yticks(seconds, [str(second) for second in seconds])
    axes.set_yticks([], minor=True)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
