"""The calls that an emulator received."""

from __future__ import annotations

from connix_provider.emulator import Emulator


def received_calls(emulator: Emulator) -> list[str | None]:
    """Return the name of each call in the journal, in order."""
    return [entry.call for entry in emulator.journal.entries()]
