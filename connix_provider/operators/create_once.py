"""
Create an agent once, whatever is lost, killed or retried.

The agent's metadata holds the identity key of the task run that created it. After a lost response, and on
every retry, the project's agents are looked through first: an agent with our key is ours, whatever its name;
an agent that only has the name is not. Names are unique in a project, so even a create that overtakes the
look-up ends in a conflict and not in a second agent.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connix_provider.client.errors import (
    ConnixConflictError,
    ConnixError,
    ConnixNotFoundError,
    ConnixRateLimitError,
)
from connix_provider.client.retry import may_pass
from connix_provider.operators.identity import IDENTITY_FIELD
from connix_provider.operators.lost_response import (
    MAX_ATTEMPTS,
    await_hint,
    checks,
    explained,
    seconds_left,
)
from connix_provider.targets import name_conflict
from connix_provider.waiting.poll_errors import PollErrors

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client

__all__ = ["FoundAgent", "create_once", "find_own", "look_up"]

log = logging.getLogger(__name__)

#: Seconds before each further create while a name is not free: a deleted agent keeps its name for some
#: seconds.
_NAME_PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
#: Seconds before the look-up after a lost create, one for each attempt: the create may still be under way.
_LOST_PAUSES = (1.0, 2.0, 4.0, 8.0, 8.0)
#: Seconds between two scans of the project that fail, at most.
_LONGEST_SCAN_PAUSE = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class FoundAgent:
    """
    Hold an agent, and whether this task run created it.

    :param agent: the agent
    :param is_own: whether its metadata holds the key of this task run
    :param is_new: whether it was created by the request just sent
    """

    agent: Agent
    is_own: bool
    is_new: bool = False


def create_once(
    client: Client, project_id: str, body: Mapping[str, Any], key: str, *, retried: bool
) -> FoundAgent:
    """
    Create an agent, or find the one that an earlier attempt of this very task run created.

    :param client: the client
    :param project_id: the project
    :param body: the agent, without the key
    :param key: the identity key of this task run
    :param retried: whether an earlier try of the task may have created it
    :return: our agent, or another one that has the name, for the caller to judge
    :raises ConnixConflictError: for a name that is not free and not found, or our agent under another name
        while the name that is asked for is taken
    :raises ConnixError: where the agent could not be created, or its creation could not be confirmed
    """
    name = str(body["name"])
    marked = {**body, "metadata": {**(body.get("metadata") or {}), IDENTITY_FIELD: key}}
    errors = PollErrors(time.monotonic())
    if retried and (found := look_up(client, project_id, name, key, errors)):
        return found
    attempts = 0
    while True:
        attempts += 1
        sent_at = time.time()
        try:
            return FoundAgent(client.agents.create(project_id, marked), is_own=True, is_new=True)
        except ConnixConflictError as conflict:
            return _resolve_conflict(client, project_id, marked, key, conflict)
        except ConnixError as error:
            if not error.may_have_executed:
                raise
            lost = error
        errors.is_final(lost, time.monotonic())
        log.warning("The response to the create of agent %r was lost (%s); looking it up.", name, lost)
        pause = _LOST_PAUSES[attempts - 1]
        if pause >= seconds_left(client):
            raise _unconfirmed(lost, name, "the time allowed was over")
        time.sleep(pause)
        try:
            if found := look_up(client, project_id, name, key, errors):
                return found
        except ConnixConflictError:
            raise
        except ConnixRateLimitError as error:
            # A deferrable task gives its slot back for this, and looks again then.
            error.may_have_executed = True
            raise
        except ConnixError as error:
            # Raise a final error; instead of a transient one, raise the lost response, which explains more.
            told = lost if may_pass(error) else error
            raise _unconfirmed(told, name, "the look-up failed" if told is error else f"{error}") from None
        if attempts == MAX_ATTEMPTS or not may_pass(lost) or not await_hint(client, lost, sent_at):
            times = "once" if attempts == 1 else f"{attempts} times"
            raise _unconfirmed(lost, name, f"it was sent {times}, and no such agent is listed")
        log.info("There is no agent named %r: the lost create did not happen. Creating it again.", name)


def find_own(client: Client, project_id: str, name: str, key: str) -> Agent | None:
    """
    Find the agent of a create that may still be under way.

    :param client: the client
    :param project_id: the project
    :param name: the agent's name
    :param key: the identity key of this task run
    :return: our agent, or ``None`` where there is none
    :raises ConnixError: if the agents cannot be read
    """
    for _ in checks(client, (0.0, 1.0, 3.0)):
        own, _ = _scan_patiently(client, project_id, name, key)
        if own:
            return own
    return None


def look_up(
    client: Client, project_id: str, name: str, key: str, errors: PollErrors | None = None
) -> FoundAgent | None:
    """
    Find the agent of this task run, or else the one that has the name.

    :param client: the client
    :param project_id: the project
    :param name: the name that is asked for
    :param key: the identity key of this task run
    :param errors: the failures of this task so far
    :return: the agent, or ``None``
    :raises ConnixConflictError: where our agent has another name and the name that is asked for is taken
    :raises ConnixError: if the agents cannot be read
    """
    own, named = _scan_patiently(client, project_id, name, key, errors)
    if own and named:
        raise name_conflict(
            f"this task run created agent {own.name!r} ({own.id}) in an earlier try. It now asks for "
            f"{name!r}, which is the name of another agent ({named.id}). Neither is changed; rename one",
        )
    if own:
        log.info("Agent %r (%s) was created by this task run; it is used.", own.name, own.id)
        return FoundAgent(own, is_own=True)
    return FoundAgent(named, is_own=False) if named else None


def _scan_patiently(
    client: Client, project_id: str, name: str, key: str, errors: PollErrors | None = None
) -> tuple[Agent | None, Agent | None]:
    """
    Scan until it succeeds, because giving up could leave an agent that no retry finds.

    The failures that end it before the task's time is over are those that end a wait.
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
                not may_pass(error)
                or errors.is_final(error, time.monotonic())
                or pause >= seconds_left(client)
            ):
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_SCAN_PAUSE)


def _scan(client: Client, project_id: str, name: str, key: str) -> tuple[Agent | None, Agent | None]:
    """Find our agent, and another one that has the name."""
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
    Read an agent that a listing shows; a listing may leave metadata out, or lag behind.

    A read replica may not know a new agent yet, so only a 404 that stays means that it is gone.
    """
    for _ in checks(client):
        try:
            return client.agents.get(project_id, listed.id)
        except ConnixNotFoundError as error:
            if not error.is_of_an_agent:
                raise
    return None


def _resolve_conflict(
    client: Client, project_id: str, marked: Mapping[str, Any], key: str, conflict: ConnixConflictError
) -> FoundAgent:
    """
    Find the agent that has the name, or create ours as soon as the name is free.

    A 409 did nothing, so the create may be sent again.
    """
    name = str(marked["name"])
    for _ in checks(client, _NAME_PAUSES):
        if found := look_up(client, project_id, name, key):
            return found
        log.info("Connix refused the create of agent %r, and no such agent is listed; trying again.", name)
        try:
            return FoundAgent(client.agents.create(project_id, marked), is_own=True, is_new=True)
        except ConnixConflictError as error:
            conflict = error
        except ConnixError as error:
            if not error.may_have_executed:
                raise
            log.warning("The response to the create of agent %r was lost: %s", name, error)
    raise explained(conflict, f"No agent named {name!r} is listed in project {project_id}")


def _unconfirmed(lost: ConnixError, name: str, why: str) -> ConnixError:
    """Tell that an agent may exist, in the words of the error that hid it."""
    explained(
        lost,
        f"The create may have been executed, so an agent named {name!r} may exist ({why}). "
        "A retry of this task looks first",
    )
    lost.may_have_executed = True
    return lost
