"""
Evidence of a restart whose response was lost.

Only the agent shows it (:func:`connix_provider.lifecycle.restart_evidence`): its status changed, or
``updated_at`` moved while its content stayed. An unmoved ``updated_at`` proves that nothing happened only if
the service is known to move it at all.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from connix_provider.lifecycle import Evidence, restart_evidence
from connix_provider.operators._base.busy_agent import AgentBusyError
from connix_provider.operators._once.lost_response import CHECK_DELAYS, checks
from connix_provider.statuses import SETTLED

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client
    from connix_provider.poll_state import Snapshot

__all__ = ["RestartCheck", "await_next_second", "busy", "check_restart", "shows_changes"]

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


def check_restart(
    client: Client, project_id: str, agent_id: str, before: Snapshot, *, requested_at: float | None = None
) -> RestartCheck | None:
    """
    Read an agent until it shows a restart, for as long as a restart may take to begin.

    If the agent is creating or updating in the last check, the caller waits for it and checks again.

    :param before: the agent before the restart
    :param requested_at: epoch seconds of the request by the service's clock, if known
    :return: the last check; ``None`` if the agent was creating or updating before the restart, or if the
        deadline passed
    :raises ConnixError: if the agent cannot be read
    """
    if before.status not in SETTLED:
        return None
    last = len(CHECK_DELAYS) - 1
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


def _has_moved(agent: Agent) -> bool:
    return None not in (agent.created_at, agent.updated_at) and agent.created_at != agent.updated_at
