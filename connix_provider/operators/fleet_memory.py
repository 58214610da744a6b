"""
What a fleet's run remembers: its agents, and how far each is.

Invariants:

- The selection is kept before the first action, so that every start of the task means the same agents.
- An action is recorded before its request is sent, and its end before the next agent is acted on.
- A run that failed is continued after a clear: agents that are done are not acted on again. After a run that
  succeeded a clear begins a new one, and a retry finds it done.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from connix_provider.operators.fleet_plan import FleetMember, Progress
from connix_provider.operators.identity import max_tries_of, try_number_of
from connix_provider.operators.task_state import ActionRecord, TaskMemory

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["FleetMemory"]

_NAME = "connix_fleet"


class FleetMemory:
    """
    Keep the members of a run.

    :param context: Airflow's context
    """

    def __init__(self, context: Context) -> None:
        self._memory = TaskMemory(context, _NAME)
        self._action = self._project_id = ""
        self._is_finished = False
        self._try = [max_tries_of(context), try_number_of(context)]
        self._records: dict[str, dict[str, Any]] = {}
        #: Epoch seconds at which this try began, and how many agents were done then.
        self.since: tuple[float, int] = (time.time(), 0)
        #: The agents, in the order in which they are acted on.
        self.members: list[FleetMember] = []

    def recall(self, action: str, project_id: str) -> bool:
        """
        Read the run of an earlier start of the task. In a new try, agents that failed are acted on again.

        A run that succeeded counts until the task is cleared, because a process may die before Airflow knows.

        :param action: the action; a run of another one does not count
        :param project_id: the project; a run in another one does not count
        :return: whether there is one
        """
        stored = self._memory.read(of_any_clear=True)
        if not isinstance(stored, dict) or stored.get("action") != action:
            return False
        # What an earlier version of this provider wrote has no project.
        if stored.get("project_id", project_id) != project_id:
            return False
        self._is_finished = stored.get("is_finished", False)
        if self._is_finished and stored["try"][0] != self._try[0]:
            self._is_finished = False
            return False
        self._action, self._project_id = action, project_id
        is_new_try = stored["try"] != self._try and not self._is_finished
        self._records = dict(stored["records"])
        self.members = [FleetMember(*values) for values in stored["members"]]
        for member in self.members:
            member.progress = Progress(member.progress)
        if not is_new_try:
            self.since = tuple(stored["since"])
        else:
            self.since = (time.time(), sum(each.progress is Progress.DONE for each in self.members))
        for member in self.members:
            if member.progress is Progress.FAILED and is_new_try:
                member.progress, member.reason, member.was_acted_on = Progress.UNTOUCHED, "", False
                self._records.pop(member.agent_id, None)
        return True

    def begin(self, action: str, project_id: str, members: Iterable[FleetMember]) -> None:
        """
        Keep the selection.

        :param action: the action
        :param project_id: the agents' project
        :param members: the agents
        """
        self._action, self._project_id = action, project_id
        self.members = list(members)
        self.save()

    def keeper(self, member: FleetMember) -> _Keeper:
        """
        Return what keeps the record of an agent's action.

        :param member: the agent
        :return: the keeper
        """
        return _Keeper(self, member.agent_id)

    def record(self, member: FleetMember) -> ActionRecord | None:
        """
        Return the record of the action on an agent that an earlier start of the task sent.

        :param member: the agent
        :return: the record, or ``None``
        """
        stored = self._records.get(member.agent_id)
        return ActionRecord.from_json(stored) if stored else None

    def end(self, member: FleetMember) -> None:
        """
        Keep that an agent is done or failed.

        :param member: the agent
        """
        self._records.pop(member.agent_id, None)
        self.save()

    def finish(self) -> None:
        """
        Keep that the run succeeded, so that a second start has nothing to do until the task is cleared.

        Before Airflow 3.3 the run is deleted instead, because a Variable would stay for ever.
        """
        if self._memory.is_permanent:
            self._is_finished = True
            self.save()
        else:
            self.forget()

    def forget(self) -> None:
        """Delete all of it."""
        self._memory.delete()

    def write_record(self, agent_id: str, record: ActionRecord | None) -> None:
        """
        Keep or delete the record of an agent's action.

        :param agent_id: the agent
        :param record: the record, ``None`` to delete it
        """
        if record is None:
            self._records.pop(agent_id, None)
        else:
            self._records[agent_id] = record.to_json()
        self.save()

    def save(self) -> None:
        """Write the run."""
        members = [
            [each.agent_id, each.name, str(each.progress), each.is_available, each.was_acted_on, each.reason]
            for each in self.members
        ]
        self._memory.write(
            {
                "action": self._action,
                "project_id": self._project_id,
                "is_finished": self._is_finished,
                "try": self._try,
                "since": list(self.since),
                "members": members,
                "records": self._records,
            }
        )


class _Keeper:
    """Keep the record of one agent's action in the memory of its fleet."""

    def __init__(self, memory: FleetMemory, agent_id: str) -> None:
        self._memory = memory
        self._agent_id = agent_id

    def write(self, record: ActionRecord) -> None:
        """Write the record."""
        self._memory.write_record(self._agent_id, record)

    def forget(self) -> None:
        """Delete the record."""
        self._memory.write_record(self._agent_id, None)
