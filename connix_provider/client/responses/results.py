"""
Read the results of calls from successful responses.

A 200 may have a body such as ``{"error": …}`` or ``{"success": false}``, none of the documented fields, or
those of another agent. None of these is a result, so each reader raises :class:`NoResultError` for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from pydantic_core import from_json

from connix_provider.client.modeling.fields import ConnixModel
from connix_provider.client.models import ActionResult, Agent, DeleteResult
from connix_provider.client.responses.error_bodies import states_failure
from connix_provider.statuses import KNOWN

__all__ = ["NoResultError", "read_agent", "read_confirmation", "rejecting_error_bodies"]

ModelT = TypeVar("ModelT", bound=ConnixModel)
ConfirmationT = TypeVar("ConfirmationT", ActionResult, DeleteResult)


#: Words of a refusal, because a gateway may write {"message": "Forbidden"} under a success status.
_REFUSAL = re.compile(
    r"\b(?:not|no|cannot|can't|unable|fail\w*|error\w*|forbidden|denied|refused|rejected|unauthori[sz]ed|invalid"
    r"|unavailable|maintenance|conflict|busy|exceeded|expired|time[- ]?out|timed out)\b",
    re.IGNORECASE,
)


class NoResultError(ValueError):
    """Raised for a successful response without a result; the message quotes no value of the body."""

    def __str__(self) -> str:
        return str(self.args[0])


def rejecting_error_bodies(read: Callable[[bytes], ModelT]) -> Callable[[bytes], ModelT]:
    """
    Wrap a reader so that it refuses a body which states an error beside a result.

    :param read: makes a result from a body
    :return: the reader, which may raise :class:`NoResultError`
    """

    def read_checked(body: bytes) -> ModelT:
        result = read(body)
        # Only unknown fields can state an error, so a documented result costs nothing here.
        if result.model_extra and states_failure(result.model_extra, is_agent=isinstance(result, Agent)):
            raise NoResultError("an error is stated beside the result")
        return result

    return read_checked


_read_agent = rejecting_error_bodies(Agent.model_validate_json)


def read_agent(body: bytes, *, agent_id: str | None = None, name: str | None = None) -> Agent:
    """
    Read an agent, and refuse another one than the call is about.

    :param agent_id: the agent of the call, if it has an id
    :param name: the name that the call gives the agent
    :raises ValueError: for a body that states an error, is no agent, or is another agent
    """
    agent = _read_agent(body)
    if agent_id is not None and agent.id != agent_id:
        raise NoResultError("it is about an agent with another id")
    # A service may trim or normalize a name.
    if name is not None and agent.name and _folded(agent.name) != _folded(name):
        raise NoResultError("it is about an agent with another name")
    return agent


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()


def read_confirmation(kind: type[ConfirmationT], agent_id: str, body: bytes) -> ConfirmationT:
    """
    Read the response to an action or a delete.

    :param kind: the model
    :param body: the body; an empty one is a confirmation, as with 204
    :raises ValueError: for a body that states an error, is about another agent, has no documented field with
        a value, or has nothing but a message that says no
    """
    if not body.strip():
        return kind(agent_id=agent_id)
    result = kind.model_validate_json(body)
    parsed = from_json(body)
    if states_failure(parsed):
        raise NoResultError("an error is stated")
    if all(parsed.get(name) is None for name in kind.model_fields):
        raise NoResultError(f"the body has none of the fields {', '.join(kind.model_fields)}")
    is_named = result.agent_id or str(parsed.get("status")) in KNOWN
    if not is_named and _REFUSAL.search(result.message):
        raise NoResultError("the body names neither the agent nor its status, and its message says no")
    if result.agent_id and result.agent_id != agent_id:
        raise NoResultError("it is about an agent with another id")
    return result if result.agent_id else result.model_copy(update={"agent_id": agent_id})
