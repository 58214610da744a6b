"""A triggerer: it runs a trigger from its database row, moves it, and calls its ``on_kill``."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
import types
from collections.abc import Coroutine, Iterator
from typing import Any

from connix_provider.triggers.agent import ConnixAgentStatusTrigger
from hostile.clock import JumpingLoop
from hostile.service import PROJECT
from hostile.wire import forget_process
from hostile.world import Killed, World

__all__ = ["Cleared", "MarkedFailed", "Triggerer"]

#: Seconds until another triggerer takes over the triggers of a killed one.
_TAKE_OVER = 30.0
#: Seconds between the scheduler's checks of the timeouts of triggers.
_CHECK_INTERVAL = 15.0
#: Seconds after which a triggerer notices that a trigger is not its own any more, and calls ``on_kill``.
_NOTICED = 2.0


class Cleared(BaseException):
    """Raised where a user clears a deferred task."""


class MarkedFailed(BaseException):
    """Raised where a user marks a task failed."""


class NoTriggerer(BaseException):
    """Mark the end of the only triggerer."""


class Triggerer:
    """
    Run the triggers of one task instance, one after the other.

    :param world: the history's world
    :param key: identifies the task instance
    :param actor: its name in the service's record
    """

    def __init__(self, world: World, key: types.SimpleNamespace, actor: str) -> None:
        self._world = world
        self._key = key
        self._actor = actor
        self._task: asyncio.Task[Any] | None = None
        self._trigger: Any = None
        self._why: BaseException | None = None

    def event(self, row: str, ends: float) -> str:
        """
        Run a trigger until its first event.

        :param row: the trigger as the database holds it
        :param ends: epoch seconds at which Airflow gives up
        :return: the event as the database holds it
        :raises TimeoutError: if Airflow gives up
        """
        world = self._world
        world.triggerer = self
        try:
            while True:
                try:
                    return self._run(row, ends)
                except Killed:
                    world.tell("airflow", "another triggerer takes the trigger over")
                    world.clock.sleep(_TAKE_OVER)
                except asyncio.CancelledError:
                    if isinstance(self._why, NoTriggerer):
                        world.clock.sleep(max(0.0, ends + _CHECK_INTERVAL - time.time()))
                        raise TimeoutError from None
                    if self._why is not None:
                        raise self._why from None
                    world.tell("airflow", "another triggerer takes the trigger over")
        finally:
            world.triggerer = None

    def interrupt(self, what: str) -> None:
        """Interrupt a deferred task, or its triggerer."""
        world, trigger = self._world, self._trigger
        if self._task is None:
            return
        world.tell("airflow", f"{what} while the task is deferred")
        match what:
            case "kill":
                world.is_dead = True
                raise Killed
            case "no triggerer":
                self._why = NoTriggerer()
            case "stall":
                # The stopped triggerer continues, and treats its triggers as cancelled.
                world.clock.at(world.clock.elapsed + _NOTICED, lambda: self._on_kill(trigger))
            case "clear":
                self._why = Cleared()
                world.state = "scheduled"
                world.clock.at(world.clock.elapsed + _NOTICED, lambda: self._on_kill(trigger))
            case "mark failed":
                self._why = MarkedFailed()
                world.state = "failed"
                world.clock.at(world.clock.elapsed + _NOTICED, lambda: self._on_kill(trigger))
        self._task.cancel()

    def _run(self, row: str, ends: float) -> str:
        path, arguments = json.loads(row)
        module, _, name = path.rpartition(".")
        self._trigger = getattr(importlib.import_module(module), name)(**arguments)
        self._trigger.task_instance = self._key
        with self._world.at_work("triggerer", self._actor):
            forget_process()
            return json.dumps(self._in_a_loop(self._first_event(self._trigger, ends)))

    async def _first_event(self, trigger: Any, ends: float) -> Any:
        self._task = asyncio.current_task()
        for other in self._crowd():
            asyncio.ensure_future(anext(other.run()))  # noqa: RUF006 - the loop ends them
        events = trigger.run()
        event = asyncio.ensure_future(anext(events))
        try:
            while not event.done():
                # The scheduler compares the timeout of a trigger with the wall clock.
                if time.time() >= ends:
                    raise TimeoutError
                await asyncio.wait({event}, timeout=_CHECK_INTERVAL)
            return event.result().payload
        finally:
            self._task = None
            event.cancel()
            await asyncio.wait({event})
            await events.aclose()

    def _crowd(self) -> Iterator[ConnixAgentStatusTrigger]:
        """Make triggers of other tasks that wait in this triggerer and never end."""
        for agent_id in self._world.crowd:
            trigger = ConnixAgentStatusTrigger(PROJECT, agent_id, poll_interval=2.0)
            trigger.task_instance = self._key
            yield trigger

    def _on_kill(self, trigger: Any) -> None:
        """Call a trigger's ``on_kill`` in another triggerer, beside the running process."""
        outer = asyncio.events._get_running_loop()
        asyncio.events._set_running_loop(None)
        try:
            with self._world.at_work("old triggerer", self._actor):
                self._world.tell("airflow", "on_kill of the trigger")
                self._in_a_loop(trigger.on_kill())
        finally:
            asyncio.events._set_running_loop(outer)

    def _in_a_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        loop = JumpingLoop(self._world.clock)
        loop.set_exception_handler(lambda loop, context: None)
        try:
            return loop.run_until_complete(work)
        except Killed:
            self._world.is_dead = True
            raise
        finally:
            _end(loop)


def _end(loop: JumpingLoop) -> None:
    """Cancel all tasks of a loop, and close it."""
    for task in asyncio.all_tasks(loop):
        task.cancel()
    while tasks := asyncio.all_tasks(loop):
        loop.run_until_complete(asyncio.wait(tasks))
    loop.close()
