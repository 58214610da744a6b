"""Create, update, start, pause, stop, restart and delete Connix agents."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from connix_provider.client.errors import ConnixConflictError, ConnixNotFoundError
from connix_provider.lifecycle import DOWN, SETTLED, AgentStatus, Snapshot
from connix_provider.operators.base import Acted
from connix_provider.operators.description import DescribesAgent
from connix_provider.operators.existing import ConnixActionOperator, ConnixExistingAgentOperator
from connix_provider.targets import resolve_agent_id

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Agent, Client

__all__ = [
    "ConnixCreateAgentOperator",
    "ConnixDeleteAgentOperator",
    "ConnixPauseAgentOperator",
    "ConnixRestartAgentOperator",
    "ConnixStartAgentOperator",
    "ConnixStopAgentOperator",
    "ConnixUpdateAgentOperator",
]

IF_EXISTS = ("fail", "adopt", "update")


class ConnixCreateAgentOperator(DescribesAgent):
    """
    Create an agent and wait until it runs.

    One run of a task leaves one agent, whatever is lost, killed or retried: see
    :mod:`connix_provider.operators.once`. Reference: "Create Agent".

    :param name: the agent's name, unique in its project
    :param config: model, temperature, tools, system prompt, environment variables, …
    :param description: what the agent is for
    :param metadata: anything to keep with the agent
    :param if_exists: what to do about an agent of that name that this task run did not create: ``fail``
        (default), ``adopt`` it as it is, or ``update`` it to what is asked for here, which leaves a paused or
        stopped one paused or stopped

    The other parameters are those of :class:`~connix_provider.operators.base.ConnixAgentOperator`.
    """

    template_fields: Sequence[str] = (*DescribesAgent.template_fields, "if_exists")

    def __init__(
        self, *, name: str, if_exists: Literal["fail", "adopt", "update"] = "fail", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.if_exists = if_exists

    def check(self) -> None:
        """Check the parameters, before anything is sent."""
        super().check()
        if self.if_exists not in IF_EXISTS:
            raise ValueError(f"if_exists must be one of {', '.join(IF_EXISTS)}, not {self.if_exists!r}")
        if not self.name or not self.name.strip():
            raise ValueError("name must be a string that is not empty")

    def act(self, client: Client, project_id: str, context: Context) -> Acted:
        """Create the agent, or adopt the one that is ours."""
        from connix_provider.operators import once

        body = self.body()
        key = once.task_key(context)
        agent, ours = once.create_once(client, project_id, body, key, retried=self.is_repeated(context))
        if ours:
            return self._bring_up(client, project_id, agent)
        if self.if_exists == "fail":
            _refuse_stranger(agent, key)
        if self.if_exists == "adopt":
            self.log.info("Agent %s named %r exists and is adopted as it is.", agent.id, agent.name)
            return Acted(agent.id, "create")
        self.log.info("Agent %s named %r exists and is updated.", agent.id, agent.name)
        changes = {name: value for name, value in body.items() if name != "name"}
        return _update(client, project_id, agent.id, changes) if changes else Acted(agent.id, "create")

    def find_unfinished(self, client: Client, project_id: str, context: Context) -> Acted | None:
        """Find the agent whose create was under way when the task was killed."""
        from connix_provider.operators import once

        agent = once.find_ours(client, project_id, str(self.name), once.task_key(context))
        return Acted(agent.id, undo="delete") if agent else None

    def _bring_up(self, client: Client, project_id: str, agent: Agent) -> Acted:
        """Get our agent going; one that an earlier try left behind may be down, and stays so by itself."""
        from connix_provider.operators import once
        from connix_provider.operators.turn import in_turn

        self.log.info("Agent %s named %r is %s.", agent.id, agent.name, agent.status)
        if agent.status == AgentStatus.ERROR:
            self.log.warning("Agent %s ended in error in an earlier try; it is restarted once.", agent.id)
            once.restart_once(client, project_id, agent)
            return Acted(agent.id, "restart", agent.snapshot(), undo="delete", accepted_at=time.time())
        if agent.status in DOWN:
            self.log.warning("Agent %s was %s since an earlier try; it is started.", agent.id, agent.status)
            with in_turn(agent.id, "start", agent.snapshot()):
                client.agents.start(project_id, agent.id)
            return Acted(agent.id, "start", agent.snapshot(), undo="delete", accepted_at=time.time())
        return Acted(agent.id, "create", undo="delete", accepted_at=time.time())


class ConnixUpdateAgentOperator(DescribesAgent, ConnixExistingAgentOperator):
    """
    Change an agent's configuration and wait until the change has taken hold.

    The service merges: only what is given here is sent, everything else stays. Reference: "Update Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param name: the new name
    :param config: what to change in the configuration
    :param description: the new description
    :param metadata: what to change in the metadata

    The other parameters are those of :class:`~connix_provider.operators.base.ConnixAgentOperator`.
    """

    template_fields: Sequence[str] = (
        *ConnixExistingAgentOperator.template_fields,
        *DescribesAgent.description_fields,
    )

    def check(self) -> None:
        """Check the parameters, before anything is sent."""
        super().check()
        if not self.body():
            raise ValueError("there is nothing to update: give name, config, description or metadata")

    def act_on(self, client: Client, project_id: str, agent_id: str, context: Context) -> Acted:
        """Send the change."""
        return _update(client, project_id, agent_id, self.body())


class ConnixStartAgentOperator(ConnixActionOperator):
    """
    Start a paused or stopped agent and wait until it runs.

    An agent that runs already is a success. Reference: "Start Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters are those of :class:`~connix_provider.operators.base.ConnixAgentOperator`.
    """

    action = "start"


class ConnixPauseAgentOperator(ConnixActionOperator):
    """
    Pause a running agent and wait until it is paused.

    An agent that is paused already is a success. Reference: "Pause Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters are those of :class:`~connix_provider.operators.base.ConnixAgentOperator`.
    """

    action = "pause"


class ConnixStopAgentOperator(ConnixActionOperator):
    """
    Stop an agent and wait until it is stopped.

    An agent that is stopped already is a success. Reference: "Stop Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters are those of :class:`~connix_provider.operators.base.ConnixAgentOperator`.
    """

    action = "stop"


class ConnixRestartAgentOperator(ConnixActionOperator):
    """
    Restart an agent and wait until it runs again.

    The reply may say ``running`` before the agent went down, so the wait looks for a change of
    ``updated_at``. Reference: "Restart Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id

    The other parameters are those of :class:`~connix_provider.operators.base.ConnixAgentOperator`.
    """

    action = "restart"
    remembers = True

    def act_on(self, client: Client, project_id: str, agent_id: str, context: Context) -> Acted:
        """Send the restart once the change it makes can be told from the change before."""
        from connix_provider.operators import memory, once
        from connix_provider.operators.turn import in_turn

        agent = None
        if (before := _remembered_restart(self.recall(context), agent_id)) is not None:
            agent = once.await_change(client, project_id, agent_id, before)
            if agent and agent.status != AgentStatus.ERROR:
                self.log.info("An earlier try of this task restarted agent %s; waiting for it.", agent_id)
                return Acted(agent_id, "restart", before, accepted_at=time.time())
            if agent:
                self.log.warning(
                    "Agent %s ended in error after an earlier try; it is restarted once.", agent_id
                )
        agent = agent or client.agents.get(project_id, agent_id)
        once.await_next_second(client, agent)
        moment = agent.updated_at.isoformat() if agent.updated_at else None
        intent = {"agent_id": agent_id, "status": agent.status, "updated_at": moment}
        with in_turn(agent_id, "restart", agent.snapshot()), memory.remembered(context, intent):
            once.restart_once(client, project_id, agent)
        return Acted(agent_id, "restart", agent.snapshot(), accepted_at=time.time())


class ConnixDeleteAgentOperator(ConnixExistingAgentOperator):
    """
    Delete an agent with all its data and wait until it is gone.

    Reference: "Delete Agent".

    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param ignore_if_missing: whether an agent that does not exist is a success, default no

    The other parameters are those of :class:`~connix_provider.operators.base.ConnixAgentOperator`.
    """

    remembers = True

    def __init__(self, *, ignore_if_missing: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_if_missing = ignore_if_missing

    def act(self, client: Client, project_id: str, context: Context) -> Acted:
        """Delete the agent, or find that there is none."""
        earlier = self._deleted_earlier(client, project_id, context)
        try:
            if earlier:
                # What was written down stays: a refusal of this one tells nothing of the first.
                return self._delete(client, project_id, earlier)
            return super().act(client, project_id, context)
        except ConnixNotFoundError as error:
            if not error.is_of_an_agent:
                raise
            if earlier:
                self.log.info("An earlier try of this task deleted agent %s: %s", earlier, error)
                return Acted(earlier)
            if not self.ignore_if_missing:
                raise
            self.log.info("Nothing to delete: %s", error)
            return Acted(str(self.agent_id or self.agent_name))

    def act_on(self, client: Client, project_id: str, agent_id: str, context: Context) -> Acted:
        """Send the delete."""
        from connix_provider.operators import memory

        with memory.remembered(context, {"agent_id": agent_id, "agent_name": self.agent_name}):
            return self._delete(client, project_id, agent_id)

    def _delete(self, client: Client, project_id: str, agent_id: str) -> Acted:
        reply = client.agents.delete(project_id, agent_id)
        self.log.info("Connix accepted the delete of agent %s: %s", agent_id, reply.message or "done")
        return Acted(agent_id, "delete")

    def _deleted_earlier(self, client: Client, project_id: str, context: Context) -> str | None:
        """Say what an earlier try was about to delete; its name may be another agent's by now."""
        earlier = self.recall(context)
        if earlier is None:
            return None
        agent_id = str(earlier["agent_id"])
        if self.agent_id is not None:
            meant = resolve_agent_id(client, project_id, self.agent_id, self.agent_name)
            return agent_id if agent_id == meant else None
        is_meant = self.agent_name is not None and earlier.get("agent_name") == self.agent_name
        return agent_id if is_meant else None


def _remembered_restart(earlier: Mapping[str, Any] | None, agent_id: str) -> Snapshot | None:
    """Return the agent as it was before an earlier try of this task asked for its restart."""
    if earlier is None or earlier.get("agent_id") != agent_id:
        return None
    moment = earlier.get("updated_at")
    return Snapshot(str(earlier.get("status")), datetime.fromisoformat(moment) if moment else None)


def _update(client: Client, project_id: str, agent_id: str, changes: Mapping[str, Any]) -> Acted:
    """Send a change; the wait begins at the agent as the service answered with it."""
    from connix_provider.operators.turn import in_turn

    with in_turn(agent_id, "update"):
        reply = client.agents.update(project_id, agent_id, changes)
    # A reply that is settled already will not change any more: then the first look may be believed.
    before = None if reply.status in SETTLED else reply.snapshot()
    return Acted(agent_id, "update", before, accepted_at=time.time())


def _refuse_stranger(agent: Agent, key: str) -> NoReturn:
    from connix_provider.operators.once import TASK_KEY

    theirs = agent.metadata.get(TASK_KEY)
    owner = f"the Airflow task run {theirs}" if theirs else "somebody else"
    raise ConnixConflictError(
        409,
        "agent_conflict",
        f"agent {agent.id} named {agent.name!r} exists ({agent.status}) and belongs to {owner}, not to this "
        f"task run ({key}); give another name, or set if_exists to 'adopt' or 'update'",
    )
