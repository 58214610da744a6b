"""Compute the few figures that a benchmark tells."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["median", "quantile"]


def quantile(values: Sequence[float], part: float) -> float:
    """
    Find the value below which a part of all values lies.

    :param values: the values
    :param part: from 0 to 1
    :return: the value, or infinity where there is none
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)] if ordered else math.inf


def median(values: Sequence[float]) -> float:
    """
    Find the value in the middle.

    :param values: the values
    :return: the value
    """
    return quantile(values, 0.5)
