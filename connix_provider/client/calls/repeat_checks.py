"""
Find out whether a lost request was executed, when its repeat is refused.

A create and a restart are not repeated, so they have no check here: their operators look for the result.
"""

from __future__ import annotations

from typing import Any

from connix_provider.client.calls.call import Call, RepeatCheck
from connix_provider.client.calls.merging import already_holds
from connix_provider.client.errors import ConnixConflictError, ConnixError, ConnixNotFoundError
from connix_provider.client.models import ActionResult, Agent, DeleteResult
from connix_provider.statuses import AgentStatus

__all__ = ["action_check", "delete_check", "update_check"]


def update_check(get: Call[Agent], changes: Any) -> RepeatCheck[Agent]:
    """
    Return the check of an update: after a 409, the agent shows whether it has the changes.

    :param get: reads the agent
    :param changes: the body of the update
    """

    def result_of(agent: Agent | None) -> Agent | None:
        return agent if agent and already_holds(agent.model_dump(mode="json"), changes) else None

    return RepeatCheck(_is_conflict, get, result_of)


def delete_check(agent_id: str) -> RepeatCheck[DeleteResult]:
    """Return the check of a delete: the agent's own 404 proves it."""
    message = "Agent was deleted by the request whose response was lost"
    return RepeatCheck(_is_gone, None, lambda _: DeleteResult(agent_id=agent_id, message=message))


def action_check(get: Call[Agent], action: str, status: AgentStatus) -> RepeatCheck[ActionResult]:
    """
    Return the check of an action: after a 409, the agent's status proves it.

    :param get: reads the agent
    :param action: the action, for the result's message
    :param status: the status that the action leads to
    """

    def result_of(agent: Agent | None) -> ActionResult | None:
        if agent is None or agent.status != status:
            return None
        message = f"The {action} whose response was lost was executed"
        return ActionResult(agent_id=agent.id, status=agent.status, message=message)

    return RepeatCheck(_is_conflict, get, result_of)


def _is_gone(error: ConnixError) -> bool:
    return isinstance(error, ConnixNotFoundError) and error.is_of_an_agent


def _is_conflict(error: ConnixError) -> bool:
    return isinstance(error, ConnixConflictError)
