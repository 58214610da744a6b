"""Set the state that Airflow returns of a killed task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from dag_store import airflow_version

from connix_provider.triggers.agent import ConnixAgentStatusTrigger

#: In place of a state: Airflow fails, or knows no such task instance.
REFUSED, MISSING = "<refused>", "<missing>"


def task_instance(map_index: int = -1) -> Any:
    """Stand in for the task instance of a trigger, or of a task that no scheduler started."""
    names = {"dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": map_index}
    ti = SimpleNamespace(**names)
    if airflow_version() < (3,):
        ti.current_state = lambda: _current_state(ti)
    return ti


_current_state: Any = None


def set_task_state(monkeypatch: pytest.MonkeyPatch, state: str | None, *, map_index: int = -1) -> None:
    """
    Have Airflow return a state for one map index, and ``running`` for all others.

    :param state: the state, ``REFUSED`` or ``MISSING``
    :param map_index: the map index of the task instance
    """
    if airflow_version() < (3,):
        from airflow.models import TaskInstance

        def current_state(ti: Any, *_: Any, **__: Any) -> str | None:
            if state in {REFUSED, MISSING}:
                raise RuntimeError("the database is away")
            return state if ti.map_index == map_index else "running"

        monkeypatch.setattr(TaskInstance, "current_state", current_state)
        monkeypatch.setitem(globals(), "_current_state", current_state)
        return
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def get_task_states(
        *, dag_id: str, task_ids: list[str], run_ids: list[str], map_index: int
    ) -> dict[str, dict[str, str | None]]:
        if state == REFUSED:
            raise RuntimeError("the API server is away")
        (task_id,), (run_id,) = task_ids, run_ids
        if state == MISSING:
            return {}
        # Airflow's API returns a mapped task instance by its index, and all of them if asked without one.
        states = {task_id: "running", **{f"{task_id}_{n}": "running" for n in range(3)}}
        states[task_id if wanted < 0 else f"{task_id}_{wanted}"] = state
        return {run_id: states}

    wanted = map_index
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))


def make_trigger(*arguments, map_index=-1, **how):
    trigger = ConnixAgentStatusTrigger(*arguments, **how)
    trigger.task_instance = task_instance(map_index)
    return trigger
