"""
Create an agent once, although responses are lost and tasks are killed and retried.

The agent's metadata has the identity key of the task run that created it. After a lost response, and in every
retry, the project is scanned before the create is sent. An agent with the key is the task run's own, whatever
its name. An agent that only has the name is not. Names are unique in a project, so a create that is executed
after the scan causes a 409 and no second agent.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connix_provider.agent_lookup import name_conflict
from connix_provider.client.errors import (
    ConnixConflictError,
    ConnixError,
    ConnixNotFoundError,
    ConnixRateLimitError,
)
from connix_provider.client.transient import is_transient
from connix_provider.operators._base.identity import IDENTITY_FIELD
from connix_provider.operators._once.lost_response import (
    await_retry_after,
    checks,
    seconds_left,
    with_explanation,
)
from connix_provider.polling.poll_errors import PollErrors

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client

__all__ = ["FoundAgent", "create_once", "find_created_agent", "look_up"]

log = logging.getLogger(__name__)

#: Seconds before each further create after a 409, because a deleted agent keeps its name for some seconds.
_NAME_DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
#: Seconds before each scan after a lost response, because the service may still be executing the create.
_LOST_DELAYS = (1.0, 2.0, 4.0, 8.0, 8.0)
#: Seconds between two failed scans, at most.
_LONGEST_SCAN_DELAY = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class FoundAgent:
    """
    An agent, and whether this task run created it.

    :param is_own: whether its metadata has the key of this task run
    :param is_new: whether the last request created it
    :param was_lost: whether this call sent its create, and the response was lost
    """

    agent: Agent
    is_own: bool
    is_new: bool = False
    was_lost: bool = False


def create_once(
    client: Client, project_id: str, body: Mapping[str, Any], key: str, *, may_have_sent: bool
) -> FoundAgent:
    """
    Create an agent, or find the one that an earlier request of this task run created.

    :param body: the agent, without the key
    :param key: the identity key of this task run
    :param may_have_sent: whether an earlier request of this task run may have created it
    :return: the task run's own agent, or another agent of the same name
    :raises ConnixConflictError: if the name is taken by an agent that is not listed, or if the own agent has
        another name and the requested name is taken
    :raises ConnixError: if the agent could not be created, or its creation could not be confirmed
    """
    name = str(body["name"])
    marked = {**body, "metadata": {**(body.get("metadata") or {}), IDENTITY_FIELD: key}}
    errors = PollErrors(time.monotonic())
    if may_have_sent and (found := look_up(client, project_id, name, key, errors)):
        return found
    was_lost = False
    for attempt, pause in enumerate(_LOST_DELAYS, start=1):
        sent_at = time.time()
        try:
            return FoundAgent(client.agents.create(project_id, marked), is_own=True, is_new=True)
        except ConnixConflictError as conflict:
            return _resolve_conflict(client, project_id, marked, key, conflict, was_lost=was_lost)
        except ConnixError as error:
            if not error.may_have_executed:
                raise
            lost, was_lost = error, True
        errors.record(lost, time.monotonic())
        log.warning(
            "The response to the create of agent %r was lost (%s); looking for the agent.", name, lost
        )
        if pause >= seconds_left(client):
            raise _unconfirmed(lost, name, "the deadline passed")
        time.sleep(pause)
        try:
            if found := look_up(client, project_id, name, key, errors):
                return dataclasses.replace(found, was_lost=True)
        except ConnixConflictError:
            raise
        except ConnixRateLimitError as error:
            # A deferrable task defers for this, and looks again when it is resumed.
            error.may_have_executed = True
            raise
        except ConnixError as error:
            # Raise a final error; instead of a transient one, raise the lost response, which explains more.
            cause = lost if is_transient(error) else error
            raise _unconfirmed(cause, name, "the lookup failed" if cause is error else f"{error}") from None
        if (
            attempt == len(_LOST_DELAYS)
            or not is_transient(lost)
            or not await_retry_after(client, lost, sent_at)
        ):
            times = "once" if attempt == 1 else f"{attempt} times"
            raise _unconfirmed(lost, name, f"it was sent {times}, and no such agent is listed")
        log.info("No agent named %r is listed, so the create was not executed. Sending it again.", name)
    raise AssertionError("the loop returns or raises")


def find_created_agent(client: Client, project_id: str, name: str, key: str) -> Agent | None:
    """
    Find the agent of a create that the service may still be executing.

    :param key: the identity key of this task run
    :return: the task run's own agent, or ``None``
    :raises ConnixError: if the agents cannot be read
    """
    for _ in checks(client, (0.0, 1.0, 3.0)):
        own, _ = _scan_until_complete(client, project_id, name, key)
        if own:
            return own
    return None


def look_up(
    client: Client, project_id: str, name: str, key: str, errors: PollErrors | None = None
) -> FoundAgent | None:
    """
    Find the task run's own agent, or else another agent of the name.

    :param name: the requested name
    :param key: the identity key of this task run
    :param errors: the failures of this task so far
    :return: the agent, or ``None``
    :raises ConnixConflictError: if the own agent has another name and the requested name is taken
    :raises ConnixError: if the agents cannot be read
    """
    own, named = _scan_until_complete(client, project_id, name, key, errors)
    if own and named:
        raise name_conflict(
            f"this task run created agent {own.label} in an earlier try. It now asks for "
            f"{name!r}, which is the name of another agent ({named.id}). Neither is changed; rename one",
            named,
        )
    if own:
        log.info("Agent %s was created by this task run; using it.", own.label)
        return FoundAgent(own, is_own=True)
    return FoundAgent(named, is_own=False) if named else None


def _scan_until_complete(
    client: Client, project_id: str, name: str, key: str, errors: PollErrors | None = None
) -> tuple[Agent | None, Agent | None]:
    """
    Scan until a scan is complete, because an agent that was missed would be created twice.

    A failure is final before the task's deadline only if it would end a wait.
    """
    errors = errors or PollErrors(time.monotonic())
    pause = 1.0
    while True:
        try:
            return _scan(client, project_id, name, key)
        except ConnixRateLimitError:
            raise
        except ConnixError as error:
            if (
                not is_transient(error)
                or errors.record(error, time.monotonic())
                or pause >= seconds_left(client)
            ):
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_SCAN_DELAY)


def _scan(client: Client, project_id: str, name: str, key: str) -> tuple[Agent | None, Agent | None]:
    """Return the task run's own agent, and another agent of the name."""
    own: Agent | None = None
    named: Agent | None = None
    for listed in client.agents.iter(project_id, sort="-created_at"):
        if listed.name != name and listed.metadata.get(IDENTITY_FIELD) != key:
            continue
        agent = _read(client, project_id, listed)
        if agent is None:
            continue
        if agent.metadata.get(IDENTITY_FIELD) == key:
            if agent.name == name:
                return agent, None
            own = own or agent
        elif agent.name == name:
            named = named or agent
    return own, named


def _read(client: Client, project_id: str, listed: Agent) -> Agent | None:
    """
    Read an agent of a listing, which may leave out metadata.

    Only a 404 that stays means that the agent is gone, because a read replica may lag behind.
    """
    for _ in checks(client):
        try:
            return client.agents.get(project_id, listed.id)
        except ConnixNotFoundError as error:
            if not error.is_of_an_agent:
                raise
    return None


def _resolve_conflict(
    client: Client,
    project_id: str,
    marked: Mapping[str, Any],
    key: str,
    conflict: ConnixConflictError,
    *,
    was_lost: bool,
) -> FoundAgent:
    """
    Find the agent that has the name, or send the create again until the name is free.

    :param was_lost: whether the response to an earlier create of this call was lost
    """
    name = str(marked["name"])
    lost: ConnixError | None = None
    for _ in checks(client, _NAME_DELAYS):
        if found := look_up(client, project_id, name, key):
            return dataclasses.replace(found, was_lost=was_lost or lost is not None)
        log.info("Connix refused the create of agent %r, and no such agent is listed; trying again.", name)
        try:
            return FoundAgent(client.agents.create(project_id, marked), is_own=True, is_new=True)
        except ConnixConflictError as error:
            conflict = error
        except ConnixError as error:
            if not error.may_have_executed:
                raise
            log.warning("The response to the create of agent %r was lost: %s", name, error)
            lost = error
    if lost is not None:
        raise _unconfirmed(lost, name, "other creates were refused with 409, and no such agent is listed")
    raise with_explanation(conflict, f"No agent named {name!r} is listed in project {project_id}")


def _unconfirmed(lost: ConnixError, name: str, why: str) -> ConnixError:
    """Add to the error of a lost response that the agent may exist."""
    with_explanation(
        lost,
        f"The create may have been executed, so an agent named {name!r} may exist ({why}). "
        "A retry of this task looks for it first",
    )
    lost.may_have_executed = True
    return lost
