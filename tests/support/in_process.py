"""
Run one operator or sensor in milliseconds: the real task code, without Airflow's task runner around it.

``dag.test()`` costs half a second, too much for thousands of cases. This does what it does to the task: call
``execute``, carry a deferred trigger on in an event loop, resume on a fresh operator. What travels between
the processes of a real Airflow travels as JSON here.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import datetime as dt
import importlib
import itertools
import json
import types
from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import DAG, TaskDeferred
from dag_store import airflow_version
from timewarp import SENSOR_LOOP, Timewarp

__all__ = ["TaskOutcome", "TaskRun"]

_numbers = itertools.count(1)
# Its home differs between versions of Airflow; the loop that raises it knows.
_Reschedule = importlib.import_module(SENSOR_LOOP).AirflowRescheduleException


@dataclasses.dataclass
class TaskOutcome:
    """
    Hold what became of one try of a task.

    :param result: what it returned
    :param error: what it raised
    :param deadline: seconds of the shared clock by which the task had to be over
    :param deferrals: how often it gave its slot to the triggerer
    :param reschedules: how often it gave its slot back between two pokes
    """

    result: Any = None
    error: BaseException | None = None
    deadline: float = 0.0
    deferrals: int = 0
    reschedules: int = 0


class Store(dict[str, Any]):
    """Stand in for the ``task_state_store`` of Airflow 3.3: it outlives a try, and keeps plain JSON."""

    def set(self, name: str, value: Any) -> None:
        self[name] = json.loads(json.dumps(value))
        # Airflow refuses a tuple.
        assert self[name] == value

    def delete(self, name: str) -> None:
        self.pop(name, None)


class TaskRun:
    """
    Hold one run of one task, over all of its tries.

    :param warp: the clock that the provider and the emulator share
    :param make: the operator's class
    :param remembering: whether Airflow offers it a ``task_state_store``
    :param retries: how often the task is retried after its first try, and after each clear
    :param map_index: which one of a mapped task it is
    :param dag_id: the DAG; default one of its own
    :param arguments: the operator's arguments
    """

    def __init__(
        self,
        warp: Timewarp,
        make: Callable[..., Any],
        *,
        remembering: bool = False,
        retries: int = 10,
        map_index: int = -1,
        dag_id: str | None = None,
        **arguments: Any,
    ) -> None:
        self._warp = warp
        self._make = make
        self._arguments = arguments
        self._dag_id = dag_id or f"in_process_{next(_numbers)}"
        self._map_index = map_index
        self._retries = retries
        self._max_tries = retries
        self._first_reschedule: dt.datetime | None = None
        self.store = Store() if remembering else None
        self.tries = 0
        #: What each event of a trigger resumed.
        self.resumptions: list[Callable[[Any, Any], Any]] = []

    def clear(self) -> None:
        """Clear the task, as a user does: Airflow raises ``max_tries``."""
        self._max_tries = self.tries + self._retries

    def try_once(self, *, same_try: bool = False, **changes: Any) -> TaskOutcome:
        """
        Run the task's next try to its end.

        :param same_try: whether the same try is started again, as Airflow's stuck-in-queued handling does
        :param changes: arguments that this try has instead, as if the DAG file had been edited
        :return: what became of it
        """
        self.tries += not same_try
        self._first_reschedule = None
        return self._run({**self._arguments, **changes}, _execute)

    def resume_again(self, number: int, **changes: Any) -> TaskOutcome:
        """
        Resume the same try with an event that it has had, as Airflow's stuck-in-queued handling does.

        :param number: which one of its events
        :param changes: arguments that the task has instead, as if the DAG file had been edited
        :return: what became of the try
        """
        return self._run({**self._arguments, **changes}, self.resumptions[number])

    def _run(self, arguments: dict[str, Any], step: Callable[[Any, Any], Any]) -> TaskOutcome:
        ran = TaskOutcome(deadline=self._warp.time() + arguments["timeout"])
        try:
            ran.result = self._carry(arguments, ran, step)
        except Exception as error:
            ran.error = error
        return ran

    def _carry(self, arguments: dict[str, Any], ran: TaskOutcome, step: Callable[[Any, Any], Any]) -> Any:
        while True:
            # Each step of a real task runs in a process of its own, and remembers nothing of the one before.
            task, context, began = self._operator(arguments), self._context(), self._now()
            try:
                return _as_the_task_runner_does(task, step, context)
            except _Reschedule as again:
                ran.reschedules += 1
                self._first_reschedule = self._first_reschedule or began
                self._warp.sleep(max(0.0, again.reschedule_date.timestamp() - self._warp.time()))
                step = _execute
            except TaskDeferred as deferred:
                ran.deferrals += 1
                step = _resumption(deferred, _first_event(deferred.trigger))
                self.resumptions.append(step)

    def _operator(self, arguments: dict[str, Any]) -> Any:
        with DAG(self._dag_id, schedule=None, start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)):
            return self._make(task_id="task", **arguments)

    def _context(self) -> dict[str, Any]:
        ti = types.SimpleNamespace(
            dag_id=self._dag_id,
            run_id="run",
            task_id="task",
            map_index=self._map_index,
            try_number=self.tries,
            max_tries=self._max_tries,
            get_first_reschedule_date=lambda context: self._first_reschedule,
        )
        context: dict[str, Any] = {"ti": ti}
        return context if self.store is None else {**context, "task_state_store": self.store}

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._warp.time(), dt.UTC)


def _execute(task: Any, context: Any) -> Any:
    if airflow_version() < (3,):
        # Airflow 2 passes this to its guard against calling execute() from another operator.
        return task.execute(context, **{f"{type(task).__name__}__sentinel": True})
    return task.execute(context)


def _as_the_task_runner_does(task: Any, step: Callable[[Any, Any], Any], context: Any) -> Any:
    if airflow_version() < (3,):
        return step(task, context)
    # Airflow's guard against calling execute() from another operator wants to know which task is running.
    from airflow.sdk.bases.operator import ExecutorSafeguard

    surroundings = contextvars.copy_context()
    surroundings.run(ExecutorSafeguard.tracker.set, task)
    return surroundings.run(step, task, context)


def _resumption(deferred: TaskDeferred, event: Any) -> Callable[[Any, Any], Any]:
    kwargs = {**json.loads(json.dumps(deferred.kwargs or {})), "event": event}

    def resume(task: Any, context: Any) -> Any:
        return task.resume_execution(deferred.method_name, kwargs, context)

    return resume


def _first_event(trigger: Any) -> Any:
    """Send a trigger through the database, run it as a triggerer does, and send its event back."""
    path, kwargs = json.loads(json.dumps(trigger.serialize()))
    module, _, name = path.rpartition(".")
    stored = getattr(importlib.import_module(module), name)(**kwargs)

    async def run() -> Any:
        events = stored.run()
        try:
            return (await anext(events)).payload
        finally:
            await events.aclose()

    return json.loads(json.dumps(asyncio.run(run())))
