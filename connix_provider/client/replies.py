"""
Read the results of calls, and let no body pass that says no under a success status.

A gateway or a service may answer 200 with ``{"error": …}`` or ``{"success": false}``, or with a body that has
none of the fields which the reference documents. Neither is a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic_core import from_json

from connix_provider.client.error_bodies import says_no
from connix_provider.client.fields import ConnixModel
from connix_provider.client.models import ActionResult, Agent, DeleteResult

__all__ = ["NoResultError", "checked", "read_agent", "read_confirmation"]

ModelT = TypeVar("ModelT", bound=ConnixModel)
ConfirmationT = TypeVar("ConfirmationT", ActionResult, DeleteResult)


class NoResultError(ValueError):
    """Raised for a body under a success status that is no result; the text names the reason and no value."""

    def __str__(self) -> str:
        return str(self.args[0])


def checked(read: Callable[[bytes], ModelT]) -> Callable[[bytes], ModelT]:
    """
    Add the check to a reader.

    :param read: reads a result from a body
    :return: a reader that raises :class:`NoResultError` for a result beside which an error is stated
    """

    def read_checked(body: bytes) -> ModelT:
        result = read(body)
        # Fields that the reference knows are none of these, so a usual result costs nothing here.
        if result.model_extra and says_no(result.model_extra, is_agent=isinstance(result, Agent)):
            raise NoResultError("an error is stated beside the result")
        return result

    return read_checked


read_agent = checked(Agent.model_validate_json)


def read_confirmation(kind: type[ConfirmationT], agent_id: str, body: bytes) -> ConfirmationT:
    """
    Read the reply to an action or a delete.

    :param kind: the model
    :param agent_id: the agent that the call names
    :param body: the body; an empty one confirms the call, as 204 does
    :return: the confirmation
    :raises ValueError: for a body that says no, or has no documented field with a value
    """
    if not body.strip():
        return kind(agent_id=agent_id)
    result = kind.model_validate_json(body)
    parsed = from_json(body)
    if says_no(parsed):
        raise NoResultError("an error is stated")
    if all(parsed.get(name) is None for name in kind.model_fields):
        raise NoResultError(f"none of the fields {', '.join(kind.model_fields)} is there")
    return result if result.agent_id else result.model_copy(update={"agent_id": agent_id})
