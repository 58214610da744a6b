"""Keep the records of a task that sends requests for several agents, one for each agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from connix_provider.operators._base.task_state import ActionRecord, RecordStore

__all__ = ["AgentRecords"]


class AgentRecords:
    """
    Records by agent.

    :param stored: what :meth:`to_json` of an earlier start of the task returned
    :param save: keeps what :meth:`to_json` returns; called after each change
    """

    def __init__(self, stored: Mapping[str, Any] | None, save: Callable[[], None]) -> None:
        self._stored: dict[str, Any] = dict(stored or {})
        self._save = save

    def to_json(self) -> dict[str, Any]:
        """Serialize the records."""
        return self._stored

    def get(self, agent_id: str) -> ActionRecord | None:
        """Return the record of an agent."""
        stored = self._stored.get(agent_id)
        return ActionRecord.from_json(stored) if stored else None

    def discard(self, agent_id: str) -> None:
        """Delete the record of an agent, without a call of ``save``."""
        self._stored.pop(agent_id, None)

    def record_store(self, agent_id: str) -> RecordStore:
        """Return what keeps the record of an agent."""
        return _RecordStore(self, agent_id)

    def write(self, agent_id: str, record: ActionRecord | None) -> None:
        """
        Keep the record of an agent, or delete it.

        :param record: the record, ``None`` to delete it
        """
        if record is None:
            self.discard(agent_id)
        else:
            self._stored[agent_id] = record.to_json()
        self._save()


class _RecordStore:
    def __init__(self, records: AgentRecords, agent_id: str) -> None:
        self._records = records
        self._agent_id = agent_id

    def write(self, record: ActionRecord) -> None:
        """Write the record."""
        self._records.write(self._agent_id, record)

    def delete(self) -> None:
        """Delete the record."""
        self._records.write(self._agent_id, None)
