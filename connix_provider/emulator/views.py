"""How an agent looks on the wire: whole, in a reply, in a list."""

from enum import Enum
from typing import Any, Final

from connix_provider.emulator.agent import Agent
from connix_provider.emulator.clock import iso
from connix_provider.emulator.telemetry import Timeline

View = dict[str, Any]

_ONLY_ALONE: Final = frozenset({"system_prompt", "environment_variables"})


class Detail(Enum):
    """Say how much of an agent is shown: the reference's examples differ in just this."""

    LISTED = "without what may be long or secret"
    REPLY = "without statistics"
    FULL = "everything"


def show(agent: Agent, now: int, detail: Detail) -> View:
    """
    Return an agent as the service shows it.

    :param agent: the agent.
    :param now: the time in microseconds, up to which its work is counted.
    :param detail: how much of it.
    """
    timeline = Timeline(agent, now)
    active = timeline.last_activity()
    config = agent.config
    if detail is Detail.LISTED:
        config = {key: value for key, value in config.items() if key not in _ONLY_ALONE}
    view: View = {
        "id": agent.id,
        "name": agent.name,
        "description": agent.description,
        "project_id": agent.project_id,
        "status": agent.status,
        "config": config,
        "metadata": agent.metadata,
        "created_at": iso(agent.created_at),
        "updated_at": iso(agent.updated_at),
        "last_activity": None if active is None else iso(active),
    }
    if detail is Detail.FULL:
        view["stats"] = timeline.stats()
    return view
