"""How an agent looks in a response: whole, without statistics, or as one of a list."""

from enum import Enum, auto
from typing import Any, Final

from connix_provider.emulator.agent import Agent
from connix_provider.emulator.clock import iso
from connix_provider.emulator.logs import last_activity
from connix_provider.emulator.metrics import stats

View = dict[str, Any]

_ONLY_SINGLY: Final = frozenset({"system_prompt", "environment_variables"})


class Detail(Enum):
    """How much of an agent a response shows; the reference's examples differ in this."""

    LISTED = auto()  # without the statistics, the prompt and the variables
    CHANGED = auto()  # without the statistics
    FULL = auto()


def show(agent: Agent, now: int, detail: Detail) -> View:
    """Return an agent as the service shows it."""
    active = last_activity(agent, now)
    config = agent.config
    if detail is Detail.LISTED:
        config = {key: value for key, value in config.items() if key not in _ONLY_SINGLY}
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
        view["stats"] = stats(agent, now)
    return view
