"""A model of Airflow: tries, deferrals, reschedules, and interruptions of processes."""

from __future__ import annotations

import contextvars
import copy
import dataclasses
import datetime as dt
import importlib
import json
import math
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from airflow.providers.common.compat.sdk import (
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    TaskDeferred,
    Variable,
)
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from connix_provider.operators import agent as operators
from connix_provider.sensors.agent import ConnixAgentStatusSensor
from hostile.history import Run
from hostile.service import PROJECT
from hostile.triggerer import Cleared, MarkedFailed, Triggerer
from hostile.wire import Wire, forget_process
from hostile.world import Killed, World

__all__ = ["OPERATORS", "Ended", "TaskInstance", "airflow_around"]

OPERATORS: dict[str, Callable[..., Any]] = {
    "create": operators.ConnixCreateAgentOperator,
    "update": operators.ConnixUpdateAgentOperator,
    "start": operators.ConnixStartAgentOperator,
    "pause": operators.ConnixPauseAgentOperator,
    "stop": operators.ConnixStopAgentOperator,
    "restart": operators.ConnixRestartAgentOperator,
    "delete": operators.ConnixDeleteAgentOperator,
    "sensor": ConnixAgentStatusSensor,
}
#: The module of Airflow's sensor loop, which is another one in Airflow 2.
_SENSOR_LOOP = importlib.import_module(BaseSensorOperator.__module__)
_BY_OTHERS = {Killed: "killed", Cleared: "cleared", MarkedFailed: "marked failed"}


@dataclasses.dataclass
class Ended:
    """
    How one run of a task instance ended.

    :param outcome: ``green``, ``red``, ``skipped``, or the interruption that ended it:
        ``killed``, ``cleared``, ``marked failed``
    :param error: the exception that it raised
    :param result: the value that it returned
    :param began: seconds since the history began
    :param ended: the same
    :param deadline: the same; the last moment for a request
    """

    index: int
    kind: str
    began: float
    deadline: float
    ended: float = 0.0
    outcome: str = "red"
    result: Any = None
    error: BaseException | None = None
    deferrals: int = 0
    asked: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def outcome_kind(self) -> str:
        """The outcome, and the name of the exception of a red one, so that modes can be compared."""
        return self.outcome if self.outcome != "red" else f"red: {type(self.error).__name__}"


class Store(dict[str, Any]):
    """Keep plain JSON over all tries, as the ``task_state_store`` of Airflow 3.3 does."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def set(self, name: str, value: Any, **_: Any) -> None:
        if self._world.is_dead:
            raise Killed
        text = json.dumps(value)
        self._world.said.append(text)
        self[name] = json.loads(text)

    def delete(self, name: str) -> None:
        if self._world.is_dead:
            raise Killed
        self.pop(name, None)


class TaskInstance:
    """
    One task instance over all of its tries.

    :param world: the history's world
    :param actor: its name in the service's record
    :param map_index: its place in a mapped task
    """

    def __init__(self, world: World, actor: str = "task", map_index: int = -1) -> None:
        history = world.history
        self._world = world
        self._arguments = dict(history.arguments)
        self._store = Store(world) if history.stored else None
        self._first_reschedule: dt.datetime | None = None
        self._operator: Any = None
        self.actor = actor
        self.map_index = map_index
        self.try_number = 0
        self.max_tries = history.retries

    @property
    def was_last(self) -> bool:
        return self.try_number > self.max_tries

    def start(self, run: Run, index: int, **changed: Any) -> Ended:
        """Run it once, until it ends, is killed, or fails for this try."""
        world = self._world
        world.instance, world.map_index, world.state = self, self.map_index, "running"
        if run.kind != "same":
            self.try_number += 1
        if run.kind == "clear":
            self.max_tries = self.try_number - 1 + world.history.retries
        self._arguments.update(run.edit, **changed)
        self._first_reschedule = None
        began = world.clock.elapsed
        ended = Ended(index, run.kind, began, began + self._arguments["timeout"], asked=dict(self._arguments))
        try:
            ended.result = self._carry(ended)
            ended.outcome = "green"
        except AirflowSkipException as error:
            ended.outcome, ended.error = "skipped", error
        except (Exception, AirflowTaskTimeout) as error:
            ended.error = error
        except (Killed, Cleared, MarkedFailed) as what:
            ended.outcome = _BY_OTHERS[type(what)]
        if world.state == "failed":
            # The user's decision counts, and not the task's own end.
            ended.outcome = "marked failed"
        ended.ended, world.instance = world.clock.elapsed, None
        if ended.error is not None:
            world.said.append(f"{ended.error} {getattr(ended.error, '__notes__', '')}")
        world.tell("airflow", f"run {index} ends {ended.outcome_kind}: {ended.error or ended.result}")
        return ended

    def interrupt(self, what: str) -> None:
        """Interrupt a task on a worker, or its process."""
        world = self._world
        if world.process != "worker":
            return
        world.tell("airflow", f"{what} while the task is on a worker")
        match what:
            case "kill":
                world.is_dead = True
                raise Killed
            case "execution timeout":
                raise AirflowTaskTimeout("Timeout, PID: 1")
            case "mark failed":
                # After SIGTERM, the process ends once ``on_kill`` has returned.
                world.state = "failed"
                self._operator.on_kill()
                world.is_dead = True
                raise MarkedFailed

    def _carry(self, ended: Ended) -> Any:
        world, clock = self._world, self._world.clock
        step: Callable[[Any, Any], Any] = _execute
        while True:
            began = clock.time()
            self._operator = self._make_operator()
            try:
                with world.at_work("worker", self.actor):
                    forget_process()
                    return self._take(step)
            except TaskDeferred as deferred:
                ended.deferrals += 1
                step = self._defer(deferred)
            except _SENSOR_LOOP.AirflowRescheduleException as again:
                self._first_reschedule = self._first_reschedule or _utc(began)
                clock.sleep(max(0.0, again.reschedule_date.timestamp() - clock.time()))
                step = _execute
            finally:
                self._operator = None

    def _take(self, step: Callable[[Any, Any], Any]) -> Any:
        """Take one step as the task runner does."""
        # Airflow's guard against calling execute() from another operator needs the running task.
        surroundings = contextvars.copy_context()
        surroundings.run(ExecutorSafeguard.tracker.set, self._operator)
        try:
            return surroundings.run(step, self._operator, self._context())
        except AirflowTaskTimeout:
            self._operator.on_kill()
            raise

    def _defer(self, deferred: TaskDeferred) -> Callable[[Any, Any], Any]:
        """Wait for the trigger's event; return the step that resumes the task with it."""
        world = self._world
        row, kwargs = json.dumps(deferred.trigger.serialize()), json.dumps(deferred.kwargs or {})
        world.said += [row, kwargs]
        timeout = deferred.timeout.total_seconds() if deferred.timeout else math.inf
        world.state = "deferred"
        try:
            triggerer = Triggerer(world, self._key(), self.actor)
            event = triggerer.event(row, world.clock.time() + timeout)
        except TimeoutError:
            return _resumption("__fail__", {"error": "Trigger timeout"})
        finally:
            if world.state == "deferred":
                world.state = "running"
        world.said.append(event)
        world.events.append(event)
        return _resumption(deferred.method_name, {**json.loads(kwargs), "event": json.loads(event)})

    def _make_operator(self) -> Any:
        history, arguments = self._world.history, copy.deepcopy(self._arguments)
        if str(arguments.get("agent_id", "")).startswith("@"):
            arguments["agent_id"] = self._world.ids.get(arguments["agent_id"], "agent_of_nobody")
        if history.operator == "sensor" and history.mode != "deferred":
            arguments["mode"] = history.mode
        arguments["deferrable"] = history.mode == "deferred"
        return OPERATORS[history.operator](task_id="task", project_id=PROJECT, **arguments)

    def _key(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(
            dag_id="dag",
            run_id="run",
            task_id="task",
            map_index=self.map_index,
            try_number=self.try_number,
            max_tries=self.max_tries,
            get_first_reschedule_date=lambda context: self._first_reschedule,
        )

    def _context(self) -> dict[str, Any]:
        ti = self._key()
        return {"ti": ti} if self._store is None else {"ti": ti, "task_state_store": self._store}


def _execute(task: Any, context: Any) -> Any:
    return task.execute(context)


def _resumption(method: str, kwargs: dict[str, Any]) -> Callable[[Any, Any], Any]:
    return lambda task, context: task.resume_execution(method, kwargs, context)


def _utc(moment: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment, dt.UTC)


@contextmanager
def airflow_around(wire: Wire) -> Iterator[None]:
    """Run Airflow's sensor loop on the clock, and keep Variables in the world."""
    clock = types.SimpleNamespace(utcnow=lambda: _utc(wire.world.clock.time()))

    def get(key: str, default: Any = None, **_: Any) -> Any:
        return wire.world.variables.get(key, default)

    def set_(key: str, value: Any, **_: Any) -> None:
        if wire.world.is_dead:
            raise Killed
        wire.world.said.append(str(value))
        wire.world.variables[key] = value

    def delete(key: str, **_: Any) -> None:
        if wire.world.is_dead:
            raise Killed
        wire.world.variables.pop(key, None)

    def get_task_states(**_: Any) -> dict[str, Any]:
        index = wire.world.map_index
        return {"run": {"task" if index < 0 else f"task_{index}": wire.world.state}}

    with ExitStack() as stack:
        stack.enter_context(patch.object(_SENSOR_LOOP, "timezone", clock))
        states = staticmethod(get_task_states)
        stack.enter_context(patch.object(RuntimeTaskInstance, "get_task_states", states))
        for name, replacement in (("get", get), ("set", set_), ("delete", delete)):
            stack.enter_context(patch.object(Variable, name, staticmethod(replacement)))
        yield
