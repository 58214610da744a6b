"""A history as data: drawn from a seed, printed as a list, and shrunk piece by piece."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from hostile.service_behaviour import CALM, ServiceBehaviour

__all__ = ["MODES", "Fault", "History", "Interruption", "Other", "Run"]

#: Where each kind of task may wait.
MODES = {"operator": ("worker", "deferred"), "sensor": ("poke", "reschedule", "deferred")}


@dataclasses.dataclass(frozen=True)
class Fault:
    """
    A fault between the task and the service, for a limited time.

    :param kind: its effect, in the syntax of :func:`hostile.gateway.fault_effect`
    :param calls: the calls that it hits; empty: all
    :param run: the run of the task in which it is active, from 0
    :param begin: seconds after the run began
    :param end: seconds after the run began
    :param times: how often it hits at most
    """

    kind: str
    calls: tuple[str, ...]
    run: int
    begin: float
    end: float
    times: int

    def __str__(self) -> str:
        which = "/".join(self.calls) or "every request"
        return f"gateway: {self.kind!r} for {which}, at most {self.times} times, until {self.end:g} s"


@dataclasses.dataclass(frozen=True)
class Other:
    """
    An action of another user of the service.

    :param what: ``update``, ``rename``, ``restart``, ``start``, ``pause``, ``stop``, ``delete``, ``create``,
        ``replace`` (delete, and create another of that name), or ``deployment`` (a second deployment of
        Airflow runs a DAG, a run and a task of the same names)
    :param run: the run of the task that it belongs to
    :param at: seconds after that run began; negative: between the run before and this one
    """

    what: str
    run: int
    at: float

    def __str__(self) -> str:
        return f"another user: {self.what} of the agent"


@dataclasses.dataclass(frozen=True)
class Interruption:
    """
    An interruption of the process that runs the task, or of its clock.

    :param what: ``kill`` (SIGKILL; of the triggerer if the task is deferred), ``execution timeout``, ``move``
        (of the trigger to another triggerer), ``stall`` (the same, but the first triggerer is only stopped,
        and continues later), ``no triggerer`` (from then on), ``clear`` (of a deferred task), ``mark
        failed``, ``clock back`` or ``clock forward`` (by an hour), ``secrets down`` or ``secrets up``
    :param at: seconds after the run began
    """

    what: str
    at: float

    def __str__(self) -> str:
        return f"airflow: {self.what}"


@dataclasses.dataclass(frozen=True)
class Run:
    """
    One start of the task by Airflow.

    :param kind: ``first``, ``retry``, ``clear``, or ``same`` (again, with the same try number)
    :param after: seconds after the end of the run before
    :param edit: arguments that the DAG file has from here on
    :param interruptions: the interruptions during the run
    """

    kind: str = "first"
    after: float = 0.0
    edit: dict[str, Any] = dataclasses.field(default_factory=dict)
    interruptions: tuple[Interruption, ...] = ()

    def __str__(self) -> str:
        edited = f" with {self.edit}" if self.edit else ""
        return f"airflow: {self.kind} run of the task{edited}"


@dataclasses.dataclass(frozen=True)
class History:
    """
    All decisions of a history, made before it is played.

    :param seed: the seed of the history, and of every random number in it
    :param operator: the task's kind: ``create``, …, ``sensor``
    :param arguments: the task's arguments; ``agent_id="@alpha"`` stands for the id of the agent of that name
    :param mode: the mode of the task
    :param stored: whether Airflow offers a ``task_state_store``
    :param retries: the task's retries
    :param names: for a mapped create: the name of each task instance
    :param agents: name and status of each agent that exists at the start
    :param crowd: number of other agents for which other tasks wait in the same triggerer
    :param one_machine: whether all processes run on one machine, and so share their rate limits
    """

    seed: int
    operator: str
    arguments: dict[str, Any]
    mode: str
    stored: bool = True
    retries: int = 1
    names: tuple[str, ...] = ()
    agents: tuple[tuple[str, str], ...] = ()
    crowd: int = 0
    one_machine: bool = False
    behaviour: ServiceBehaviour = CALM
    runs: tuple[Run, ...] = (Run(),)
    faults: tuple[Fault, ...] = ()
    others: tuple[Other, ...] = ()

    @property
    def modes(self) -> tuple[str, ...]:
        return MODES["sensor" if self.operator == "sensor" else "operator"]

    def with_mode(self, mode: str) -> History:
        return dataclasses.replace(self, mode=mode)

    def smaller(self) -> Iterator[History]:
        """Yield histories that lack one thing each."""
        if self.crowd:
            yield dataclasses.replace(self, crowd=0)
        if self.one_machine:
            yield dataclasses.replace(self, one_machine=False)
        for index in reversed(range(1, len(self.runs))):
            yield dataclasses.replace(self, runs=_without(self.runs, index))
        for name in ("faults", "others", "agents", "names"):
            for index in range(len(getattr(self, name))):
                yield dataclasses.replace(self, **{name: _without(getattr(self, name), index)})
        for index, run in enumerate(self.runs):
            for number in range(len(run.interruptions)):
                less = dataclasses.replace(run, interruptions=_without(run.interruptions, number))
                yield dataclasses.replace(self, runs=_with(self.runs, index, less))
            if run.edit:
                plain = dataclasses.replace(run, edit={})
                yield dataclasses.replace(self, runs=_with(self.runs, index, plain))
        for name in self.behaviour.differences():
            milder = dataclasses.replace(self.behaviour, **{name: getattr(CALM, name)})
            yield dataclasses.replace(self, behaviour=milder)
        for index, fault in enumerate(self.faults):
            if fault.times > 1:
                once = dataclasses.replace(fault, times=1)
                yield dataclasses.replace(self, faults=_with(self.faults, index, once))
        for name in set(self.arguments) - _NEEDED:
            yield dataclasses.replace(
                self, arguments={key: value for key, value in self.arguments.items() if key != name}
            )

    def told(self) -> list[str]:
        """Return the decisions, one a line."""
        return [
            f"task: {self.operator} in mode {self.mode}, {self.arguments}"
            + (f", mapped over {list(self.names)}" if self.names else "")
            + f", {self.retries} retries, {'with' if self.stored else 'without'} task_state_store",
            *(f"agent {name!r} is {status}" for name, status in self.agents),
            *([f"{self.crowd} other tasks wait for as many other agents"] if self.crowd else []),
            *(["all processes share their rate limits"] if self.one_machine else []),
            *(f"service: {name} = {value!r}" for name, value in self.behaviour.differences().items()),
            *(f"run {fault.run}, {fault.begin:g} s: {fault}" for fault in self.faults),
            *(f"run {other.run}, {other.at:g} s: {other}" for other in self.others),
            *(f"run {index}: {run}" for index, run in enumerate(self.runs)),
            *(
                f"run {index}, {interruption.at:g} s: {interruption}"
                for index, run in enumerate(self.runs)
                for interruption in run.interruptions
            ),
        ]


_NEEDED = {"agent_id", "agent_name", "name", "poll_interval", "poke_interval", "timeout", "description"}


def _without(things: tuple[Any, ...], index: int) -> tuple[Any, ...]:
    return things[:index] + things[index + 1 :]


def _with(things: tuple[Any, ...], index: int, thing: Any) -> tuple[Any, ...]:
    return (*things[:index], thing, *things[index + 1 :])
