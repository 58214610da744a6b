"""
Create an agent once, and restart it once, whatever is lost, killed or retried.

Create is the one call that must not be repeated blindly. The agent's metadata carries a key made of dag,
run, task and map index. After a lost answer, and on every retry of the task, the name is looked up first:
an agent with our key is ours and is adopted, one without it is a stranger's and a conflict. Names are unique
in a project, so even a create that overtakes the look-up ends in a conflict, not in a second agent.

Restart is the other one. After a lost answer the agent itself tells whether it happened.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connix_provider.client.errors import ConnixConflictError, ConnixError, ConnixTimeoutError
from connix_provider.lifecycle import has_changed

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Agent, Client
    from connix_provider.lifecycle import Snapshot

__all__ = [
    "TASK_KEY",
    "await_change",
    "await_next_second",
    "create_once",
    "find_ours",
    "restart_once",
    "task_key",
    "try_of",
]

log = logging.getLogger(__name__)

#: The metadata field that says which run of which task an agent belongs to.
TASK_KEY = "airflow_task_run"
#: Seconds between a lost answer and the look-ups after it: the create may still be under way.
_LOOK_AFTER = (0.0, 1.0, 3.0)
#: The same where a name exists that a listing may not show yet, or where only a look tells of a change.
_LOOK_LONGER = (*_LOOK_AFTER, 6.0)
#: No clock is wrong by more than these seconds.
_DAY = 86_400.0


def task_key(context: Context) -> str:
    """
    Name one run of one task, the same in each of its tries.

    :param context: Airflow's context
    :return: dag, run, task and map index
    :raises ValueError: for a context that does not tell them
    """
    ti = context.get("ti")
    parts = {name: getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id", "map_index")}
    # By type: a mock has every attribute, and its key would be another in each try.
    if missing := [name for name, part in parts.items() if not isinstance(part, str | int)]:
        raise ValueError(
            "the context names no task run, by which a retry could know what this try did: "
            f"context['ti'] has no {', no '.join(missing)}"
        )
    return "/".join(map(str, parts.values()))


def try_of(context: Context) -> int:
    """
    Say which try of its task run this is.

    :param context: Airflow's context
    :return: 1 for the first, and where there is no task instance that could be tried again
    """
    number = getattr(context.get("ti"), "try_number", None)
    return number if isinstance(number, int) else 1


def create_once(
    client: Client,
    project_id: str,
    body: Mapping[str, Any],
    key: str,
    *,
    retried: bool,
) -> tuple[Agent, bool]:
    """
    Create an agent, or find the one that an earlier attempt of this very task run created.

    :param client: the client
    :param project_id: the project
    :param body: the agent, without the key
    :param key: the key of this task run
    :param retried: whether an earlier try of the task may have created it
    :return: an agent of that name, and whether it is ours; a stranger's is returned for the caller to judge
    :raises ConnixError: where it could not be created, or nobody can tell whether it was
    """
    name = str(body["name"])
    marked = {**body, "metadata": {**(body.get("metadata") or {}), TASK_KEY: key}}
    if retried and (found := _look_up(client, project_id, name, key)):
        return found
    while True:
        try:
            return client.agents.create(project_id, marked), True
        except ConnixConflictError:
            # The name exists: a stranger's, or ours by a create that we believed lost.
            for pause in _LOOK_LONGER:
                time.sleep(pause)
                if found := _look_up(client, project_id, name, key):
                    return found
            raise
        except ConnixError as error:
            if not error.may_have_executed:
                raise
            log.warning("The answer to the create of %r was lost (%s); looking the name up.", name, error)
            try:
                for pause in _LOOK_AFTER:
                    time.sleep(pause)
                    if found := _look_up(client, project_id, name, key):
                        return found
            except ConnixError as lost:
                lost = _of_the_deed(lost, f"whether agent {name!r} was created", error)
                lost.add_note(
                    f"The create of {name!r} may have been carried out: an agent of that name may exist. "
                    "A retry of this task adopts it."
                )
                raise lost from None
            log.info("There is no agent named %r: the lost create did not happen. Creating it again.", name)


def find_ours(client: Client, project_id: str, name: str, key: str) -> Agent | None:
    """
    Find the agent of a create that may still be under way.

    :param client: the client
    :param project_id: the project
    :param name: the agent's name
    :param key: the key of this task run
    :return: our agent, or ``None`` where none has come into being
    :raises ConnixError: where nobody can tell
    """
    for pause in _LOOK_AFTER:
        time.sleep(pause)
        found = _look_up(client, project_id, name, key)
        if found and found[1]:
            return found[0]
    return None


def restart_once(client: Client, project_id: str, before: Agent) -> None:
    """
    Restart an agent, and again only if the agent shows that the first restart did not happen.

    :param client: the client
    :param project_id: the project
    :param before: the agent before the restart
    :raises ConnixError: where it could not be restarted
    """
    is_doubtful = False
    while True:
        try:
            reply = client.agents.restart(project_id, before.id)
        except ConnixError as error:
            if is_doubtful and isinstance(error, ConnixConflictError):
                log.info("A restart of agent %s is under way already: %s", before.id, error)
                return
            if not error.may_have_executed:
                # Of this one; whoever tries again is to look for the one before.
                error.may_have_executed = is_doubtful
                raise
            is_doubtful = True
            log.warning(
                "The answer to the restart of agent %s was lost (%s); looking at it.", before.id, error
            )
            try:
                if await_change(client, project_id, before.id, before.snapshot()):
                    log.info("Agent %s has changed since: the restart had been carried out.", before.id)
                    return
            except ConnixError as lost:
                lost = _of_the_deed(lost, f"whether agent {before.id} was restarted", error)
                lost.may_have_executed = True
                raise lost from None
            log.info(
                "Agent %s has not changed: the lost restart did not happen. Restarting it again.", before.id
            )
        else:
            log.info("Connix accepted the restart of agent %s: %s", before.id, reply.message or "done")
            return


def _of_the_deed(lost: ConnixError, what: str, error: ConnixError) -> ConnixError:
    """
    Speak of what was done, where the time for looking at it was over.

    :param lost: what became of the look
    :param what: what it was to tell
    :param error: what became of the deed
    :return: what to raise; the look's own words are of a request of which nobody who reads them has heard
    """
    if not isinstance(lost, ConnixTimeoutError):
        return lost
    told = ConnixTimeoutError(
        f"The time allowed was over before anybody could tell {what}: {error}. "
        "A retry of this task looks first."
    )
    told.request_id, told.may_have_executed = error.request_id, lost.may_have_executed
    return told


def await_change(client: Client, project_id: str, agent_id: str, before: Snapshot) -> Agent | None:
    """
    Look whether an agent changes as a restart changes it, which may begin a moment after it was accepted.

    :param client: the client
    :param project_id: the project
    :param agent_id: the agent
    :param before: the agent before the restart
    :return: the agent, or ``None`` if it has not changed
    :raises ConnixError: where nobody can tell
    """
    for pause in _LOOK_LONGER:
        time.sleep(pause)
        agent = client.agents.get(project_id, agent_id)
        if has_changed(before, agent.snapshot()):
            return agent
    return None


def await_next_second(client: Client, agent: Agent) -> None:
    """
    Wait until a change can be told from the last one, where the service counts whole seconds.

    :param client: the client that got the agent
    :param agent: the agent as it is
    """
    if agent.updated_at is None or agent.updated_at.microsecond:
        return
    changed = agent.updated_at.timestamp()
    now = client.budget.server_time()
    if now is None:
        # By our own clock, which may be off, nobody can tell a moment ago from an hour ago.
        ago = time.time() - changed
        time.sleep(1.0 if abs(ago) < _DAY else 0.0)
    else:
        time.sleep(max(0.0, min(1.0, changed + 1.0 - now)))


def _look_up(client: Client, project_id: str, name: str, key: str) -> tuple[Agent, bool] | None:
    """Find the agent of a name, or of this task run, and tell whether it is ours; ours goes first."""
    strangers = None
    # As often as the task's time allows: giving up here could leave an agent that nobody knows of.
    patient = client.with_options(max_attempts=sys.maxsize)
    for found in patient.agents.iter(project_id, sort="-created_at"):
        is_ours = found.metadata.get(TASK_KEY) == key
        if found.name != name and not is_ours:
            continue
        # A listing may leave metadata out; what decides is read off the agent itself.
        agent = found if TASK_KEY in found.metadata else patient.agents.get(project_id, found.id)
        if agent.metadata.get(TASK_KEY) == key:
            # Of another name, too: a template may have given another one to an earlier try.
            log.info("Agent %s named %r was created by this task run; adopting it.", agent.id, agent.name)
            return agent, True
        strangers = strangers or agent
    return (strangers, False) if strangers else None
