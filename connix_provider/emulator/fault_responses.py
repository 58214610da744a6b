"""How each fault looks on the wire."""

import asyncio
import json
import socket
import struct
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from connix_provider.emulator.faults import Planned
from connix_provider.emulator.responses import AsciiJsonResponse, error

_DRIPS: Final = 20
_HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _gone_within(receive: Receive, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await _gone(receive)
    except TimeoutError:
        return False
    return True


class _Reset(Response):
    """Send a TCP RST: with no lingering, closing a socket throws the connection away."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        linger_for_nothing = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_nothing)
        transport.abort()
        await _gone(receive)


class _Hang(Response):
    """Send nothing until the client leaves or the time is up."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__()
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await _gone_within(receive, self._seconds):
            scope["state"]["transport"].close()
            await _gone(receive)


class _Piecemeal(Response):
    """Send an answer's headers at once, and its body in pieces."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.whole = bytes(answer.body)
        self.status_code = answer.status_code
        self.raw_headers = answer.raw_headers

    async def _begin(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def _piece(self, send: Send, body: bytes, last: bool) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": not last})


class _Slow(_Piecemeal):
    """Let the body drip."""

    def __init__(self, answer: Response, seconds: float) -> None:
        super().__init__(answer)
        self._pause = seconds / _DRIPS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._begin(send)
        size = -(-len(self.whole) // _DRIPS)
        for drip in range(_DRIPS):
            if await _gone_within(receive, self._pause):
                return
            await self._piece(send, self.whole[drip * size : (drip + 1) * size], drip == _DRIPS - 1)


class _Cut(_Piecemeal):
    """Close the connection in the middle of the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._begin(send)
        await self._piece(send, self.whole[: len(self.whole) // 2], last=False)
        scope["state"]["transport"].close()
        await _gone(receive)


def instead(request: Request, planned: Planned) -> Response:
    """
    Answer in place of the service, which has done nothing.

    :param request: the request struck.
    :param planned: the fault.
    """
    options = planned.fault.options
    match planned.fault.name:
        case "status":
            return _status(request, planned)
        case "rate_limited":
            return _rate_limited(request, options["retry_after"], options["hints"])
        case "html_502":
            return Response(_HTML, 502, media_type="text/html")
        case "redirect":
            return Response(status_code=307, headers={"Location": options["location"]})
        case "hang":
            return _Hang(options["seconds"])
        case _:
            return _Reset()


def afterwards(request: Request, planned: Planned, answer: Response) -> Response:
    """
    Spoil the service's answer.

    :param request: the request struck.
    :param planned: the fault.
    :param answer: what the service has answered.
    """
    options = planned.fault.options
    match planned.fault.name:
        case "status":
            return _status(request, planned)
        case "hang":
            return _Hang(options["seconds"])
        case "reset_after":
            return _Reset()
        case "slow_body":
            return _Slow(answer, options["seconds"])
        case "cut_body":
            return _Cut(answer)
        case "bad_json":
            half = bytes(answer.body)[: len(answer.body) // 2]
            return Response(half, 200, media_type="application/json")
        case "unknown_status" if answer.status_code == 200:
            return _unknown_status(answer, options["status"], planned.agent_id)
        case _:
            return answer


def _status(request: Request, planned: Planned) -> Response:
    options = planned.fault.options
    if options["status"] in {204, 304}:
        return Response(status_code=options["status"], headers=options["headers"])
    return error(request, options["status"], options["code"], options["message"], options["headers"])


def _rate_limited(request: Request, retry_after: int, hints: str) -> Response:
    message, headers, more = "Rate limit exceeded.", {}, {}
    if hints == "body":
        message += f" Try again in {retry_after} seconds."
        more["retry_after"] = retry_after
    elif hints == "header":
        headers["Retry-After"] = str(retry_after)
    elif hints == "reset":
        reset = int(request.state.emulator.clock.timestamp()) + retry_after
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
    return error(request, 429, "rate_limit_exceeded", message, headers, **more)


def _unknown_status(answer: Response, status: str, agent_id: str | None) -> Response:
    shown = json.loads(bytes(answer.body))
    for agent in shown.get("agents", [shown]):
        if agent_id in {None, agent["id"]}:
            agent["status"] = status
    return AsciiJsonResponse(shown)
