"""How each fault looks to the client."""

import asyncio
import json
import socket
import struct
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from connix_provider.emulator.faults import PlannedFault
from connix_provider.emulator.responses import AsciiJsonResponse, error_response

_PIECES: Final = 20
_HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _disconnects_within(receive: Receive, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await _disconnect(receive)
    except TimeoutError:
        return False
    return True


class _Reset(Response):
    """Send a TCP RST, which closing a socket that does not linger does."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        no_linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        transport.abort()
        await _disconnect(receive)


class _Hang(Response):
    """Send nothing until the client disconnects or the time is over."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__()
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await _disconnects_within(receive, self._seconds):
            scope["state"]["transport"].close()
            await _disconnect(receive)


class _Pieces(Response):
    """Send the headers of another response at once, and its body in pieces."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.whole = bytes(response.body)
        self.status_code = response.status_code
        self.raw_headers = response.raw_headers

    async def _send_headers(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def _send_piece(self, send: Send, body: bytes, is_last: bool) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": not is_last})


class _Slow(_Pieces):
    """Send the pieces over some seconds."""

    def __init__(self, response: Response, seconds: float) -> None:
        super().__init__(response)
        self._interval = seconds / _PIECES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._send_headers(send)
        size = -(-len(self.whole) // _PIECES)
        for number in range(_PIECES):
            if await _disconnects_within(receive, self._interval):
                return
            piece = self.whole[number * size : (number + 1) * size]
            await self._send_piece(send, piece, number == _PIECES - 1)


class _Cut(_Pieces):
    """Close the connection in the middle of the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._send_headers(send)
        await self._send_piece(send, self.whole[: len(self.whole) // 2], is_last=False)
        scope["state"]["transport"].close()
        await _disconnect(receive)


def instead(request: Request, planned: PlannedFault) -> Response:
    """Return the response in place of the service's, which has executed nothing."""
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


def afterwards(request: Request, planned: PlannedFault, response: Response) -> Response:
    """Return what becomes of the service's response to an executed request."""
    options = planned.fault.options
    match planned.fault.name:
        case "status":
            return _status(request, planned)
        case "hang":
            return _Hang(options["seconds"])
        case "reset_after":
            return _Reset()
        case "slow_body":
            return _Slow(response, options["seconds"])
        case "cut_body":
            return _Cut(response)
        case "bad_json":
            half = bytes(response.body)[: len(response.body) // 2]
            return Response(half, 200, media_type="application/json")
        case "unknown_status" if response.status_code == 200:
            return _unknown_status(response, options["status"], planned.agent_id)
        case _:
            return response


def _status(request: Request, planned: PlannedFault) -> Response:
    options = planned.fault.options
    if options["status"] in {204, 304}:
        return Response(status_code=options["status"], headers=options["headers"])
    return error_response(request, options["status"], options["code"], options["message"], options["headers"])


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
    return error_response(request, 429, "rate_limit_exceeded", message, headers, **more)


def _unknown_status(response: Response, status: str, agent_id: str | None) -> Response:
    body = json.loads(bytes(response.body))
    for agent in body.get("agents", [body]):
        if agent_id in {None, agent["id"]}:
            agent["status"] = status
    return AsciiJsonResponse(body)
