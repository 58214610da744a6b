"""Faults between the task and the service: proxy pages, lost and cut responses, hints, false successes."""

from __future__ import annotations

import dataclasses

from hostile.service_responses import HTML, ServiceResponse, json_response, refusal

__all__ = ["LIES", "FaultEffect", "fault_effect"]

#: Bodies of a 200 that report an error, or have no documented field.
LIES: dict[str, object] = {
    "error": {"error": {"code": "internal_error", "message": "upstream is not available"}},
    "success": {"success": False},
    "errors": {"errors": [{"message": "the change was not accepted"}]},
    "status": {"status": "error", "message": "the change was not accepted"},
    "nothing": {},
    "page": None,
}


@dataclasses.dataclass(frozen=True)
class FaultEffect:
    """
    The effect of a fault on one request.

    :param did: whether the service executes the request
    :param response: the response; ``None``: no response
    :param broken: the cause of a missing response: ``refused``, ``unknown host``, ``reset`` or ``silence``
    :param cut: whether only a part of the service's own response arrives
    """

    did: bool
    response: ServiceResponse | None = None
    broken: str = ""
    cut: bool = False


def fault_effect(kind: str) -> FaultEffect:
    """
    Parse the name of a fault.

    ``html 520``, ``json 503``, ``hint 429 3600``, ``project 404``, ``lie success``, ``reset``, ``silence``,
    ``cut``, ``garbage``, ``refused``, ``unknown host``, ``endless 400``; with ``after`` at the end, the
    service executes the request.
    """
    words = kind.split()
    did = words[-1] == "after"
    match words:
        case ["html", number, *_]:
            return FaultEffect(did, ServiceResponse(int(number), {"content-type": "text/html"}, HTML))
        case ["json", number, *_]:
            return FaultEffect(
                did, refusal(int(number), _CODES.get(int(number), "internal_error"), "It failed.")
            )
        case ["hint", number, seconds, *_]:
            response = refusal(int(number), _CODES[int(number)], "Later.", retry_after=float(seconds))
            return FaultEffect(did, response.with_headers({"retry-after": seconds}))
        case ["project", "404"]:
            return FaultEffect(did, refusal(404, "project_not_found", "No such project"))
        case ["lie", which, *_]:
            lie = LIES[which]
            page = ServiceResponse(200, {"content-type": "text/html"}, HTML)
            return FaultEffect(did, page if lie is None else json_response(200, lie))
        case ["endless", number]:
            fault = {"field": "config", "message": "x" * 300}
            many = [fault] * 400
            return FaultEffect(did, refusal(int(number), "validation_error", "y" * 5000, details=many))
        case [("cut" | "garbage"), *_]:
            return FaultEffect(True, cut=True, broken="reset" if words[0] == "cut" else "")
        case ["unknown", "host"]:
            return FaultEffect(False, broken=kind)
        case [("refused" | "reset" | "silence") as broken, *_]:
            return FaultEffect(did, broken=broken)
    raise ValueError(f"there is no fault {kind!r}")


_CODES = {
    400: "validation_error",
    401: "unauthorized",
    403: "insufficient_permissions",
    409: "agent_conflict",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
}


def garbled(response: ServiceResponse) -> ServiceResponse:
    """Cut a JSON text in half."""
    return dataclasses.replace(response, body=response.body[: len(response.body) // 2] or b"{")
