"""Hold started agents on their way for longer than a wait accepts the status that they had before."""

from __future__ import annotations

from connix_provider.emulator import Emulator


def hold_starts(emulator: Emulator) -> set[str]:
    """
    Show each agent whose start was executed as updating, once, and return them all.

    Until its start takes effect an agent shows that it is stopped, and a wait fails after a minute of that.
    """
    started = {str(entry.agent_id) for entry in emulator.journal.executed("start_agent")}
    for agent_id in started:
        if emulator.agent(agent_id)["status"] == "stopped":
            emulator.set_status(agent_id, "updating")
    return started
