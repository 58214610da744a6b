"""
The pytest fixture ``connix_emulator``, which the entry point ``pytest11`` makes known to every test run.

The emulator is imported in the fixture alone, because otherwise every run of pytest would load FastAPI, and
one without the extra ``emulator`` would fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from connix_provider.emulator import Emulator


@pytest.fixture
def connix_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Run an emulator of its own for a test, as the Airflow connection ``connix_default``."""
    from connix_provider.emulator import Emulator

    with Emulator() as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", emulator.airflow_connection)
        yield emulator
