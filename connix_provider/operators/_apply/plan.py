"""
Compare declared agents with those that exist: the plan of an apply.

A plan is passed as JSON through XCom, from a dry run to the task that carries it out. It holds no secret, so
that task computes the plan again from the declaration and the agents, and compares the two
(:meth:`ApplyPlan.check_saved`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from connix_provider.digest import digest
from connix_provider.operators._agent.config import REMEDY_FOR_TEXT
from connix_provider.operators._agent.diff import difference
from connix_provider.operators._apply.diff import diff_lines, field_changes
from connix_provider.operators._apply.spec import AgentSpec
from connix_provider.operators._base.identity import APPLY_OWNER_FIELD, deployment_id
from connix_provider.polling.selection import get_agent_if_present
from connix_provider.values import agent_label, quoted

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client

__all__ = ["AgentChange", "ApplyPlan", "check_saved_plan", "make_plan", "owner_mark"]

_ACTIONS = ("create", "update", "delete")


@dataclasses.dataclass(frozen=True, slots=True)
class AgentChange:
    """
    What a plan does with one agent.

    :param action: ``create``, ``update``, ``delete`` or ``none``; an update may change the state alone
    :param spec: the declared agent; ``None`` for a delete
    :param agent: the agent that exists, from Get Agent; ``None`` for a create
    :param changes: the body of the update; it holds secrets
    """

    action: str
    name: str
    spec: AgentSpec | None = None
    agent: Agent | None = None
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def agent_id(self) -> str | None:
        """The id of the agent that exists."""
        return self.agent.id if self.agent else None

    @property
    def fingerprint(self) -> str | None:
        """A digest of the agent: of its status, its last change, and all that an update can change."""
        if self.agent is None:
            return None
        snapshot = self.agent.snapshot()
        # Secrets are covered by a digest already, which has a key.
        return digest(
            b"", snapshot.status, str(snapshot.updated_at), snapshot.updated_at_text, snapshot.content
        )

    def to_json(self) -> dict[str, Any]:
        """Describe the change without secrets."""
        status = str(self.agent.status) if self.agent else None
        wanted = self.spec.state if self.spec else None
        return {
            "action": self.action,
            "name": self.name,
            "agent_id": self.agent_id,
            "fields": field_changes(self.spec.body, self.changes, self.agent) if self.spec else [],
            "state": {"from": status, "to": wanted} if wanted and wanted != status else None,
            "fingerprint": self.fingerprint,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class ApplyPlan:
    """
    The changes that bring a project's agents to a declaration.

    :param owner: the owner of the apply
    :param prune: whether the plan deletes agents that are no longer declared
    :param agents: a change for each declared agent, in the declared order, then the deletes
    :param digest_key: the key of the declaration's digest, because the declaration holds secrets
    """

    owner: str
    project_id: str
    prune: bool
    agents: Sequence[AgentChange]
    digest_key: bytes = dataclasses.field(default=b"", repr=False)

    @property
    def changes(self) -> list[AgentChange]:
        """The agents to create, update or delete."""
        return [agent for agent in self.agents if agent.action != "none"]

    @property
    def spec_digest(self) -> str:
        """A digest of the declaration."""
        specs = [agent.spec for agent in self.agents if agent.spec]
        return digest(self.digest_key, self.prune, [(spec.body, spec.state) for spec in specs])

    def summary(self) -> dict[str, int]:
        """
        Count the agents.

        :return: the numbers to ``create``, ``update`` and ``delete``, and of those that are ``unchanged``
        """
        actions = [agent.action for agent in self.agents]
        return {action: actions.count(action) for action in _ACTIONS} | {"unchanged": actions.count("none")}

    def to_json(self) -> dict[str, Any]:
        """
        Describe the plan without secrets.

        :return: plain JSON; ``diff`` is the same as text
        """
        changes = [change.to_json() for change in self.changes]
        unchanged = [agent for agent in self.agents if agent.action == "none"]
        return {
            "owner": self.owner,
            "project_id": self.project_id,
            "prune": self.prune,
            "spec": self.spec_digest,
            "summary": self.summary(),
            "changes": changes,
            "unchanged": [{"name": agent.name, "agent_id": agent.agent_id} for agent in unchanged],
            "diff": "\n".join([self.headline(), *map(diff_lines, changes)]),
        }

    def headline(self) -> str:
        """
        Say what the plan does.

        :return: one sentence
        """
        counts = self.summary()
        return (
            f"Agents of owner {self.owner!r} in project {self.project_id}: {counts['create']} to create, "
            f"{counts['update']} to update, {counts['delete']} to delete, {counts['unchanged']} unchanged."
        )

    def check_saved(
        self, saved: Mapping[str, Any], *, is_own: Mapping[str, bool], may_have_sent: bool
    ) -> None:
        """
        Check that a saved plan is still right.

        In a retry, the earlier try of the task may have carried out a part of the plan. So an agent that has
        all declared fields is accepted there.

        :param saved: the saved plan, as :meth:`to_json` made it and :func:`check_saved_plan` accepts it
        :param is_own: by name, whether this task run created the agent
        :param may_have_sent: whether an earlier try of this task run may have carried out a part of it
        :raises ValueError: if the declaration or an agent changed since
        """
        for field in ("owner", "project_id", "prune"):
            if saved[field] != getattr(self, field):
                raise ValueError(
                    f"the plan was made with {field}={quoted(saved[field])}, and this task has "
                    f"{getattr(self, field)!r}; make a new plan"
                )
        if saved["spec"] != self.spec_digest:
            raise ValueError(
                "the spec changed since the plan was made, or the credentials of the connection did; nothing "
                "is changed. Make a new plan"
            )
        planned = {change["name"]: change for change in saved["changes"]}
        present = {agent.name: agent for agent in self.agents}
        changed = [
            _named(name, present.get(name))
            for name in dict.fromkeys((*present, *planned))
            if not _is_as_planned(
                planned.get(name),
                present.get(name),
                may_have_sent=may_have_sent,
                is_own=is_own.get(name, False),
            )
        ]
        if changed:
            raise ValueError(
                f"since the plan was made, {len(changed)} of its agents changed: {', '.join(changed[:10])}"
                f"{' and more' if len(changed) > 10 else ''}. Nothing is changed. Make a new plan"
            )


def check_saved_plan(saved: Any) -> None:
    """
    Check that a value is a saved plan, before any request.

    :param saved: the value
    :raises ValueError: for any other value
    """
    known = {"owner", "project_id", "prune", "spec", "changes", "unchanged"}
    is_plan = isinstance(saved, Mapping) and known <= saved.keys() and isinstance(saved["changes"], list)
    if not is_plan or not all(map(_is_change, saved["changes"])):
        hint = f"; {REMEDY_FOR_TEXT}" if isinstance(saved, str) else ""
        raise ValueError(f"plan must be what a task with dry_run=True returned; it is not{hint}")


def _is_change(value: Any) -> bool:
    is_known = isinstance(value, Mapping) and {"name", "action", "fingerprint"} <= value.keys()
    return is_known and isinstance(value["name"], str)


def _is_as_planned(
    planned: Mapping[str, Any] | None, present: AgentChange | None, *, may_have_sent: bool, is_own: bool
) -> bool:
    action = present.action if present else "none"
    if planned is None:
        return action == "none"
    if present is not None and planned["action"] == action and planned["fingerprint"] == present.fingerprint:
        return True
    if not may_have_sent:
        return False
    if present is None or planned["action"] == "delete":
        # An earlier try deleted the agent.
        return present is None
    # An earlier try created or updated the agent; its state may still have to follow.
    return not present.changes and (is_own or planned["action"] == "update")


def _named(name: str, change: AgentChange | None) -> str:
    return agent_label(change.agent_id, name) if change and change.agent_id else repr(name)


def owner_mark(owner: str) -> str:
    """
    Return what the metadata of an agent says of the apply that created it.

    :param owner: the owner of the apply
    :return: deployment and owner, quoted and separated by a slash
    """
    return "/".join(quote(part, safe=":+@ ") for part in (deployment_id(), owner))


def make_plan(
    client: Client, project_id: str, specs: Sequence[AgentSpec], owner: str, *, prune: bool
) -> ApplyPlan:
    """
    Read the agents, and compare them with the declaration.

    The project is listed, and each declared agent and each agent to delete costs a Get.

    :param owner: the owner of the apply
    :param prune: whether to delete agents that an apply of this owner created and that are not declared
    :raises ValueError: if two agents of the project have a declared name
    :raises ConnixError: if the agents cannot be read
    """
    declared = {spec.name: spec for spec in specs}
    found: dict[str, str] = {}
    pruned: list[Agent] = []
    for listed in client.agents.iter(project_id, sort="created_at"):
        if listed.name in declared:
            if listed.name in found:
                raise ValueError(
                    f"two agents of project {project_id} are named {listed.name!r} ({found[listed.name]} and "
                    f"{listed.id}); rename one, because an apply finds agents by their names"
                )
            found[listed.name] = listed.id
        elif prune and (agent := _read_owned(client, project_id, listed, owner_mark(owner))):
            pruned.append(agent)
    agents = [_compare(client, project_id, spec, found.get(spec.name)) for spec in specs]
    agents += [AgentChange("delete", agent.name, agent=agent) for agent in pruned]
    return ApplyPlan(owner, project_id, prune, agents, client.digest_key)


def _read_owned(client: Client, project_id: str, listed: Agent, mark: str) -> Agent | None:
    """Return an agent that an apply of the owner created; a listing may leave out metadata."""
    if "metadata" in listed.model_fields_set and listed.metadata.get(APPLY_OWNER_FIELD) != mark:
        return None
    agent = client.run_flow(get_agent_if_present(client, project_id, listed.id))
    return agent if agent and agent.metadata.get(APPLY_OWNER_FIELD) == mark else None


def _compare(client: Client, project_id: str, spec: AgentSpec, agent_id: str | None) -> AgentChange:
    agent = client.run_flow(get_agent_if_present(client, project_id, agent_id)) if agent_id else None
    if agent is None:
        return AgentChange("create", spec.name, spec, changes=spec.body)
    changes = difference(spec.body, agent)
    is_in_state = spec.state in {None, str(agent.status)}
    return AgentChange("none" if is_in_state and not changes else "update", spec.name, spec, agent, changes)
