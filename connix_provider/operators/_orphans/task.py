"""Run a task that deletes orphaned agents: list, judge, read again, judge again, delete."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from connix_provider.client.errors import (
    ConnixAuthenticationError,
    ConnixError,
    ConnixNotFoundError,
    ConnixRateLimitError,
)
from connix_provider.client.retry import cap_retry_delay
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.combined_error import combined_error
from connix_provider.operators._base.error_context import completing_errors
from connix_provider.operators._base.identity import chosen_deployment_id, deployment_id
from connix_provider.operators._once.lost_response import seconds_left
from connix_provider.operators._orphans.rules import OrphanRules, OrphanVerdict
from connix_provider.polling.selection import select_agents
from connix_provider.selector import AgentSelector
from connix_provider.values import check_flag, check_number, quoted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Agent, Client
    from connix_provider.operators._base.base_operator import ConnixBaseOperator

__all__ = ["delete_orphans"]

#: Seconds for which a delete waits for its rate limit before the agent and its run are judged again.
_DELETE_PERMIT_WAIT = 2.0
#: Seconds before the deadline at which the last delete that waits for its limit is sent.
_LAST_ATTEMPT = _DELETE_PERMIT_WAIT + 1.0


def delete_orphans(
    task: ConnixBaseOperator,
    context: Context,
    *,
    older_than: Any,
    dry_run: Any,
    agents: Any,
    on_missing_run: Any,
) -> dict[str, Any]:
    """
    Delete the orphaned agents of a project.

    :param older_than: seconds since an agent was created
    :param agents: the selector, ``None`` for all agents of the project
    :param on_missing_run: ``keep`` or ``delete``
    :param dry_run: whether to report what would be deleted and change nothing
    :return: what became of each agent, as plain JSON
    :raises ValueError: for a wrong parameter, before anything is sent
    :raises ConnixError: if the agents cannot be listed, if the key is refused, if a rate limit is used up
        until the deadline, or if one agent could not be deleted
    :raises ConnixAgentFailedError: if several agents could not be deleted
    """
    task.check()
    is_dry = check_flag("dry_run", dry_run)
    rules = _rules(context, older_than=older_than, agents=agents, on_missing_run=on_missing_run)
    deadline = time.time() + task.seconds_allowed
    if not deployment_id():
        task.log.warning(
            "This Airflow deployment has no name, so agents of another one without a name look like its own. "
            "Set [connix] deployment_id or the base_url of Airflow."
        )
    with task.open_connection(ConnixHook.get_conn) as (hook, project_id, connection):
        client = connection.with_options(deadline=deadline)
        with completing_errors(hook, project_id, task.error_fields):
            listed = client.run_flow(select_agents(client, rules.selector, project_id))
        run = _Run(task.log, hook, client, project_id, rules, is_dry=is_dry)
        for agent in listed:
            run.handle(agent)
    result = run.result()
    counts = ", ".join(f"{number} {outcome}" for outcome, number in result["summary"].items() if number)
    task.log.info(
        "Of %d agents in project %s: %s.%s",
        len(listed),
        project_id,
        counts or "none",
        " Nothing is deleted, because this is a dry run." if is_dry else "",
    )
    if run.errors:
        raise combined_error(run.errors, f"{len(run.errors)} orphaned agents could not be deleted.")
    return result


class _Run:
    """One pass over the agents of a project."""

    def __init__(
        self, log: Any, hook: ConnixHook, client: Client, project_id: str, rules: OrphanRules, *, is_dry: bool
    ) -> None:
        self._log = log
        self._hook = hook
        self._client = client
        self._project_id = project_id
        self._rules = rules
        self._is_dry = is_dry
        self._agents: dict[str, dict[str, Any]] = {}
        self._others: Counter[str] = Counter()
        #: The errors of the agents that could not be read or deleted.
        self.errors: list[ConnixError] = []

    def handle(self, listed: Agent) -> None:
        """
        Delete an agent if it is orphaned. An error of one agent does not stop the others.

        :param listed: the agent, from the listing
        :raises ConnixError: for a refused key, and for a rate limit that is used up until the deadline
        """
        verdict = None
        if "metadata" in listed.model_fields_set:
            verdict = self._rules.judge(listed, self._client.server_now(), is_complete=False)
            if verdict.reason is not None:
                self._keep(listed, verdict)
                return
        known = {"verb": "delete", "agent_id": listed.id, "agent_name": listed.name or None}
        try:
            with completing_errors(self._hook, self._project_id, lambda: known):
                agent, latest = self._delete(listed.id)
        except (ConnixAuthenticationError, ConnixRateLimitError):
            # Connix would refuse every other request, too.
            raise
        except ConnixError as error:
            if isinstance(error, ConnixNotFoundError) and error.is_of_an_agent:
                self._note(listed, verdict, "gone", "it was deleted meanwhile")
                return
            if seconds_left(self._client) <= 0:
                raise
            self.errors.append(error)
            self._note(listed, verdict, "failed", str(error))
        else:
            if latest.reason is not None:
                self._keep(agent, latest, verdict)
            else:
                self._note(agent, latest, "would_delete" if self._is_dry else "deleted")

    def _delete(self, agent_id: str) -> tuple[Agent, OrphanVerdict]:
        """
        Read an agent, and delete it if it is orphaned.

        A listing may be stale, and a run may be cleared while the task waits for the rate limit. So the agent
        is read and judged again right before each delete, and after each wait.
        """
        bounded = self._client.with_options(max_permit_wait=_DELETE_PERMIT_WAIT)
        while True:
            agent = self._client.agents.get(self._project_id, agent_id)
            verdict = self._rules.judge(agent, self._client.server_now(), is_complete=True)
            if verdict.reason is not None or self._is_dry:
                return agent, verdict
            try:
                bounded.agents.delete(self._project_id, agent_id)
            except ConnixRateLimitError as error:
                self._log.info("Agent %s waits for its delete: %s.", agent.label, error)
                left = seconds_left(self._client) - _LAST_ATTEMPT
                if left <= 0:
                    raise
                delay = max(_DELETE_PERMIT_WAIT, error.retry_after or 0.0)
                time.sleep(min(cap_retry_delay(delay, left), left))
            else:
                return agent, verdict

    def result(self) -> dict[str, Any]:
        """Return what became of the agents."""
        outcomes = Counter(agent["outcome"] for agent in self._agents.values())
        names = ("deleted", "would_delete", "gone", "kept", "failed")
        return {
            "project_id": self._project_id,
            "dry_run": self._is_dry,
            "summary": {name: outcomes[name] for name in names} | {"others": self._others.total()},
            "agents": self._agents,
            "others": dict(self._others),
        }

    def _keep(self, agent: Agent, verdict: OrphanVerdict, before: OrphanVerdict | None = None) -> None:
        if verdict.key is None and before is None:
            self._others[str(verdict.reason)] += 1
            self._log.debug("Agent %s is left alone: %s.", agent.label, verdict.reason)
            return
        reason = verdict.reason
        if verdict.key is None:
            reason = f"its metadata changed since it was listed: {reason}"
        self._note(agent, verdict if verdict.key else before, "kept", reason)

    def _note(
        self, agent: Agent, verdict: OrphanVerdict | None, outcome: str, reason: str | None = None
    ) -> None:
        key, age = (verdict.key, verdict.age) if verdict else (None, None)
        self._agents[agent.id] = {
            "name": agent.name,
            "outcome": outcome,
            "reason": reason,
            "task_run": str(key) if key else None,
            "age": None if age is None else round(age),
        }
        write = self._log.error if outcome == "failed" else self._log.info
        write(
            "Agent %s of %s, age %s: %s%s.",
            agent.label,
            f"task {key.task_id} of DAG {key.dag_id}, run {key.run_id}" if key else "an unknown task run",
            "unknown" if age is None else timedelta(seconds=round(age)),
            outcome.replace("_", " "),
            f", {reason.rstrip('.')}" if reason else "",
        )


def _rules(context: Mapping[str, Any], *, older_than: Any, agents: Any, on_missing_run: Any) -> OrphanRules:
    if on_missing_run not in ["keep", "delete"]:
        raise ValueError(f"on_missing_run must be 'keep' or 'delete', not {quoted(on_missing_run)}")
    if on_missing_run == "delete" and not chosen_deployment_id():
        present = deployment_id()
        raise ValueError(
            "on_missing_run='delete' needs [connix] deployment_id in Airflow's configuration, because a run "
            "that is missing here may be one of another deployment with the same address"
            + (f"; {present!r} keeps the keys of the present agents" if present else "")
        )
    # Without a selector, a project without agents is no mistake.
    chosen = {"name": "*", "allow_empty": True} if agents is None else agents
    return OrphanRules(
        older_than=check_number("older_than", older_than, "seconds"),
        selector=AgentSelector.of(chosen),
        deletes_missing=on_missing_run == "delete",
        ti=context.get("ti"),
    )
