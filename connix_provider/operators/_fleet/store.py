"""
Stored state of a fleet's run: its agents and their progress.

Invariants:

- The selection is kept before the first action, so that every start of the task means the same agents.
- A start of the task with another selector acts on no agent that this selector does not select.
- An action is recorded before its request is sent, and its end before the next agent is acted on.
- A run that failed is continued after a clear: agents that are done are not acted on again.
- A run that succeeded is kept until a clear, which begins a new one. A process may be killed before Airflow
  records its success, and the retry must have nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from connix_provider.operators._base.identity import max_tries_of, try_number_of
from connix_provider.operators._base.task_state import TaskStore
from connix_provider.operators._fleet.plan import FleetMember, Progress
from connix_provider.operators._once.agent_records import AgentRecords

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["FleetStore"]

_NAME = "connix_fleet"


class FleetStore:
    """Keep the members of a run."""

    def __init__(self, context: Context) -> None:
        self._store = TaskStore(context, _NAME)
        self._action = self._project_id = self._selector = ""
        self._try = [max_tries_of(context), try_number_of(context)]
        self._is_over = False
        #: The record of the action on each agent under way.
        self.records = AgentRecords(None, self.save)
        #: Epoch seconds at which this try began, and how many agents were done then.
        self.since: tuple[float, int] = (time.time(), 0)
        #: The agents, in the order in which they are acted on.
        self.members: list[FleetMember] = []
        #: How many agents were selected, of which percentages are taken.
        self.total = 0

    def read(self, action: str, project_id: str, selector: str) -> bool:
        """
        Read the run of an earlier start of the task.

        In a new try, agents that failed are acted on again, unless the run succeeded despite them.

        :param action: the action; a run of another one does not count
        :param project_id: the project; a run in another one does not count
        :param selector: a digest of the selector's criteria
        :return: whether there is one with this selector. Otherwise :meth:`begin` is to follow, and
            :attr:`members` holds the agents of the run with another selector
        """
        self._action, self._project_id, self._selector = action, project_id, selector
        stored = self._store.read(of_any_clear=True)
        if not isinstance(stored, dict) or (stored["action"], stored["project_id"]) != (action, project_id):
            return False
        if stored["is_over"] and self._store.read() is None:
            # The run succeeded before a clear.
            return False
        is_same = bool(stored["selector"] == selector)
        self._is_over = is_same and stored["is_over"]
        self.total = stored["total"]
        is_new_try = stored["try"] != self._try
        self.records = AgentRecords(stored["records"], self.save)
        self.members = [FleetMember(*values) for values in stored["members"]]
        for member in self.members:
            member.progress = Progress(member.progress)
        if not is_new_try:
            self.since = tuple(stored["since"])
        else:
            self.since = (time.time(), sum(member.progress is Progress.DONE for member in self.members))
        for member in self.members:
            if member.progress is Progress.FAILED and is_new_try and not self._is_over:
                member.progress, member.reason, member.was_acted_on = Progress.UNTOUCHED, "", False
                self.records.discard(member.agent_id)
        return is_same

    def begin(self, selected: Iterable[FleetMember]) -> None:
        """
        Keep the selection.

        :param selected: the agents; those that a run with another selector acted on keep their progress
        """
        known = {
            member.agent_id: member for member in self.members if member.progress is not Progress.UNTOUCHED
        }
        self.members = [known.get(member.agent_id, member) for member in selected]
        self.total = len(self.members)
        self.since = (time.time(), sum(member.progress is Progress.DONE for member in self.members))
        self.save()

    def leave_out(self, member: FleetMember) -> None:
        """Keep that the run continues without an agent."""
        self.members = [other for other in self.members if other is not member]
        self.end(member)

    def end(self, member: FleetMember) -> None:
        """Keep that an agent is done or failed."""
        self.records.discard(member.agent_id)
        self.save()

    def mark_done(self) -> None:
        """
        Keep that the run succeeded.

        Before Airflow 3.3 the run is deleted instead, because a Variable would stay forever.
        """
        self._is_over = True
        if self._store.is_permanent:
            self.save()
        else:
            self._store.delete()

    def save(self) -> None:
        """Write the run."""
        members = [
            [
                member.agent_id,
                member.name,
                str(member.progress),
                member.is_available,
                member.was_acted_on,
                member.reason,
                member.is_gone,
            ]
            for member in self.members
        ]
        self._store.write(
            {
                "action": self._action,
                "project_id": self._project_id,
                "selector": self._selector,
                "total": self.total,
                "try": self._try,
                "since": list(self.since),
                "members": members,
                "records": self.records.to_json(),
                "is_over": self._is_over,
            }
        )
