"""
Read error bodies: the reference's, those of proxies and frameworks, and those under a success status.

All functions are pure. They take parsed JSON and never raise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic_core import from_json

__all__ = ["error_object", "is_connix_error", "parse", "stated_status", "states_failure"]

#: The codes of the reference ("Error Responses"), with their status.
_DOCUMENTED_CODES = {
    "validation_error": 400,
    "unauthorized": 401,
    "insufficient_permissions": 403,
    "agent_not_found": 404,
    "project_not_found": 404,
    "agent_conflict": 409,
    "rate_limit_exceeded": 429,
    "internal_error": 500,
}
#: Fields in which services say whether a request succeeded, those that only a failure has, and those that
#: name the outcome; compared without case and punctuation. The last ones repeat the status.
_FLAGS = ("success", "ok", "succeeded", "accepted", "issuccess")
_FAULTS = (
    *("error", "errors", "iserror", "haserror", "haserrors", "failed", "failure", "exception", "fault"),
    *("errorcode", "errormessage", "errordescription", "errordetails"),
)
_OUTCOMES = ("result", "outcome")
_STATUS_FIELDS = ("status_code", "statusCode", "http_status", "code", "status")
#: Words for a failure in ``status``. Only "error" is a status of an agent, too.
_FAILED = frozenset(
    {
        *("fail", "failed", "failure", "rejected", "refused", "denied", "declined", "forbidden"),
        *("unauthorized", "unauthenticated", "invalid", "not_found", "conflict", "unavailable", "aborted"),
    }
)
_NO = frozenset({"false", "no", "0"})
_YES = frozenset({"", "0", "ok", "success", "succeeded", "accepted", "done", "completed"})
#: What an error field holds without an error.
_NO_ERROR = frozenset({*_NO, *_YES, "none", "null"})


def parse(body: bytes, *, may_be_cut: bool = True) -> Any:
    """
    Parse a body.

    :param may_be_cut: whether the beginning of a body is parsed, too
    :return: the JSON, or ``None`` where it is none
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        if not may_be_cut:
            return None
    try:
        return from_json(body, allow_partial="trailing-strings")
    except ValueError:
        return None


def is_connix_error(parsed: Any) -> bool:
    """
    Return whether a body is the reference's ``{"error": {"code": text, "message": text}}``.

    :return: whether Connix wrote it
    """
    stated = parsed.get("error") if isinstance(parsed, dict) else None
    return isinstance(stated, dict) and all(
        isinstance(stated.get(name), str) and stated[name] for name in ("code", "message")
    )


def error_object(parsed: Any) -> dict[str, Any]:
    """
    Find the reference's ``{"error": {…}}``, or what proxies and frameworks write instead.

    :return: ``code``, ``message`` and ``details``, as far as they are there
    """
    if not isinstance(parsed, dict):
        return {}
    stated = parsed.get("error", parsed.get("errors", parsed))
    if isinstance(stated, str):
        return {"code": stated, "message": parsed.get("message") or parsed.get("error_description")}
    if isinstance(stated, dict) and "message" not in stated and "detail" in stated:
        stated, parsed = stated["detail"], stated
        if isinstance(stated, str):
            return {**parsed, "message": stated}
        if not isinstance(stated, list):
            return {**parsed, **(stated if isinstance(stated, dict) else {})}
    if isinstance(stated, list) and stated:
        faults = [_fault(item) for item in stated]
        if all(isinstance(fault, str) for fault in faults):
            return {**parsed, "message": "; ".join(map(str, faults))}
        return {**parsed, "message": "it was refused", "details": faults}
    return stated if isinstance(stated, dict) else parsed


def states_failure(parsed: Any, *, is_agent: bool = False) -> bool:
    """
    Return whether a body that came with a success status says that the request failed.

    :param is_agent: whether the body is an agent, whose own fields ``error``, ``code`` and ``status``
        describe the agent and not the request
    :return: true for an error object, for ``{"success": false}`` and their like
    """
    if not isinstance(parsed, Mapping):
        return False
    fields = {_bare(name): value for name, value in parsed.items() if isinstance(name, str)}
    if any(name in fields and _is_no(fields[name]) for name in _FLAGS):
        return True
    if is_agent:
        return False
    if any(_is_error(fields.get(name)) for name in _FAULTS) or states_failure(parsed.get("message")):
        return True
    if any(_word(fields.get(name)) in {*_FAILED, "error"} for name in _OUTCOMES):
        return True
    status, has_agent = _word(parsed.get("status")), bool(parsed.get("agent_id"))
    if status in {*_FAILED, "error"}:
        # With the agent's id, "error" is the status that the agent is in when the action is accepted.
        return status in _FAILED or not has_agent
    if (stated := stated_status(parsed)) is not None:
        return stated >= HTTPStatus.BAD_REQUEST
    code = parsed.get("code")
    if isinstance(code, int):
        # 1 means success at some services.
        return code not in {0, 1}
    # A code in words belongs to an error, unless it means success or the response names the agent.
    return isinstance(code, str) and code.lower() not in _YES and not has_agent and "status" not in parsed


def stated_status(stated: Mapping[str, Any]) -> int | None:
    """
    Return the HTTP status that an error object states: as a number, or by its code.

    :param stated: the error object
    :return: the status, or ``None`` where the object states none
    """
    for name in _STATUS_FIELDS:
        value = stated.get(name)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
            return value
    code = stated.get("code")
    if not isinstance(code, str):
        return None
    if (known := _DOCUMENTED_CODES.get(code.lower())) is not None:
        return known
    named = HTTPStatus.__members__.get(code.upper().replace(" ", "_").replace("-", "_"))
    return None if named is None else int(named)


def _is_no(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _NO
    return isinstance(value, bool | int | float) and not value


def _is_error(value: Any) -> bool:
    """Return whether an ``error`` field holds one; null, false, 0, "" and empty containers are none."""
    return value.strip().lower() not in _NO_ERROR if isinstance(value, str) else bool(value)


def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _word(value: Any) -> str:
    return value.strip().lower().replace(" ", "_").replace("-", "_") if isinstance(value, str) else ""


def _fault(stated: Any) -> Any:
    """Convert a framework's error of one field, ``{loc, msg, input, …}``, to the form of the reference."""
    if not isinstance(stated, dict) or not isinstance(stated.get("msg"), str):
        return stated
    place = stated.get("loc")
    field = ".".join(map(str, place)) if isinstance(place, list) else None
    return {"field": field, "message": stated["msg"]}
