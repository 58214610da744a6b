"""Random sequences of calls, tasks and faults, beside a plain model of which agents there should be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from fault_matrix import FAULTS, SILENT, SUCCEEDED, TASKS
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from in_process import TaskRun
from scenarios import open_scenario
from tally import record

from connix_provider.client import AsyncClient, Client, ConnixError
from connix_provider.emulator import Emulator
from connix_provider.emulator.journal import Entry
from connix_provider.sensors.agent import ConnixAgentStatusSensor

pytestmark = pytest.mark.heavy

NAMES = st.sampled_from(["ada", "bob", "eve"])
#: Which agent a step is about: one that exists, or one that never existed.
WHICH = st.integers(-1, 9)
MISSING_ID = "agent_nobody"
CHANGES = st.sampled_from(
    [{"description": "better"}, {"name": "ada"}, {"name": "zoe"}, {"config": {"temperature": 1.0}}]
)
#: What a change does to an agent that has settled, where the service carries it out.
ENDS = {
    "start_agent": "running",
    "pause_agent": "paused",
    "stop_agent": "stopped",
    "restart_agent": "running",
}
#: What strikes a step itself; most faults concern changes.
FAULT_NAMES = st.none() | st.sampled_from(sorted(FAULTS.keys() - SILENT))
READS = ("get", "list", "logs", "metrics", "iter", "iter_logs")
#: What must not be carried out twice for one wish.
UNSAFE = ("create_agent", "restart_agent")


class Agents(RuleBasedStateMachine):
    """Hold the model: ids with their names and statuses, once everything has settled."""

    emulator: Emulator

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._opened = open_scenario(self.emulator, self._patch)
        self.scenario = self._opened.__enter__()
        self.model: dict[str, tuple[str, str]] = {}
        self._client = Client(self.emulator.api_key, self.emulator.url, verify=False, total_timeout=60)

    def teardown(self) -> None:
        self._client.close()
        self._opened.__exit__(None, None, None)
        self._patch.undo()

    # Faults and other users

    @rule(
        fault=st.sampled_from(sorted(FAULTS.keys() - SILENT)),
        times=st.sampled_from([1, 1, 2, 5, None]),
        after=st.sampled_from([0, 0, 1]),
    )
    def fault_begins(self, fault: str, times: int | None, after: int) -> None:
        self.emulator.faults.add(FAULTS[fault].fault, times=times, after=after)

    @rule()
    def faults_end(self) -> None:
        self.emulator.faults.clear()

    @rule(name=NAMES, status=st.sampled_from(["running", "paused", "stopped", "error"]))
    def another_user_creates_an_agent(self, name: str, status: str) -> None:
        if name not in {taken for taken, _ in self.model.values()}:
            (agent_id,) = self.emulator.seed(name=name, status=status, project_id=self.scenario.project_id)
            self.model[agent_id] = (name, status)

    @rule(which=WHICH)
    def another_user_deletes_an_agent(self, which: int) -> None:
        if (agent_id := self._agent(which)) in self.model:
            self.emulator.remove(agent_id)
            del self.model[agent_id]

    # Calls and tasks

    @rule(
        name=NAMES,
        config=st.sampled_from([{}, {"temperature": 9}]),
        asynchronous=st.booleans(),
        fault=FAULT_NAMES,
    )
    def create(self, name: str, config: dict[str, Any], asynchronous: bool, fault: str | None) -> None:
        self._plan_fault(fault, "create_agent")
        self._call("create", asynchronous, {"name": name, "config": config})

    @rule(
        which=WHICH,
        action=st.sampled_from(["start", "pause", "stop", "restart", "delete"]),
        asynchronous=st.booleans(),
        fault=FAULT_NAMES,
    )
    def act(self, which: int, action: str, asynchronous: bool, fault: str | None) -> None:
        self._plan_fault(fault, f"{action}_agent")
        agent_id = self._agent(which)
        if self._call(action, asynchronous, agent_id) is None:
            return
        # The agent is gone after one call, and another call finds it gone.
        if action == "delete":
            assert agent_id not in self.model
        elif not self._was_hit_by("ends_in_error"):
            assert self.model[agent_id][1] == ENDS[f"{action}_agent"]

    @rule(which=WHICH, changes=CHANGES, asynchronous=st.booleans(), fault=FAULT_NAMES)
    def update(self, which: int, changes: dict[str, Any], asynchronous: bool, fault: str | None) -> None:
        self._plan_fault(fault, "update_agent")
        self._call("update", asynchronous, self._agent(which), changes, changes=changes)

    @rule(which=WHICH, what=st.sampled_from(READS), asynchronous=st.booleans())
    def read(self, which: int, what: str, asynchronous: bool) -> None:
        listing = what in {"list", "iter"}
        seen = self._call(what, asynchronous, *(() if listing else (self._agent(which),)))
        odd = any(entry.fault == "unknown_status" for entry in self.emulator.journal.entries())
        if seen is None or odd or what in {"logs", "metrics", "iter_logs"}:
            return
        agents = {agent.id: (agent.name, str(agent.status)) for agent in (seen if listing else [seen])}
        assert agents == self.model if listing else agents.items() <= self.model.items()

    @rule(
        which=WHICH,
        task=st.sampled_from([*TASKS, "sensor"]),
        name=NAMES,
        deferrable=st.booleans(),
        tries=st.integers(1, 2),
        fault=FAULT_NAMES,
    )
    def run_a_task(
        self, which: int, task: str, name: str, deferrable: bool, tries: int, fault: str | None
    ) -> None:
        self._plan_fault(fault, "get_agent" if task == "sensor" else TASKS[task].action)
        about = {"name": name} if task == "create" else {"agent_id": self._agent(which)}
        if task == "update":
            about["description"] = "better"
        make = ConnixAgentStatusSensor if task == "sensor" else TASKS[task].operator
        interval = {"poke_interval" if task == "sensor" else "poll_interval": 10}
        run = TaskRun(
            self.scenario.warp,
            make,
            remembering=True,
            project_id=self.scenario.project_id,
            timeout=45,
            deferrable=deferrable,
            **interval,
            **about,
        )

        def run_tries() -> Any:
            for attempt in range(1, tries + 1):
                ran = run.try_once()
                assert all(entry.at.timestamp() <= ran.deadline for entry in self.emulator.journal.entries())
                if ran.error is None or attempt == tries:
                    break
                self.scenario.warp.sleep(60)
            if ran.error is not None:
                raise ran.error
            return ran.result

        agent_id = self._watch(f"task {task}", run_tries, name=about.get("name", ""), unsafe=tries)
        if agent_id is not None and task in TASKS and not self._was_hit_by("404", "unknown_status"):
            status = None if agent_id not in self.model else self.model[agent_id][1]
            settled = TASKS[task].after if task != "update" else status
            assert status == settled

    # Invariant

    @invariant()
    def model_and_service_agree(self) -> None:
        truth = {agent["id"]: (agent["name"], agent["status"]) for agent in self.scenario.agents()}
        assert truth == self.model

    # Steps of the rules

    def _agent(self, which: int) -> str:
        # By name: ids are random, and a sequence that is played again must mean the same.
        ids = sorted(self.model, key=self.model.__getitem__)
        return ids[which % len(ids)] if ids and which >= 0 else MISSING_ID

    def _plan_fault(self, fault: str | None, call: str) -> None:
        if fault is not None and call in FAULTS[fault].fault.calls:
            self.emulator.faults.add(FAULTS[fault].fault, on=call)

    def _was_hit_by(self, *names: str) -> bool:
        return any(
            entry.fault in names or (entry.fault and str(entry.status) in names)
            for entry in self.emulator.journal.entries()
        )

    def _call(
        self, method: str, asynchronous: bool, *args: Any, changes: dict[str, Any] | None = None
    ) -> Any:
        """Carry out one call of the client."""

        def call() -> Any:
            if not asynchronous:
                result = getattr(self._client.agents, method)(self.scenario.project_id, *args)
                return list(result) if method.startswith("iter") else result
            return asyncio.run(self._call_async(method, args))

        name = args[0]["name"] if method == "create" else (changes or {}).get("name", "")
        return self._watch(f"call {method}", call, name=name, unsafe=1)

    async def _call_async(self, method: str, args: tuple[Any, ...]) -> Any:
        bounds = {"verify": False, "total_timeout": 60}
        async with AsyncClient(self.emulator.api_key, self.emulator.url, **bounds) as client:
            result = getattr(client.agents, method)(self.scenario.project_id, *args)
            return [item async for item in result] if method.startswith("iter") else await result

    def _watch(self, what: str, work: Callable[[], Any], *, name: str, unsafe: int) -> Any:
        """Do something, let it settle, and bring the model up to date with what the service carried out."""
        self.emulator.journal.clear()
        result = error = None
        try:
            result = work()
        except (ConnixError, AirflowException, ValueError) as caught:
            error = caught
        self.scenario.warp.sleep(60)
        done = [entry for entry in self.emulator.journal.executed() if entry.method != "GET"]
        for entry in done:
            self._apply(entry, name)
        repeats = {call: sum(entry.call == call for entry in done) for call in UNSAFE}
        record(
            "random sequences",
            SUCCEEDED if error is None else "failed",
            unsafe_repeats=sum(max(0, count - 1) for count in repeats.values()) if unsafe == 1 else 0,
            creates_doubled=max(0, repeats["create_agent"] - 1),
        )
        # A wish creates or restarts once, or once for each try that ended in error.
        assert repeats["create_agent"] <= 1
        assert repeats["restart_agent"] <= unsafe
        if isinstance(error, ConnixError) and what.startswith("call ") and not error.may_have_executed:
            assert not done
        if error is None and what in {"call create", "call restart"}:
            assert done
        return result

    def _apply(self, entry: Entry, name: str) -> None:
        """Do to the model what the service did to its agents."""
        if entry.call == "create_agent":
            (made,) = (agent for agent in self.scenario.agents() if agent["id"] not in self.model)
            assert made["name"] == name
            self.model[made["id"]] = (name, "error" if entry.fault == "ends_in_error" else "running")
        elif entry.call == "delete_agent":
            self.model.pop(str(entry.agent_id), None)
        elif entry.agent_id in self.model:
            was, status = self.model[entry.agent_id]
            if entry.call == "update_agent":
                was = name or was
            else:
                status = ENDS[str(entry.call)]
            self.model[entry.agent_id] = (was, "error" if entry.fault == "ends_in_error" else status)


def test_no_history_loses_or_doubles_an_action(emulator):
    here = type("Here", (Agents,), {"emulator": emulator})
    everyday = settings.default
    bounds = settings(everyday, max_examples=everyday.max_examples // 4)
    run_state_machine_as_test(here, settings=bounds)
