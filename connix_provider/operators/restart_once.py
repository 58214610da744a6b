"""
Restart an agent once, although responses are lost and tasks are killed and retried.

A restart leaves no trace of the task that requested it. After a lost response only the agent shows whether it
was restarted (:func:`connix_provider.lifecycle.restart_evidence`): its status changed, or ``updated_at``
moved while its content stayed. An unmoved ``updated_at`` proves that nothing happened only if the service is
known to move it at all.

Invariant: without evidence that the first request was not executed, the restart is not repeated.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from connix_provider.client.errors import (
    ConnixConflictError,
    ConnixError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixTimeoutError,
)
from connix_provider.client.transient import is_transient
from connix_provider.lifecycle import SETTLED, TRANSIENT, AgentStatus, Evidence, restart_evidence
from connix_provider.operators.busy_agent import AgentBusyError
from connix_provider.operators.cancel_on_kill import SentAction
from connix_provider.operators.lost_response import (
    CHECK_PAUSES,
    MAX_ATTEMPTS,
    await_hint,
    checks,
    explained,
)

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client
    from connix_provider.lifecycle import Snapshot
    from connix_provider.operators.task_state import ActionRecord

__all__ = ["await_next_second", "restart_once", "resume_restart", "shows_changes"]

log = logging.getLogger(__name__)

#: Seconds by which the local clock may be wrong.
_DAY = 86_400.0


@dataclasses.dataclass(frozen=True, slots=True)
class RestartCheck:
    """
    What an agent shows of a restart.

    :param evidence: whether it was restarted
    :param agent: the agent in the last check
    """

    evidence: Evidence
    agent: Agent


def restart_once(client: Client, project_id: str, before: Agent) -> SentAction:
    """
    Restart an agent, and repeat the request only if the agent shows that it was not executed.

    :param client: the client
    :param project_id: the project
    :param before: the agent before the restart
    :return: the restart, with the agent before the request that the service accepted
    :raises ConnixError: if the agent was not restarted, or its restart could not be confirmed
    """
    lost: ConnixError | None = None
    for attempt in range(1, MAX_ATTEMPTS + 1):
        requested_at, sent_at = client.limiter.server_time(), time.time()
        try:
            client.agents.restart(project_id, before.id)
        except ConnixConflictError as conflict:
            if lost is None:
                raise
            log.info("A restart of agent %r (%s) is under way already: %s", before.name, before.id, conflict)
            return _restarted(before, sent_at, is_unconfirmed=True)
        except ConnixError as error:
            if not error.may_have_executed:
                # This request was not executed, but an earlier one may have been.
                error.may_have_executed = lost is not None
                raise
            lost = error
        else:
            log.info("Connix accepted the restart of agent %r (%s).", before.name, before.id)
            return _restarted(before, time.time())
        log.warning(
            "The response to the restart of agent %r (%s) was lost (%s); checking the agent.",
            before.name,
            before.id,
            lost,
        )
        check = _confirm(client, project_id, before, lost, requested_at)
        if check.evidence is Evidence.RESTARTED:
            log.info("Agent %r (%s) shows that it was restarted.", before.name, before.id)
            return _restarted(before, sent_at)
        if attempt == MAX_ATTEMPTS or not is_transient(lost) or not await_hint(client, lost, sent_at):
            times = "once" if attempt == 1 else f"{attempt} times"
            raise explained(lost, f"The restart was sent {times} and the agent shows no sign of it")
        log.info(
            "Agent %r (%s) %s: the lost restart did not happen. Restarting it again.",
            before.name,
            before.id,
            "changed in another way" if check.evidence is Evidence.FOREIGN else "has not changed",
        )
        before = check.agent
    raise AssertionError("the loop returns or raises")


def resume_restart(
    client: Client, project_id: str, record: ActionRecord, before: Snapshot
) -> SentAction | Agent:
    """
    Check the restart that an earlier start of the task requested.

    :param client: the client
    :param project_id: the project
    :param record: the record of that start
    :param before: the agent before that restart
    :return: the restart, if it is under way or done; otherwise the agent, which is to be restarted
    :raises AgentBusyError: if only the status in which the agent settles will tell
    :raises ConnixTimeoutError: if the deadline came before the agent showed anything
    :raises ConnixResponseError: if the service does not show when an agent changes
    """
    agent_id = record.agent_id
    check = check_restart(client, project_id, agent_id, before, requested_at=record.requested_at)
    if check is None and record.accepted_at:
        log.info("An earlier try of this task restarted agent %s; waiting for it.", agent_id)
        return SentAction(agent_id, "restart", before, accepted_at=record.accepted_at)
    requested = "An earlier try of this task requested the restart of agent"
    if check is None:
        raise ConnixTimeoutError(
            f"{requested} {agent_id}. Whether it happened is unknown: the time allowed was over. "
            "Clear the task to restart the agent once more."
        )
    agent = check.agent
    is_restarted = check.evidence is Evidence.RESTARTED
    if is_restarted and agent.status == AgentStatus.ERROR:
        log.warning(
            "Agent %r (%s) ended in error after an earlier try restarted it; it is restarted once more.",
            agent.name,
            agent_id,
        )
        return agent
    if is_restarted or record.accepted_at:
        log.info("An earlier try of this task restarted agent %r (%s); waiting for it.", agent.name, agent_id)
        return SentAction.of(agent, "restart", before=before, accepted_at=record.accepted_at or time.time())
    if agent.status in TRANSIENT:
        # The record stays, and is checked again when the agent has settled.
        raise busy(agent)
    if check.evidence is Evidence.NONE and not shows_changes(client, project_id, agent):
        unknown = ConnixResponseError(
            f"{requested} {agent.name!r} ({agent_id}). Whether it happened is unknown: the service does not "
            "show when an agent changes (updated_at is missing or never moves). It is not restarted again. "
            "Check the agent, and clear this task to restart it once more"
        )
        # Connix answered, so the connection is right.
        unknown.may_be_misconfiguration = False
        raise unknown
    log.info(
        "An earlier try requested the restart of agent %r (%s), but %s: it is restarted now.",
        agent.name,
        agent_id,
        "the agent only changed in another way"
        if check.evidence is Evidence.FOREIGN
        else "the agent has not changed since",
    )
    return agent


def check_restart(
    client: Client, project_id: str, agent_id: str, before: Snapshot, *, requested_at: float | None = None
) -> RestartCheck | None:
    """
    Read an agent until it shows a restart, for as long as a restart may take to begin.

    If the agent is creating or updating in the last check, the caller waits for it and checks again.

    :param client: the client
    :param project_id: the project
    :param agent_id: the agent
    :param before: the agent before the restart
    :param requested_at: epoch seconds of the request by the service's clock, if known
    :return: the last check; ``None`` if the agent was creating or updating before the restart, or if the
        deadline passed
    :raises ConnixError: if the agent cannot be read
    """
    if before.status not in SETTLED:
        return None
    last = len(CHECK_PAUSES) - 1
    for number in checks(client):
        agent = client.agents.get(project_id, agent_id)
        check = RestartCheck(restart_evidence(before, agent.snapshot(), requested_at=requested_at), agent)
        if check.evidence is Evidence.RESTARTED or number == last:
            return check
    return None


def shows_changes(client: Client, project_id: str, agent: Agent) -> bool:
    """
    Return whether the service moves ``updated_at`` when an agent changes.

    It does if ``updated_at`` differs from ``created_at``, for this agent or for another one of the project's
    first page.

    :param client: the client
    :param project_id: the project
    :param agent: the agent
    :return: whether an unmoved ``updated_at`` proves that nothing happened
    :raises ConnixError: if the project cannot be listed
    """
    return _has_moved(agent) or any(map(_has_moved, client.agents.list(project_id, limit=100)))


def busy(agent: Agent) -> AgentBusyError:
    """
    Return the exception for an agent whose status does not show yet whether it was restarted.

    :param agent: the agent, which is creating or updating
    :return: the exception, after which the operator waits and checks again
    """
    reason = f"it is {agent.status}, so whether it was restarted is not known yet"
    error = AgentBusyError(agent.id, "restart", before=agent.snapshot(), reason=reason)
    error.may_have_executed = True
    return error


def await_next_second(client: Client, agent: Agent) -> None:
    """
    Sleep until the next change moves ``updated_at``, if the service writes whole seconds.

    :param client: the client that read the agent
    :param agent: the agent
    """
    if agent.updated_at is None or agent.updated_at.microsecond:
        return
    changed = agent.updated_at.timestamp()
    now = client.limiter.server_time()
    if now is None:
        # The local clock may be wrong, so it does not show how old the change is.
        ago = time.time() - changed
        time.sleep(1.0 if abs(ago) < _DAY else 0.0)
    else:
        time.sleep(max(0.0, min(1.0, changed + 1.0 - now)))


def _confirm(
    client: Client, project_id: str, before: Agent, lost: ConnixError, requested_at: float | None
) -> RestartCheck:
    """Check whether a lost restart was executed, or raise if that stays unknown."""
    try:
        check = check_restart(client, project_id, before.id, before.snapshot(), requested_at=requested_at)
        if check is None and before.status not in SETTLED:
            why = f"it was {before.status} before"
        elif check is None:
            why = "the time allowed was over"
        elif check.evidence is not Evidence.RESTARTED and check.agent.status in TRANSIENT:
            raise busy(check.agent)
        elif check.evidence is not Evidence.NONE or shows_changes(client, project_id, check.agent):
            return check
        else:
            why = "the service does not show when an agent changes (updated_at is missing or never moves)"
    except ConnixRateLimitError as error:
        # A deferrable task defers for this, and checks again when it is resumed.
        error.may_have_executed = True
        raise
    except ConnixError as error:
        # Raise a final error; instead of a transient one, raise the lost response, which explains more.
        why = (
            "the agent could not be read"
            if not is_transient(error)
            else f"the agent could not be read: {error}"
        )
        lost = lost if is_transient(error) else error
    lost.may_have_executed = True
    raise explained(
        lost,
        f"Whether agent {before.name!r} ({before.id}) was restarted is unknown: {why}. It is not "
        "restarted again. Check the agent, and clear this task to restart it once more",
    ) from None


def _restarted(before: Agent, accepted_at: float, *, is_unconfirmed: bool = False) -> SentAction:
    return SentAction.of(
        before,
        "restart",
        before=before.snapshot(),
        accepted_at=accepted_at,
        is_unconfirmed=is_unconfirmed,
    )


def _has_moved(agent: Agent) -> bool:
    return None not in (agent.created_at, agent.updated_at) and agent.created_at != agent.updated_at
