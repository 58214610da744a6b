"""
Decide which agents are orphaned.

An agent is orphaned if its metadata names a task run of this deployment whose DAG run has ended, and if it is
old enough. An agent is kept unless all of this is certain.

Invariants:

- Only a key that :func:`~connix_provider.operators._base.identity.identity_key` writes names a task run. An
  agent of an apply has another key, and an owner.
- A run has ended if it is in ``success`` or ``failed`` and none of its task instances is under way. A task
  that was cleared without its run is such a task instance.
- A run that Airflow does not know proves nothing, because another deployment may have the same name.
- Airflow is queried each time and nothing is stored, because a run may be cleared at any moment.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from connix_provider.compat import count_dag_runs, count_task_instances
from connix_provider.operators._base.identity import (
    APPLY_OWNER_FIELD,
    IDENTITY_FIELD,
    TaskRunKey,
    deployment_id,
    parse_identity_key,
)
from connix_provider.selector import AgentSelector

if TYPE_CHECKING:
    from connix_provider.client import Agent

__all__ = ["OrphanRules", "OrphanVerdict"]

#: The states of a run that has ended.
_ENDED = ("success", "failed")
#: The states of a task instance that is not under way. "null" is one of them, because an instance without a
#: state never starts in a run that has ended.
_AT_REST = ("success", "failed", "skipped", "upstream_failed", "removed", "null")


@dataclasses.dataclass(frozen=True, slots=True)
class OrphanVerdict:
    """
    What is known of an agent.

    :param key: the task run of this deployment that created it; ``None`` for an agent of others
    :param reason: why it is kept; ``None`` for an orphaned agent
    :param age: seconds since it was created, by the service's clock, if known
    """

    key: TaskRunKey | None
    reason: str | None
    age: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class OrphanRules:
    """
    The rules of one task.

    :param older_than: seconds; a younger agent is kept
    :param selector: criteria that an agent must meet besides
    :param deletes_missing: whether an agent of a run that Airflow does not know is orphaned
    :param ti: the task instance of the running task; its own run counts as running
    """

    older_than: float
    selector: AgentSelector
    deletes_missing: bool
    ti: Any

    def judge(self, agent: Agent, now: float, *, is_complete: bool) -> OrphanVerdict:
        """
        Judge an agent.

        :param agent: the agent, from a listing with metadata or from Get Agent
        :param now: epoch seconds, by the service's clock
        :param is_complete: whether it is from Get Agent
        """
        key, foreign = _key_of(agent)
        if key is None:
            return OrphanVerdict(None, foreign)
        age = None if agent.created_at is None else now - agent.created_at.timestamp()
        return OrphanVerdict(key, self._reason_to_keep(agent, key, age, now, is_complete=is_complete), age)

    def _reason_to_keep(
        self, agent: Agent, key: TaskRunKey, age: float | None, now: float, *, is_complete: bool
    ) -> str | None:
        if (key.dag_id, key.run_id) == (getattr(self.ti, "dag_id", None), getattr(self.ti, "run_id", None)):
            return "it belongs to this task's own run"
        if age is None:
            return "its age is not known"
        if age < self.older_than:
            return f"it is not older than {timedelta(seconds=self.older_than)}"
        if is_complete and not self.selector.matches(agent, now=now):
            return f"it no longer meets the selector ({self.selector})"
        try:
            return self._reason_of_run(key)
        except Exception as error:
            # Of any kind, because Airflow and its databases have many, and all leave the run unknown.
            return f"Airflow could not say whether its run has ended ({type(error).__name__}: {error})"

    def _reason_of_run(self, key: TaskRunKey) -> str | None:
        run = key.dag_id, key.run_id
        if not count_dag_runs(self.ti, *run):
            return None if self.deletes_missing else "Airflow has no such run (on_missing_run is 'keep')"
        if not count_dag_runs(self.ti, *run, _ENDED):
            return "its run has not ended"
        under_way = count_task_instances(self.ti, *run) - count_task_instances(self.ti, *run, _AT_REST)
        return (
            f"its run has ended, but {under_way} of its task instances are under way" if under_way else None
        )


def _key_of(agent: Agent) -> tuple[TaskRunKey | None, str]:
    """Return the task run of this deployment that created an agent, or why there is none."""
    if IDENTITY_FIELD not in agent.metadata:
        return None, "no key of a task run"
    if APPLY_OWNER_FIELD in agent.metadata:
        return None, "kept by an apply"
    key = parse_identity_key(agent.metadata[IDENTITY_FIELD])
    if key is None:
        return None, "a key of another form"
    if key.deployment != deployment_id():
        return None, "a key of another deployment"
    return key, ""
