"""
What an apply records of its requests, so that a retry fails if an agent of an earlier try has failed since.

Without a declared state, an agent that was created must run, and one that was updated must settle without a
new error. Neither shows in the agent: it has all declared fields. So both requests are recorded before they
are sent, by the rules of :mod:`connix_provider.operators._base.task_state`. Of an agent with a declared
state, that state alone decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from connix_provider.operators._base.task_state import TaskStore
from connix_provider.operators._once.agent_records import AgentRecords

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["ApplyRecords"]


class ApplyRecords:
    """The records of one apply; they are read with the first use, because that may cost a request."""

    def __init__(self, context: Context) -> None:
        #: Keeps the records for the next start of the task.
        self.store = TaskStore(context, "connix_apply")

    @cached_property
    def restarts(self) -> AgentRecords:
        """By agent id, the restarts."""
        return self._of("restarts")

    @cached_property
    def updates(self) -> AgentRecords:
        """By agent id, the updates that have not ended well."""
        return self._of("updates")

    @cached_property
    def creates(self) -> AgentRecords:
        """By agent name, the creates whose agent has not run yet."""
        return self._of("creates")

    @cached_property
    def _stored(self) -> Mapping[str, Any]:
        stored = self.store.read()
        return stored if isinstance(stored, dict) else {}

    def _of(self, kind: str) -> AgentRecords:
        return AgentRecords(self._stored.get(kind), self.save)

    def save(self) -> None:
        """Write the records."""
        records = {"restarts": self.restarts, "updates": self.updates, "creates": self.creates}
        self.store.write({kind: stored.to_json() for kind, stored in records.items()})
