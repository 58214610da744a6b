"""
Carry out a plan on a worker: the requests of each agent, and the waits between them.

Each agent has a flow (:mod:`connix_provider.operators._apply.loop`), so one agent's wait delays no other
agent. Agents are deleted last, and only if nothing failed before.

Invariants:

- A create and a restart are sent once, over lost responses and retries of the task.
- An action is sent only to an agent that was just read, and each action only once.
- An agent is deleted only if its metadata still names the owner.
- A retry is not green over an agent that an earlier try created or updated and that failed since.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.providers.common.compat.sdk import AirflowException

from connix_provider.agent_lookup import name_conflict
from connix_provider.client.errors import ConnixNotFoundError
from connix_provider.exceptions import ConnixAgentFailedError
from connix_provider.lifecycle import GOALS, REPLICA_LAG
from connix_provider.operators._agent.actions import send_action
from connix_provider.operators._agent.diff import changed_fields, difference
from connix_provider.operators._agent.update_existing import accepted_update
from connix_provider.operators._apply.loop import AgentFlow, AgentWait, FlowDriver
from connix_provider.operators._apply.plan import AgentChange, ApplyPlan, owner_mark
from connix_provider.operators._apply.records import ApplyRecords
from connix_provider.operators._base.busy_agent import AgentBusyError, raise_if_busy
from connix_provider.operators._base.identity import APPLY_OWNER_FIELD, IDENTITY_FIELD, identity_key
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.operators._base.task_state import ActionRecord, recorded
from connix_provider.operators._once import create_once
from connix_provider.operators._once.restart_once import restart_in_run
from connix_provider.polling.outcome_errors import exception_for
from connix_provider.polling.poll_result import Outcome
from connix_provider.statuses import TRANSIENT, AgentStatus, status_phrase

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Agent
    from connix_provider.hooks.connix import ConnixHook
    from connix_provider.operators._apply.spec import AgentSpec
    from connix_provider.operators._base.base_operator import PollingOperator
    from connix_provider.polling.poll_result import PollResult
    from connix_provider.polling.worker_loop import PollingSession

__all__ = ["ApplyRun", "agent_key"]

#: The action that leads from a status towards a declared state.
_ACTIONS = {
    AgentStatus.RUNNING: {"paused": "start", "stopped": "start", "error": "restart"},
    AgentStatus.PAUSED: {"running": "pause", "stopped": "start", "error": "restart"},
    AgentStatus.STOPPED: {"running": "stop", "paused": "stop", "error": "stop"},
}


def agent_key(context: Context, name: str) -> str:
    """
    Return the identity key of an agent that a task run creates.

    :return: the key of the task run, and the name
    """
    return f"{identity_key(context)}/{quote(name, safe=':+@ ')}"


class ApplyRun:
    """
    One run of a plan.

    :param task: the task; its waits have the task's poll interval, deadline and log
    :param deadline: epoch seconds at which the task times out
    """

    def __init__(
        self,
        task: PollingOperator,
        hook: ConnixHook,
        polling_session: PollingSession,
        plan: ApplyPlan,
        context: Context,
        deadline: float,
    ) -> None:
        self._task = task
        self._polling_session = polling_session
        self._project_id = plan.project_id
        self._plan = plan
        self._context = context
        self._deadline = deadline
        self._driver = FlowDriver(hook, polling_session, plan.project_id, task.log)
        self._log = task.log
        #: What earlier starts of the task requested.
        self.records = ApplyRecords(context)
        #: By agent id, epoch seconds at which a create made or found the agent.
        self._found_at: dict[str, float] = {}
        #: By name, the ids of the agents that exist.
        self.agent_ids: dict[str, str] = {}

    def carry_out(self) -> list[Exception]:
        """
        Carry out the plan.

        :return: the agents that failed
        :raises ConnixError: for a refused key, and for a rate limit that is used up until the deadline
        """
        kept = [change for change in self._plan.agents if change.action != "delete"]
        deletes = [change for change in self._plan.agents if change.action == "delete"]
        self._driver.run((change, self._apply_agent(change)) for change in kept)
        if deletes and self._driver.failures:
            self._log.warning("%d agents are not deleted, because others failed.", len(deletes))
        else:
            self._driver.run((change, self._delete(change)) for change in deletes)
        return self._driver.failures

    # The flows

    def _apply_agent(self, change: AgentChange) -> AgentFlow:
        """Create or update an agent, and bring it to its declared state."""
        spec, agent = change.spec, change.agent
        assert spec is not None
        state, is_new = spec.state, agent is None
        must_run = agent is not None and self._is_unfinished_create(spec, agent)
        agent = agent or self._create(spec)
        self.agent_ids[spec.name] = agent.id
        if is_new or must_run:
            self._found_at[agent.id] = time.time()
        if is_new:
            sent = SentAction.of(agent, "create", accepted_at=time.time())
            yield from self._await(sent, is_last=spec.state in {None, AgentStatus.RUNNING})
        if difference(spec.body, agent):
            # The plan may be minutes old, because updates wait for their rate limit.
            yield from self._update(spec, agent if is_new else (yield from self._read(agent.id)))
        elif not is_new and spec.state is None and self.records.updates.get(agent.id):
            yield from self._update(spec, agent)
        if must_run:
            self._log.info("Agent %s must run, because an earlier try created it.", agent.label)
            state = AgentStatus.RUNNING
        if state and (must_run or change.action != "none"):
            yield from self._bring_to_state(state, agent.id)
        if spec.state is None and (is_new or must_run):
            self.records.creates.write(spec.name, None)

    def _is_unfinished_create(self, spec: AgentSpec, agent: Agent) -> bool:
        """Return whether an earlier start of the task created an agent that has not run yet."""
        if spec.state is not None or not self._task.wait_for_completion:
            return False
        is_own = agent.metadata.get(IDENTITY_FIELD) == agent_key(self._context, spec.name)
        return is_own and self.records.creates.get(spec.name) is not None

    def _create(self, spec: AgentSpec) -> Agent:
        """Create an agent, or find the one that an earlier request of this task run created."""
        mark = {APPLY_OWNER_FIELD: owner_mark(self._plan.owner)}
        body = {**spec.body, "metadata": {**spec.body.get("metadata", {}), **mark}}
        recording: AbstractContextManager[None] = nullcontext()
        if spec.state is None and self.records.creates.get(spec.name) is None:
            record_store = self.records.creates.record_store(spec.name)
            recording = recorded(record_store, ActionRecord("", agent_name=spec.name))
        with recording:
            found = create_once.create_once(
                self._polling_session.client,
                self._project_id,
                body,
                agent_key(self._context, spec.name),
                may_have_sent=self._task.may_have_sent(self._context),
            )
            if not found.is_own:
                raise name_conflict(
                    f"agent {found.agent.label} was created by others since the plan was made. "
                    "It is left as it is; a retry of this task brings it to the spec"
                )
        return found.agent

    def _update(self, spec: AgentSpec, agent: Agent) -> AgentFlow:
        """Send the fields that differ, and wait until the agent has settled."""
        # Only the first use reads the records, and a declared state needs none of them.
        updates = self.records.updates if spec.state is None else None
        record = None if updates is None else updates.get(agent.id)
        before = record.before if record and record.before else agent.snapshot()

        def send(agent: Agent) -> SentAction | None:
            changes = difference(spec.body, agent)
            if not changes:
                # Without a record, others made the same update.
                is_sent = updates is not None and updates.get(agent.id) is not None
                return (
                    SentAction.of(agent, "update", before=before, accepted_at=time.time())
                    if is_sent
                    else None
                )
            recording: AbstractContextManager[None] = nullcontext()
            if updates is not None:
                sent_record = ActionRecord(agent.id, agent.name, before)
                recording = recorded(updates.record_store(agent.id), sent_record)
            self._log.info("Updating agent %s: %s.", agent.label, changed_fields(changes, agent))
            with raise_if_busy(agent.id, "update", agent.snapshot()), recording:
                updated = self._polling_session.client.agents.update(self._project_id, agent.id, changes)
            return accepted_update(agent, updated, changes, before)

        yield from self._send("update", agent, send, is_last=spec.state is None)
        if updates is not None:
            updates.write(agent.id, None)

    def _bring_to_state(self, declared: str, agent_id: str) -> AgentFlow:
        """Send the actions that lead to the declared state, each at most once."""
        state, requested = AgentStatus(declared), set[str]()
        while True:
            agent = yield from self._read(agent_id)
            if agent.status == state:
                return
            action = _ACTIONS[state].get(agent.status)
            if action is None:
                # It is creating, updating, or in a status that this provider does not know.
                yield from self._await(SentAction.of(agent, "settle"))
                continue
            if action in requested:
                raise self._failed(agent, state)
            requested.add(action)
            is_last = GOALS[action].done == {state}
            yield from self._send(action, agent, self._action(action), is_last=is_last)
            if is_last and not self._task.wait_for_completion:
                return

    def _action(self, action: str) -> Callable[[Agent], SentAction | None]:
        client, context = self._polling_session.client, self._context

        def send(agent: Agent) -> SentAction | None:
            if agent.status in TRANSIENT:
                raise AgentBusyError(
                    agent.id, action, before=agent.snapshot(), reason=f"it is {agent.status}"
                )
            if action != "restart":
                may_have_executed = self._task.may_have_sent(context)
                return send_action(
                    client, self._project_id, agent, action, may_have_executed=may_have_executed
                )
            self._log.warning("Agent %s is in error; restarting it once.", agent.label)
            return restart_in_run(
                client,
                self._project_id,
                agent.id,
                record=self.records.restarts.get(agent.id),
                record_store=self.records.restarts.record_store(agent.id),
                read=lambda: agent,
            )

        return send

    def _delete(self, change: AgentChange) -> AgentFlow:
        """Delete an agent, if it still is the owner's."""
        assert change.agent is not None
        mark = owner_mark(self._plan.owner)

        def send(agent: Agent) -> SentAction | None:
            if agent.metadata.get(APPLY_OWNER_FIELD) != mark:
                raise AirflowException(
                    f"Agent {agent.label} is not deleted: its metadata no longer names the "
                    f"owner {self._plan.owner!r}"
                )
            with raise_if_busy(agent.id, "delete", agent.snapshot()):
                self._polling_session.client.agents.delete(self._project_id, agent.id)
            return SentAction.of(agent, "delete", accepted_at=time.time())

        try:
            agent = yield from self._read(change.agent.id)
            yield from self._send("delete", agent, send, is_last=True)
        except ConnixNotFoundError as error:
            if not error.is_of_an_agent:
                raise
            self._log.info("Agent %s is gone already.", change.agent.label)

    # Their steps

    def _send(
        self, verb: str, agent: Agent, send: Callable[[Agent], SentAction | None], *, is_last: bool
    ) -> AgentFlow:
        """Send a request, again after a busy agent has settled, and wait for its goal."""
        repeats, may_have_executed = 0, False
        while True:
            try:
                sent = send(agent)
            except AgentBusyError as error:
                busy = error
            else:
                if sent is not None:
                    yield from self._await(sent, is_last=is_last)
                return
            may_have_executed = busy.may_have_executed = may_have_executed or busy.may_have_executed
            repeats += 1
            self._log.info(
                "Agent %s: waiting until it has settled to send the %s. %s", agent.label, verb, busy
            )
            settling = SentAction.of(agent, "settle", before=busy.before)
            wait = yield from self._await(settling)
            if pause := busy.delay_before_repeat(wait.poller.state, repeats):
                yield from self._await(settling, pause=pause)
            agent = yield from self._read(agent.id)

    def _await(
        self, sent: SentAction, *, is_last: bool = False, pause: float = 0.0
    ) -> Generator[AgentWait, PollResult, AgentWait]:
        """Wait for the goal of an action; not for the last one with ``wait_for_completion=False``."""
        sent = dataclasses.replace(sent, found_at=self._found_at.get(sent.agent_id))
        poller = self._task.make_poller(sent, str(sent.goal), self._deadline)
        wait = AgentWait(poller, due=time.monotonic() + pause)
        if sent.goal is None or (is_last and not (self._task.wait_for_completion or sent.is_unconfirmed)):
            return wait
        result = yield wait
        if result.outcome is not Outcome.DONE:
            raise exception_for(result)
        self._log.info("%s", result.message)
        return wait

    def _read(self, agent_id: str) -> Generator[AgentWait, PollResult, Agent]:
        """Read an agent. Soon after its create, a 404 only means that a read replica lags behind."""
        until = self._found_at.get(agent_id, -math.inf) + REPLICA_LAG
        while True:
            try:
                return self._polling_session.client.agents.get(self._project_id, agent_id)
            except ConnixNotFoundError as error:
                if not error.is_of_an_agent or time.time() >= until:
                    raise
            yield from self._await(SentAction(agent_id, "settle"), pause=1.0)

    def _failed(self, agent: Agent, state: str) -> Exception:
        return ConnixAgentFailedError(
            f"Agent {agent.label} is {status_phrase(agent.status)} and not {state}, as the spec "
            f"declares. Look at its log, then clear the task",
            agent_id=agent.id,
            agent_name=agent.name,
            project_id=self._project_id,
            status=str(agent.status),
        )
