"""Airflow as far as a task meets it: tries, deferrals, reschedules, and what happens to processes."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import dataclasses
import datetime as dt
import importlib
import json
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred, Variable

from connix_provider.operators import agent as operators
from connix_provider.sensors.agent import ConnixAgentStatusSensor
from hostile.clock import JumpingLoop
from hostile.history import Run
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
#: Airflow's own loop of a sensor; it lives elsewhere in Airflow 2.
_SENSOR_LOOP = importlib.import_module(ConnixAgentStatusSensor.__mro__[1].__module__)
#: Seconds until another triggerer takes a trigger over.
_TAKE_OVER = 30.0


@dataclasses.dataclass
class Ended:
    """
    How one run of a task instance ended.

    :param outcome: ``green``, ``red``, ``skipped`` or ``killed``
    :param error: what it raised
    :param result: what it returned
    :param began: seconds since the history began
    :param ended: the same
    :param deadline: the same; until then it may send
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
    def ending(self) -> str:
        """The outcome, and for a red one its kind, so that modes can be compared."""
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
    """One task instance over all of its tries."""

    def __init__(self, world: World, map_index: int = -1, **arguments: Any) -> None:
        history = world.history
        self._world = world
        self._arguments = {**history.arguments, **arguments}
        self._store = Store(world) if history.stored else None
        self._first_reschedule: dt.datetime | None = None
        self.map_index = map_index
        self.try_number = 0
        self.max_tries = history.retries

    def start(self, run: Run, index: int, **changed: Any) -> Ended:
        """Run it once, until it ends, is killed, or fails for this try."""
        world = self._world
        world.actor = "task" if self.map_index < 0 else f"task[{self.map_index}]"
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
        except Killed:
            ended.outcome = "killed"
        except Exception as error:
            ended.error = error
        except BaseException as error:
            if type(error).__name__ != "AirflowTaskTimeout":
                raise
            ended.error = error
        ended.ended = world.clock.elapsed
        world.process, world.is_dead = None, False
        if ended.error is not None:
            world.said.append(f"{ended.error} {getattr(ended.error, '__notes__', '')}")
        world.tell("airflow", f"run {index} ends {ended.ending}: {ended.error or ended.result}")
        return ended

    @property
    def was_last(self) -> bool:
        return self.try_number > self.max_tries

    def _carry(self, ended: Ended) -> Any:
        step: Callable[[Any, Any], Any] = _execute
        while True:
            began = self._world.clock.time()
            try:
                with self._process("worker"):
                    return _as_the_task_runner_does(self._operator(), step, self._context())
            except TaskDeferred as deferred:
                ended.deferrals += 1
                step = self._deferred(deferred)
            except _SENSOR_LOOP.AirflowRescheduleException as again:
                self._first_reschedule = self._first_reschedule or _utc(began)
                self._world.clock.sleep(
                    max(0.0, again.reschedule_date.timestamp() - self._world.clock.time())
                )
                step = _execute

    @contextmanager
    def _process(self, kind: str) -> Iterator[None]:
        world = self._world
        forget_process()
        world.process, world.is_dead = kind, False
        try:
            yield
        finally:
            world.process = None

    def _operator(self) -> Any:
        history, arguments = self._world.history, dict(self._arguments)
        if str(arguments.get("agent_id", "")).startswith("@"):
            arguments["agent_id"] = self._world.ids.get(arguments["agent_id"], "agent_of_nobody")
        if history.operator == "sensor" and history.mode != "deferred":
            arguments["mode"] = history.mode
        arguments["deferrable"] = history.mode == "deferred"
        arguments["project_id"] = "proj_1234567890abcdef"
        return OPERATORS[history.operator](task_id="task", **copy.deepcopy(arguments))

    def _context(self) -> dict[str, Any]:
        ti = types.SimpleNamespace(
            dag_id="dag",
            run_id="run",
            task_id="task",
            map_index=self.map_index,
            try_number=self.try_number,
            max_tries=self.max_tries,
            get_first_reschedule_date=lambda context: self._first_reschedule,
        )
        return {"ti": ti} if self._store is None else {"ti": ti, "task_state_store": self._store}

    # -- the triggerer ----------------------------------------------------------------------------------

    def _deferred(self, deferred: TaskDeferred) -> Callable[[Any, Any], Any]:
        """Wait for the trigger's event; return the step that goes on with it."""
        world = self._world
        row = json.dumps(deferred.trigger.serialize())
        world.said.append(row + json.dumps(deferred.kwargs or {}))
        kwargs = json.loads(json.dumps(deferred.kwargs or {}))
        timeout = deferred.timeout.total_seconds() if deferred.timeout else None
        ends = None if timeout is None else world.clock.elapsed + timeout
        while True:
            try:
                with self._process("triggerer"):
                    event = self._event(row, ends)
            except Killed:
                world.tell("airflow", "another triggerer takes the trigger over")
                world.clock.sleep(_TAKE_OVER)
            except asyncio.CancelledError:
                world.tell("airflow", "the trigger is moved to another triggerer")
            except TimeoutError:
                return _resumption("__fail__", {"error": "Trigger timeout"})
            else:
                world.said.append(event)
                world.events.append(event)
                return _resumption(deferred.method_name, {**kwargs, "event": json.loads(event)})

    def _event(self, row: str, ends: float | None) -> str:
        """Run the trigger as a triggerer does; return its event as the database holds it."""
        path, arguments = json.loads(row)
        module, _, name = path.rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**arguments)
        world = self._world

        async def first_event() -> Any:
            world.trigger_task = asyncio.current_task()
            events = trigger.run()
            try:
                async with asyncio.timeout(None if ends is None else ends - world.clock.elapsed):
                    return (await anext(events)).payload
            finally:
                await events.aclose()

        loop = JumpingLoop(world.clock)
        loop.set_exception_handler(lambda loop, context: None)
        try:
            return json.dumps(loop.run_until_complete(first_event()))
        except Killed:
            world.is_dead = True
            raise
        finally:
            world.trigger_task = None
            _end(loop)


def _end(loop: JumpingLoop) -> None:
    """Leave nothing in a loop that is not used any more."""
    for task in asyncio.all_tasks(loop):
        task.cancel()
    while tasks := asyncio.all_tasks(loop):
        loop.run_until_complete(asyncio.wait(tasks))
    loop.close()


def _execute(task: Any, context: Any) -> Any:
    return task.execute(context)


def _resumption(method: str, kwargs: dict[str, Any]) -> Callable[[Any, Any], Any]:
    return lambda task, context: task.resume_execution(method, kwargs, context)


def _as_the_task_runner_does(task: Any, step: Callable[[Any, Any], Any], context: Any) -> Any:
    # Airflow's guard against calling execute() from another operator wants to know which task is running.
    from airflow.sdk.bases.operator import ExecutorSafeguard

    surroundings = contextvars.copy_context()
    surroundings.run(ExecutorSafeguard.tracker.set, task)
    return surroundings.run(step, task, context)


def _utc(moment: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment, dt.UTC)


@contextmanager
def airflow_around(wire: Wire) -> Iterator[None]:
    """Let Airflow's loop of a sensor live by the clock, and keep Variables in the world."""
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

    with ExitStack() as stack:
        stack.enter_context(patch.object(_SENSOR_LOOP, "timezone", clock))
        for name, replacement in (("get", get), ("set", set_), ("delete", delete)):
            stack.enter_context(patch.object(Variable, name, staticmethod(replacement)))
        yield
