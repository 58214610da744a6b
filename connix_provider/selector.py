"""
Select agents of a project.

A selector holds criteria. :func:`connix_provider.polling.selection.select_agents` reads the project's agents
and returns those that meet all of them::

    AgentSelector(name="support-*", statuses="running", metadata={"team": "customer-success"})

There is no I/O and no clock here.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from connix_provider.statuses import parse_statuses
from connix_provider.values import check_flag, check_number, from_mapping, is_missing_value, quoted

if TYPE_CHECKING:
    from connix_provider.client.models import Agent

__all__ = ["AgentSelector", "selector_of_task"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentSelector:
    """
    Criteria for agents; an agent is selected if it meets all that are given.

    A mapping with the same names is accepted, too. Templates are rendered in the texts of both. A task
    selects once, when it starts, and logs the selection.

    :param ids: the agents' ids, or one id
    :param names: the agents' exact names, or one name
    :param name: a pattern for names in the manner of a shell: ``*``, ``?``, ``[ab]``; upper and lower case
        differ
    :param statuses: the status or statuses of the agents
    :param metadata: keys of the agents' metadata, and their values. A number in the metadata equals the same
        number as text, because templates give text
    :param idle_for: seconds, or a ``timedelta``, without activity at least. An agent that never was active is
        idle
    :param allow_empty: whether a selection without agents is fine; otherwise it is an error. The same holds
        for an id or name that no agent has
    :raises ValueError: for a value that is no criterion of its kind, or a selector without criteria
    """

    ids: str | Sequence[str] | None = None
    names: str | Sequence[str] | None = None
    name: str | None = None
    statuses: str | Collection[str] | None = None
    metadata: Mapping[str, Any] | None = None
    idle_for: float | timedelta | None = None
    allow_empty: bool = False

    def __post_init__(self) -> None:
        """Check and normalize the values."""
        checked: dict[str, Any] = {name: _texts(name, getattr(self, name)) for name in ("ids", "names")}
        if self.name is not None and not (isinstance(self.name, str) and self.name.strip()):
            raise ValueError(f"name must be a pattern such as 'support-*', not {quoted(self.name)}")
        if self.statuses is not None:
            checked["statuses"] = tuple(sorted(map(str, parse_statuses(self.statuses, "statuses"))))
            if not checked["statuses"]:
                raise ValueError("statuses is empty: name at least one, or leave it out")
        if self.metadata is not None and not (isinstance(self.metadata, Mapping) and self.metadata):
            raise ValueError(f"metadata must be a non-empty mapping, not {quoted(self.metadata)}")
        if self.idle_for is not None:
            checked["idle_for"] = check_number("idle_for", self.idle_for, "seconds")
        checked["allow_empty"] = check_flag("allow_empty", self.allow_empty)
        for name, value in checked.items():
            # The class is frozen for everything else.
            object.__setattr__(self, name, value)
        if not self.criteria:
            raise ValueError(
                "an AgentSelector needs a criterion (ids, names, name, statuses, metadata or idle_for); "
                "name='*' selects all agents of the project"
            )

    @classmethod
    def of(cls, value: Any, parameter: str = "agents") -> AgentSelector:
        """
        Read a selector.

        :param value: a selector, or a mapping with the names of its parameters
        :param parameter: the name of the task's parameter, for messages
        :return: the selector
        :raises ValueError: for any other value, an unknown name, or a value of ``None``
        """
        return from_mapping(cls, value, parameter)

    @property
    def criteria(self) -> dict[str, Any]:
        """The criteria that are given, by name."""
        names = ("ids", "names", "name", "statuses", "metadata", "idle_for")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def __str__(self) -> str:
        """Return the criteria, for messages."""
        return ", ".join(
            f"{name}={list(value) if isinstance(value, tuple) else value!r}"
            for name, value in self.criteria.items()
        )

    def may_select(self, agent_id: str, name: str | None) -> bool:
        """
        Return whether an agent may be selected, by its id and its name.

        :param name: its name, if known
        """
        return (
            (self.ids is None or agent_id in self.ids)
            and (self.names is None or name in self.names)
            and (self.name is None or fnmatch.fnmatchcase(str(name), self.name))
        )

    def matches(self, agent: Agent, *, now: float) -> bool:
        """
        Return whether an agent meets all criteria.

        :param agent: the agent, from Get Agent or from a listing that shows its metadata
        :param now: epoch seconds, by the service's clock
        :return: whether it is selected
        """
        return (
            self.may_select(agent.id, agent.name)
            and (self.statuses is None or str(agent.status) in self.statuses)
            and all(
                key in agent.metadata and _equal(agent.metadata[key], wanted)
                for key, wanted in (self.metadata or {}).items()
            )
            and (self.idle_for is None or self._idle_time(agent, now) >= _seconds(self.idle_for))
        )

    @staticmethod
    def _idle_time(agent: Agent, now: float) -> float:
        active_at = agent.last_activity or agent.created_at
        # An agent without timestamps counts as idle, because nothing shows activity.
        return float("inf") if active_at is None else now - active_at.timestamp()


def selector_of_task(agent_id: Any, agent_name: Any, agents: Any) -> AgentSelector | None:
    """
    Check that a task names its agents in one way.

    :param agent_id: the task's ``agent_id``
    :param agent_name: the task's ``agent_name``
    :param agents: the task's ``agents``, a selector or a mapping
    :return: the selector, ``None`` for a task on one agent
    :raises ValueError: for none of them, for more than one, and for a wrong selector
    """
    values = {"agent_id": agent_id, "agent_name": agent_name, "agents": agents}
    given = [name for name, value in values.items() if value is not None]
    if len(given) != 1:
        raise ValueError(
            "exactly one of agent_id, agent_name and agents is needed; the task was given "
            f"{' and '.join(given) or 'none'}"
        )
    return None if agents is None else AgentSelector.of(agents)


def _texts(name: str, value: Any) -> tuple[str, ...] | None:
    """Check an id or name, or several of them; each is kept once, in the order given."""
    if value is None:
        return None
    if isinstance(value, str) and value.lstrip().startswith("["):
        raise ValueError(
            f"{name} is a list as text: {quoted(value)}; a template gives a list with "
            "render_template_as_native_obj=True"
        )
    texts = [value] if isinstance(value, str | int) else value
    if not isinstance(texts, Collection) or isinstance(texts, Mapping | bytes) or not texts:
        raise ValueError(f"{name} must be text or a non-empty list of texts, not {quoted(value)}")
    for text in texts:
        is_number = isinstance(text, int) and not isinstance(text, bool)
        if not is_number and (not isinstance(text, str) or is_missing_value(text)):
            raise ValueError(f"{name} contains {text!r}; each entry must be non-empty text")
    return tuple(dict.fromkeys(str(text).strip() if name == "ids" else str(text) for text in texts))


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted or str(value).lower() == str(wanted).lower()
    if isinstance(value, int | float) and isinstance(wanted, str):
        return str(value) == wanted.strip()
    return bool(value == wanted)


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
