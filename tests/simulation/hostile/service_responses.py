"""Responses of the service, or of a gateway in front of it: a status, headers and bytes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

__all__ = ["HTML", "ServiceResponse", "json_response", "refusal"]

HTML = b"<!DOCTYPE html><html><head><title>proxy</title></head><body><h1>Please try again</h1></body></html>"


@dataclasses.dataclass(frozen=True)
class ServiceResponse:
    """One response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def with_headers(self, more: dict[str, str]) -> ServiceResponse:
        return dataclasses.replace(self, headers={**more, **self.headers}) if more else self


def json_response(status: int, content: Any, **headers: str) -> ServiceResponse:
    return ServiceResponse(
        status, {"content-type": "application/json", **headers}, json.dumps(content).encode()
    )


def refusal(status: int, code: str, message: str, **more: Any) -> ServiceResponse:
    """Write the reference's error body."""
    return json_response(status, {"error": {"code": code, "message": message, **more}})
