"""
Restart an agent once for each wish, whatever is lost, killed or retried.

A restart leaves no trace that tells who asked for it, so after a lost response only the agent itself can show
whether it happened: it was seen down, or its ``updated_at`` moved while its content stayed
(:func:`connix_provider.lifecycle.restart_evidence`). An agent that shows nothing proves that nothing happened
only where ``updated_at`` is known to move at all. Without such evidence no restart is repeated.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from connix_provider.client.errors import ConnixConflictError, ConnixError, ConnixRateLimitError
from connix_provider.client.retry import may_pass
from connix_provider.lifecycle import SETTLED, TRANSIENT, Evidence, restart_evidence
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

__all__ = ["Look", "await_next_second", "busy", "look_for_restart", "restart_once", "shows_changes"]

log = logging.getLogger(__name__)

#: No clock is wrong by more than these seconds.
_DAY = 86_400.0


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """
    Hold what an agent shows of a restart.

    :param evidence: whether it was restarted
    :param agent: the agent as it was seen last
    """

    evidence: Evidence
    agent: Agent


def restart_once(client: Client, project_id: str, before: Agent) -> SentAction:
    """
    Restart an agent, and repeat that only if the agent shows that it did not happen.

    :param client: the client
    :param project_id: the project
    :param before: the agent before the restart
    :return: the restart, with the agent before the request that the service accepted
    :raises ConnixError: where the agent was not restarted, or its restart could not be confirmed
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
                # Of this request; the one before may have been executed all the same.
                error.may_have_executed = lost is not None
                raise
            lost = error
        else:
            log.info("Connix accepted the restart of agent %r (%s).", before.name, before.id)
            return _restarted(before, time.time())
        log.warning(
            "The response to the restart of agent %r (%s) was lost (%s); looking at the agent.",
            before.name,
            before.id,
            lost,
        )
        look = _confirm(client, project_id, before, lost, requested_at)
        if look.evidence is Evidence.RESTARTED:
            log.info("Agent %r (%s) shows that it was restarted.", before.name, before.id)
            return _restarted(before, sent_at)
        if attempt == MAX_ATTEMPTS or not may_pass(lost) or not await_hint(client, lost, sent_at):
            times = "once" if attempt == 1 else f"{attempt} times"
            raise explained(lost, f"The restart was sent {times} and the agent shows no sign of it")
        log.info(
            "Agent %r (%s) %s: the lost restart did not happen. Restarting it again.",
            before.name,
            before.id,
            "changed in another way" if look.evidence is Evidence.FOREIGN else "has not changed",
        )
        before = look.agent
    raise AssertionError("the loop returns or raises")


def look_for_restart(
    client: Client, project_id: str, agent_id: str, before: Snapshot, *, requested_at: float | None = None
) -> Look | None:
    """
    Look at an agent until it shows a restart, for as long as one may take to begin.

    An agent that is on its way to another status in the end tells nothing yet: the caller waits for it as for
    any other agent that is busy.

    :param client: the client
    :param project_id: the project
    :param agent_id: the agent
    :param before: the agent before the restart
    :param requested_at: epoch seconds of the service's clock at which it was asked for, where that is known
    :return: what the agent shows; ``None`` if the agent was on its way to another status before the restart,
        or if the time allowed was over
    :raises ConnixError: where a look failed
    """
    if before.status not in SETTLED:
        return None
    last = len(CHECK_PAUSES) - 1
    for number in checks(client):
        agent = client.agents.get(project_id, agent_id)
        look = Look(restart_evidence(before, agent.snapshot(), requested_at=requested_at), agent)
        if look.evidence is Evidence.RESTARTED or number == last:
            return look
    return None


def shows_changes(client: Client, project_id: str, agent: Agent) -> bool:
    """
    Tell whether the service moves ``updated_at`` when an agent changes.

    An agent that changed since it was created has two different times. Where this one never did, another one
    of its project tells.

    :param client: the client
    :param project_id: the project
    :param agent: the agent
    :return: whether an unmoved ``updated_at`` proves that nothing happened
    :raises ConnixError: where the project cannot be listed
    """
    return _has_moved(agent) or any(map(_has_moved, client.agents.list(project_id, limit=100)))


def busy(agent: Agent) -> AgentBusyError:
    """
    Make the exception for an agent whose status on its way does not show yet whether it was restarted.

    :param agent: the agent
    :return: the exception, after which the operators wait and look again
    """
    reason = f"it is {agent.status}, so whether it was restarted is not known yet"
    error = AgentBusyError(agent.id, "restart", before=agent.snapshot(), reason=reason)
    error.may_have_executed = True
    return error


def await_next_second(client: Client, agent: Agent) -> None:
    """
    Wait until a change can be told from the last one, where the service counts whole seconds.

    :param client: the client that got the agent
    :param agent: the agent as it is
    """
    if agent.updated_at is None or agent.updated_at.microsecond:
        return
    changed = agent.updated_at.timestamp()
    now = client.limiter.server_time()
    if now is None:
        # The local clock may be off, so it does not show whether the change is a moment or an hour old.
        ago = time.time() - changed
        time.sleep(1.0 if abs(ago) < _DAY else 0.0)
    else:
        time.sleep(max(0.0, min(1.0, changed + 1.0 - now)))


def _confirm(
    client: Client, project_id: str, before: Agent, lost: ConnixError, requested_at: float | None
) -> Look:
    """Find out what became of a restart whose response was lost, or raise if that is unknown."""
    try:
        look = look_for_restart(client, project_id, before.id, before.snapshot(), requested_at=requested_at)
        if look is None and before.status not in SETTLED:
            why = f"it was {before.status} before"
        elif look is None:
            why = "the time allowed was over"
        elif look.evidence is not Evidence.RESTARTED and look.agent.status in TRANSIENT:
            raise busy(look.agent)
        elif look.evidence is not Evidence.NONE or shows_changes(client, project_id, look.agent):
            return look
        else:
            why = "the service does not show when an agent changes (updated_at is missing or never moves)"
    except ConnixRateLimitError as error:
        # A deferrable task gives its slot back for this, and looks again then.
        error.may_have_executed = True
        raise
    except ConnixError as error:
        # Raise a final error; instead of a transient one, raise the lost response, which explains more.
        why = (
            "the agent could not be read" if not may_pass(error) else f"the agent could not be read: {error}"
        )
        lost = lost if may_pass(error) else error
    lost.may_have_executed = True
    raise explained(
        lost,
        f"Whether agent {before.name!r} ({before.id}) was restarted is unknown: {why}. It is not "
        "restarted again. Look at the agent, and clear this task to restart it once more",
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
