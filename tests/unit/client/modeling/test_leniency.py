"""What HTTP clients read although it is not quite right, the client reads too."""

import gzip
import json
import time
import zlib

import pytest

from connix_provider.client import ConnixConflictError, ConnixRateLimitError
from connix_provider.client.auth.checks import json_object
from connix_provider.client.ratelimit.retry_after import retry_after_hint

KEY = "cx_" + 32 * "0"
JSON = json.dumps({"id": "a", "name": "Ä", "status": "running"}, ensure_ascii=False).encode()
BOM = b"\xef\xbb\xbf"
HALF = len(JSON) // 2
MEMBERS = gzip.compress(JSON[:HALF]) + gzip.compress(JSON[HALF:])


def bare_deflate(body):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


#: bytes of the body, Content-Encoding headers
BODIES = {
    "byte order mark": (BOM + JSON, []),
    "byte order mark, packed": (gzip.compress(BOM + JSON), ["gzip"]),
    "UTF-16, little end first": (b"\xff\xfe" + JSON.decode().encode("utf-16-le"), []),
    "UTF-16, big end first": (b"\xfe\xff" + JSON.decode().encode("utf-16-be"), []),
    "white space around": (b"\r\n\t " + JSON + b"\n\n", []),
    "utf-8": (JSON, ["utf-8"]),
    "UTF-8": (JSON, ["UTF-8"]),
    "none": (JSON, ["none"]),
    "identity": (JSON, ["identity"]),
    "empty": (JSON, [""]),
    "unknown": (JSON, ["aws-chunked"]),
    "label of br alone": (JSON, ["br"]),
    "identity and gzip": (PACKED := gzip.compress(JSON), ["identity, gzip"]),
    "gzip and utf-8": (PACKED, ["gzip, utf-8"]),
    "two headers": (PACKED, ["identity", "gzip"]),
    "GZIP": (PACKED, ["GZIP"]),
    "x-gzip": (PACKED, ["x-gzip"]),
    "gzip twice": (gzip.compress(PACKED), ["gzip, gzip"]),
    "deflate": (zlib.compress(JSON), ["deflate"]),
    "deflate, small window": (zlib.compress(JSON, 1), ["deflate"]),
    "deflate without its header": (bare_deflate(JSON), ["deflate"]),
    "gzip of deflate": (gzip.compress(zlib.compress(JSON)), ["deflate, gzip"]),
    "two members": (MEMBERS, ["gzip"]),
    "a member for each byte": (b"".join(gzip.compress(JSON[n : n + 1]) for n in range(len(JSON))), ["gzip"]),
    "an empty last member": (PACKED + gzip.compress(b""), ["gzip"]),
    "an empty first member": (gzip.compress(b"") + PACKED, ["gzip"]),
    "one zero": (PACKED + b"\0", ["gzip"]),
    "trailing zeros": (PACKED + 700 * b"\0", ["gzip"]),
    "members and zeros": (MEMBERS + 700 * b"\0", ["gzip"]),
    "a line break": (PACKED + b"\r\n", ["gzip"]),
    "no trailer": (PACKED[:-8], ["gzip"]),
    "deflate and zeros": (zlib.compress(JSON) + 9 * b"\0", ["deflate"]),
}


def served(body, codings, status, size):
    """Answer in TCP segments of a size, or at once."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines = "\r\n".join([*head, *(f"Content-Encoding: {coding}" for coding in codings)]).encode()

    def behave(connection, request):
        connection.sendall(lines + b"\r\n\r\n")
        for at in range(0, len(body), size):
            connection.sendall(body[at : at + size])
            time.sleep(0.0002 if size < len(body) else 0)

    return behave


@pytest.mark.parametrize("size", [1, 10**6], ids=["byte by byte", "at once"])
@pytest.mark.parametrize(("body", "codings"), BODIES.values(), ids=BODIES)
async def test_a_lenient_body_is_read(driver, raw_server, body, codings, size):
    if size == 1 and len(body) > 1000:
        size = 7
    server = raw_server(served(body, codings, "200 OK", size))
    agent = await driver.run(driver.open(KEY, server.url, max_attempts=1), "get", "p", "a")
    assert (agent.id, agent.name) == ("a", "Ä")


ERROR = json.dumps({"error": {"code": "agent_conflict", "message": "Exists already"}}).encode()


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (BOM + ERROR, []),
        (ERROR, ["none"]),
        (gzip.compress(ERROR[:20]) + gzip.compress(ERROR[20:]), ["gzip"]),
        (gzip.compress(ERROR) + 700 * b"\0", ["gzip"]),
        (zlib.compress(ERROR), ["deflate"]),
    ],
    ids=["mark", "none", "members", "zeros", "deflate"],
)
async def test_a_lenient_error_body_is_read(driver, raw_server, body, codings):
    server = raw_server(served(body, codings, "409 Conflict", 10**6))
    with pytest.raises(ConnixConflictError, match="Exists already") as caught:
        await driver.run(driver.open(KEY, server.url, max_attempts=1), "start", "p", "a")
    assert caught.value.has_error_body


async def test_zeros_without_end_are_left_unread(driver, raw_server, http_response):
    def behave(connection, request):
        connection.sendall(http_response(PACKED, "200 OK", "Content-Encoding: gzip", length=False))
        while True:
            connection.sendall(2**16 * b"\0")

    client = driver.open(KEY, raw_server(behave).url, max_attempts=1)
    assert (await driver.run(client, "get", "p", "a")).id == "a"


DATE = "Wed, 25 Nov 2026 10:00:00 GMT"
RETRY_AFTER = [
    (["7"], 7),
    (["7", "7"], 7),
    (["7", "20"], 20),
    (["20", "7"], 20),
    (["7", "nonsense"], 7),
    (["", "7"], 7),
    (["-3", "7"], 7),
    (["Wed, 25 Nov 2026 10:00:30 GMT"], 30),
    (["Wed, 25 Nov 2026 10:00:30 GMT", "Wed, 25 Nov 2026 10:00:30 GMT"], 30),
    (["Wed, 25 Nov 2026 10:00:10 GMT", "Wednesday, 25-Nov-26 10:00:30 GMT"], 30),
    (["Wed Nov 25 10:00:30 2026"], 30),
    (["9", "Wed, 25 Nov 2026 10:00:30 GMT"], 9),
    (["nonsense", "more"], None),
]


@pytest.mark.parametrize(("values", "seconds"), RETRY_AFTER)
def test_retry_after_may_be_given_twice(values, seconds):
    for separator in (", ", ","):
        assert retry_after_hint({"retry-after": separator.join(values), "date": DATE}) == seconds


async def test_retry_after_in_two_headers_is_a_hint(driver, raw_server, http_response):
    refusal = http_response(
        {"error": {"code": "x", "message": "m"}}, "429 No", "Retry-After: 40", "Retry-After: 40"
    )
    client = driver.open(KEY, raw_server(refusal).url, total_timeout=10)
    with pytest.raises(ConnixRateLimitError) as caught:
        await driver.run(client, "get", "p", "a")
    assert caught.value.retry_after == 40


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted"])
@pytest.mark.parametrize(
    ("pack", "coding"), [(bytes, "none"), (gzip.compress, "gzip"), (zlib.compress, "deflate")]
)
async def test_a_lenient_token_response_is_read(driver, raw_server, http_response, status, pack, coding):
    body = pack(BOM + json.dumps({"access_token": "new-token"}).encode())
    tokens = raw_server(http_response(body, status, f"Content-Encoding: {coding}"))
    server = raw_server(http_response({"agents": []}))
    client = driver.open(base_url=server.url, refresh_token="refresh-1", token_url=tokens.url)
    await driver.run(client, "list", "p")
    assert b"Bearer new-token" in server.requests[0]


def test_a_token_is_read_in_any_unicode():
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert json_object('{"a": "Ä"}'.encode(encoding)) == {"a": "Ä"}
