"""Play a history with its runs, actions of other users and interruptions, and keep the end of each run."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from connix_provider.client.ratelimit.shared import DIRECTORY_SETTING
from connix_provider.hooks.connix import ConnixHook
from connix_provider.triggers.agent import ConnixAgentStatusTrigger
from hostile.airflow_model import OPERATORS, Ended, TaskInstance, airflow_around
from hostile.clock import Runaway
from hostile.history import History, Run
from hostile.wire import Wire, wired
from hostile.world import World

__all__ = ["Played", "Stage", "stage"]

#: Starts of a killed task after the last run of the history.
_MOST_RESTARTS = 2
#: Seconds between consecutive events, so that the record shows their order.
_A_MOMENT = 0.01
#: Settings that identify a deployment of Airflow.
_BASE_URLS = ("AIRFLOW__API__BASE_URL", "AIRFLOW__WEBSERVER__BASE_URL")


@dataclasses.dataclass
class Played:
    """
    The result of a history that was played.

    :param endings: how each run of each task instance ended, by map index
    :param runaway: why an endless history was stopped
    """

    history: History
    world: World
    endings: dict[int, list[Ended]]
    instances: dict[int, TaskInstance]
    runaway: str = ""

    @property
    def last(self) -> Ended:
        return list(self.endings.values())[-1][-1]


class Stage:
    """
    Play histories one after the other, in one process.

    :param wire: connects the clients with the world
    :param shared: the folder that the processes of one machine share
    """

    def __init__(self, wire: Wire, shared: Path) -> None:
        self._wire = wire
        self._shared = shared

    def play(self, history: History) -> Played:
        """Play one history to its end."""
        for left in self._shared.iterdir():
            left.unlink()
        os.environ[DIRECTORY_SETTING] = str(self._shared) if history.one_machine else ""
        world = self._wire.world = World(history)
        names = list(history.names)
        indices = range(len(names)) if names else [-1]
        instances = {
            index: TaskInstance(world, "task" if index < 0 else f"task[{index}]", index) for index in indices
        }
        played = Played(history, world, {index: [] for index in indices}, instances)
        try:
            for number, run in enumerate(_runs(history, played)):
                self._run(played, number, run)
        except Runaway as endless:
            played.runaway = str(endless)
            return played
        # Changes that the task began take effect after its end.
        world.clock.sleep(300.0)
        world.service.settle(world.clock.elapsed)
        return played

    def _run(self, played: Played, number: int, run: Run) -> None:
        world, history = played.world, played.history
        world.clock.sleep(run.after + _A_MOMENT)
        world.tell("airflow", str(run))
        for other in history.others:
            if other.run == number and other.at < 0:
                if other.what == "deployment" and history.operator == "create":
                    _second_deployment(world)
                else:
                    world.act(other)
                world.clock.sleep(_A_MOMENT)
        world.run, world.run_began = number, world.clock.elapsed
        for other in history.others:
            if other.run == number and other.at >= 0:
                world.clock.at(world.run_began + other.at, lambda other=other: world.act(other))
        for what in run.interruptions:
            world.clock.at(world.run_began + what.at, lambda what=what.what: _interrupt(world, what))
        names = run.edit.get("names") or history.names
        for index, instance in played.instances.items():
            changed = {"name": names[index]} if index >= 0 and index < len(names) else {}
            plain = dataclasses.replace(run, edit={k: v for k, v in run.edit.items() if k != "names"})
            before = played.endings[index]
            if run.kind == "retry" and before and before[-1].outcome not in {"red", "killed"}:
                continue
            if run.kind == "same" and before and before[-1].outcome != "killed":
                continue
            if run.kind == "retry" and instance.was_last:
                continue
            before.append(instance.start(plain, number, **changed))


def _runs(history: History, played: Played) -> Iterator[Run]:
    """Yield the history's runs, and further ones after a kill or a clear."""
    for run in history.runs:
        yield run
        if any(last.outcome == "cleared" for last in _lasts(played)):
            yield Run("clear", 1.0)
    for _ in range(_MOST_RESTARTS):
        if not any(last.outcome == "killed" for last in _lasts(played)):
            return
        yield Run("retry", 5.0)


def _lasts(played: Played) -> list[Ended]:
    return [endings[-1] for endings in played.endings.values() if endings]


def _interrupt(world: World, what: str) -> None:
    match what:
        case "clock back":
            world.clock.skew -= 3600.0
        case "clock forward":
            world.clock.skew += 3600.0
        case "secrets down" | "secrets up":
            world.secrets_are_down = what == "secrets down"
        case _ if world.triggerer is not None:
            return world.triggerer.interrupt(what)
        case _ if world.instance is not None:
            return world.instance.interrupt(what)
        case _:
            return None
    return world.tell("airflow", what)


def _second_deployment(world: World) -> None:
    """Run a task in another deployment of Airflow, with the same names of DAG, run and task."""
    elsewhere = dict.fromkeys(_BASE_URLS, "https://elsewhere.example")
    with patch.dict(os.environ, elsewhere):
        TaskInstance(world, "deployment 2").start(Run(), -1)


class _LogCapture(logging.Handler):
    """Keep each log message."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def emit(self, record: logging.LogRecord) -> None:
        self._wire.world.said.append(record.getMessage())


@contextmanager
def stage() -> Iterator[Stage]:
    """Prepare this process for histories."""
    log = logging.getLogger("connix_provider")
    before = log.level, log.propagate
    here = patch.dict(os.environ, dict.fromkeys(_BASE_URLS, "https://airflow.example"))
    with here, wired() as wire, airflow_around(wire), ExitStack() as stack:
        shared = Path(stack.enter_context(TemporaryDirectory()))
        capture = _LogCapture(wire)
        log.addHandler(capture)
        log.setLevel(logging.DEBUG)
        log.propagate = False
        # Airflow's own logger of a task, hook or trigger writes to places that only a task runner sets up.
        for kind in (*OPERATORS.values(), ConnixHook, ConnixAgentStatusTrigger):
            owner = next(base for base in kind.__mro__ if "log" in vars(base))
            stack.enter_context(patch.object(owner, "log", log))
        try:
            yield Stage(wire, shared)
        finally:
            log.removeHandler(capture)
            log.level, log.propagate = before
