"""
Restart an agent once, although responses are lost and tasks are killed and retried.

A restart leaves no trace of the task that requested it. It is recorded before it is sent
(:mod:`connix_provider.operators._base.task_state`), and after a lost response the agent is checked
(:mod:`connix_provider.operators._once.restart_check`).

Invariant: without evidence that the first request was not executed, the restart is not repeated.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from connix_provider.client.errors import (
    ConnixConflictError,
    ConnixError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixTimeoutError,
)
from connix_provider.client.transient import is_transient
from connix_provider.lifecycle import Evidence
from connix_provider.operators._base.busy_agent import raise_if_busy
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.operators._base.task_state import ActionRecord, RecordStore, recorded, was_refused
from connix_provider.operators._once.lost_response import MAX_ATTEMPTS, await_retry_after, with_explanation
from connix_provider.operators._once.restart_check import (
    RestartCheck,
    await_next_second,
    busy,
    check_restart,
    shows_changes,
)
from connix_provider.statuses import SETTLED, TRANSIENT, AgentStatus

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client
    from connix_provider.poll_state import Snapshot

__all__ = ["restart_in_run", "restart_once", "resume_restart"]

log = logging.getLogger(__name__)

_OTHER_CHANGE = "it changed in a way that a restart alone does not explain"
_SHOWS_NO_CHANGES = "the service does not show when an agent changes (updated_at is missing or never moves)"


def restart_in_run(
    client: Client,
    project_id: str,
    agent_id: str,
    *,
    record: ActionRecord | None,
    record_store: RecordStore,
    read: Callable[[], Agent],
    agent_name: str | None = None,
    repeat_after_error: bool = True,
) -> SentAction:
    """
    Restart an agent once in a task run.

    :param record: the record of an earlier start of this task for this agent
    :param read: returns the agent before the restart
    :param agent_name: the name by which the task found the agent, if it did
    :param repeat_after_error: whether an agent that ended in error after the recorded restart is restarted
        once more
    :return: the restart, or that of an earlier start of the task
    :raises AgentBusyError: for a 409, or if the agent must settle before its status shows a restart
    :raises ConnixError: if the agent was not restarted, or its restart could not be confirmed
    """
    agent = None
    if record and record.before:
        found = resume_restart(
            client, project_id, record, record.before, repeat_after_error=repeat_after_error
        )
        if isinstance(found, SentAction):
            return found
        agent = found
    agent = agent or read()
    await_next_second(client, agent)
    record = ActionRecord(agent_id, agent_name, agent.snapshot(), requested_at=client.limiter.server_time())
    with raise_if_busy(agent_id, "restart", agent.snapshot()), recorded(record_store, record):
        sent = restart_once(client, project_id, agent)
        accepted_at = sent.accepted_at or time.time()
        record_store.write(dataclasses.replace(record, before=sent.before, accepted_at=accepted_at))
    return sent


def restart_once(client: Client, project_id: str, before: Agent) -> SentAction:
    """
    Restart an agent, and repeat the request only if the agent shows that it was not executed.

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
            log.info("A restart of agent %s is under way already: %s", before.label, conflict)
            return _restarted(before, sent_at, is_unconfirmed=True)
        except ConnixError as error:
            if not error.may_have_executed:
                # This request was not executed, but an earlier one may have been.
                error.may_have_executed = lost is not None
                raise
            error.has_lost_response |= lost is not None and lost.has_lost_response
            lost = error
        else:
            log.info("Connix accepted the restart of agent %s.", before.label)
            return _restarted(before, time.time())
        log.warning(
            "The response to the restart of agent %s was lost (%s); checking the agent.",
            before.label,
            lost,
        )
        check = _confirm(client, project_id, before, lost, requested_at)
        if check.evidence is Evidence.RESTARTED:
            log.info("Agent %s shows that it was restarted.", before.label)
            return _restarted(before, sent_at)
        if attempt == MAX_ATTEMPTS or not is_transient(lost) or not await_retry_after(client, lost, sent_at):
            times = "once" if attempt == 1 else f"{attempt} times"
            raise with_explanation(lost, f"The restart was sent {times} and the agent shows no sign of it")
        log.info("Agent %s shows no restart: it was not executed. Sending it again.", before.label)
        before = check.agent
    raise AssertionError("the loop returns or raises")


def resume_restart(
    client: Client,
    project_id: str,
    record: ActionRecord,
    before: Snapshot,
    *,
    repeat_after_error: bool = True,
) -> SentAction | Agent:
    """
    Check the restart that an earlier start of the task requested.

    :param record: the record of that start
    :param before: the agent before that restart
    :param repeat_after_error: whether an agent that ended in error after that restart is to be restarted
    :return: the restart, if it is under way or done; otherwise the agent, which is to be restarted
    :raises AgentBusyError: if the agent must settle before its status shows whether it was restarted
    :raises ConnixTimeoutError: if the deadline came before the agent showed anything
    :raises ConnixResponseError: if the agent had not settled before that restart, or if the service does not
        show when an agent changes
    """
    agent_id = record.agent_id
    check = check_restart(client, project_id, agent_id, before, requested_at=record.requested_at)
    if check is None and record.accepted_at:
        log.info("An earlier try of this task restarted agent %s; waiting for it.", agent_id)
        return SentAction(agent_id, "restart", before, accepted_at=record.accepted_at)
    requested = "An earlier try of this task requested the restart of agent"
    if check is None and before.status not in SETTLED:
        raise _unknown_restart(f"{requested} {agent_id}", f"it was {before.status} before")
    if check is None:
        raise ConnixTimeoutError(
            f"{requested} {agent_id}. Whether it happened is unknown: the deadline passed. "
            "Clear the task to restart the agent once more."
        )
    agent = check.agent
    is_restarted = check.evidence is Evidence.RESTARTED
    if is_restarted and agent.status == AgentStatus.ERROR and repeat_after_error:
        log.warning(
            "Agent %s ended in error after an earlier try restarted it; it is restarted once more.",
            agent.label,
        )
        return agent
    if is_restarted or record.accepted_at:
        log.info("An earlier try of this task restarted agent %s; waiting for it.", agent.label)
        return SentAction.of(agent, "restart", before=before, accepted_at=record.accepted_at or time.time())
    if agent.status in TRANSIENT:
        # The record stays, and is checked again when the agent has settled.
        raise busy(agent)
    if check.evidence is Evidence.OTHER_CHANGE and not record.was_refused:
        raise _unknown_restart(f"{requested} {agent.label}", _OTHER_CHANGE)
    if check.evidence is Evidence.NONE and not shows_changes(client, project_id, agent):
        raise _unknown_restart(f"{requested} {agent.label}", _SHOWS_NO_CHANGES)
    log.info(
        "An earlier try requested the restart of agent %s, which shows none: it is restarted now.",
        agent.label,
    )
    return agent


def _confirm(
    client: Client, project_id: str, before: Agent, lost: ConnixError, requested_at: float | None
) -> RestartCheck:
    """Check whether a restart without a response was executed, or raise if that stays unknown."""
    try:
        check = check_restart(client, project_id, before.id, before.snapshot(), requested_at=requested_at)
        if check is None and before.status not in SETTLED:
            why = f"it was {before.status} before"
        elif check is None:
            why = "the deadline passed"
        elif check.evidence is not Evidence.RESTARTED and check.agent.status in TRANSIENT:
            raise busy(check.agent)
        elif check.evidence is Evidence.OTHER_CHANGE and not was_refused(lost):
            why = _OTHER_CHANGE
        elif check.evidence is not Evidence.NONE or shows_changes(client, project_id, check.agent):
            return check
        else:
            why = _SHOWS_NO_CHANGES
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
    raise with_explanation(
        lost,
        f"Whether agent {before.label} was restarted is unknown: {why}. It is not "
        "restarted again. Check the agent, and clear this task to restart it once more",
    ) from None


def _unknown_restart(requested: str, why: str) -> ConnixResponseError:
    """Return the error for a restart of an earlier try of which the agent shows nothing."""
    error = ConnixResponseError(
        f"{requested}. Whether it happened is unknown: {why}. It is not restarted again. "
        "Check the agent, and clear this task to restart it once more"
    )
    # Connix responded, so the connection is right.
    error.may_be_misconfiguration = False
    return error


def _restarted(before: Agent, accepted_at: float, *, is_unconfirmed: bool = False) -> SentAction:
    return SentAction.of(
        before,
        "restart",
        before=before.snapshot(),
        accepted_at=accepted_at,
        is_unconfirmed=is_unconfirmed,
    )
