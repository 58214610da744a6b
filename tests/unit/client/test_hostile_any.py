"""Any random response gives a result or a ConnixError, in bounded memory."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connix_provider.client import AsyncClient, Client, ConnixAPIError, ConnixError, ConnixResponseError

CALLS = {
    "get": ("p", "a"),
    "list": ("p",),
    "create": ("p", {"name": "x"}),
    "update": ("p", "a", {"name": "x"}),
    "delete": ("p", "a"),
    "start": ("p", "a"),
    "logs": ("p", "a"),
    "metrics": ("p", "a"),
}
#: A valid response to each call, in the shape of the reference.
AGENT = {
    "id": "a",
    "name": "x",
    "status": "running",
    "config": {"model": "gpt-4", "temperature": 0.7, "max_tokens": 100, "tools": ["web"]},
    "metadata": {"version": "1.0.0"},
    "created_at": "2024-01-15T10:30:00Z",
    "updated_at": "2024-01-15T10:30:00Z",
    "stats": {"total_tasks": 3, "success_rate": 0.5},
}
PAGING = {"total": 1, "limit": 20, "offset": 0, "has_more": False}
GOOD = {
    "get": AGENT,
    "create": AGENT,
    "update": AGENT,
    "list": {"agents": [AGENT], "pagination": PAGING},
    "start": {"agent_id": "a", "status": "running", "message": "done"},
    "delete": {"agent_id": "a", "message": "done"},
    "logs": {"logs": [{"timestamp": "2024-01-15T10:30:00Z", "message": "x"}], "pagination": PAGING},
    "metrics": {"metrics": {"tasks": {"total": 3}, "time_series": [{"timestamp": "2024-01-15T10:30:00Z"}]}},
}
HUGE = st.sampled_from(
    ["9" * 5000, "1e400", "-1e400", "NaN", "-Infinity", "0x10", "1_000", "\u0663", "", " ", "-1", "1e18"]
)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | text
    | st.sampled_from([10**400, -(10**30), 2**63, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
#: Headers that mean something to the client, with values that mean nothing.
headers = st.dictionaries(
    st.sampled_from(
        [
            *(
                f"X-RateLimit-{what}{family}"
                for what in ("Limit", "Remaining", "Reset")
                for family in ("", "-Requests")
            ),
            "Content-Encoding",
            "Content-Type",
            "Date",
            "Location",
            "Retry-After",
            "X-Request-ID",
        ]
    ),
    st.one_of(
        HUGE, st.integers().map(str), st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
    ),
    max_size=6,
)
errors = st.fixed_dictionaries(
    {
        "error": st.one_of(
            anything,
            st.fixed_dictionaries(
                {},
                optional=dict.fromkeys(("code", "message", "details", "request_id", "retry_after"), anything),
            ),
        )
    }
)
_numbers = itertools.count(1)


@st.composite
def spoilt(draw, good):
    """A valid response in which one value is replaced."""
    paths = list(_paths(good))
    *way, last = draw(st.sampled_from(paths))
    whole = json.loads(json.dumps(good))
    place = whole
    for step in way:
        place = place[step]
    place[last] = draw(anything)
    return whole


def _paths(value, way=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*way, name)
        yield from _paths(inner, (*way, name))


@st.composite
def responses(draw):
    """A call, and what comes back for it."""
    method = draw(st.sampled_from(sorted(CALLS)))
    status = draw(st.one_of(st.just(200), st.just(429), st.integers(200, 599)))
    body = draw(
        st.one_of(
            st.binary(max_size=50),
            anything.map(_written),
            spoilt(GOOD[method]).map(_written),
            errors.map(_written),
            st.just(_written(GOOD[method])),
        )
    )
    if draw(st.integers(0, 9)) == 0:
        body = body[: len(body) // 2] + b"\xff" + body[len(body) // 2 :]
    return method, status, draw(headers), body


def _written(value):
    # Python's own NaN and Infinity are no JSON, which a service may not know.
    return json.dumps(value).encode()


@pytest.fixture
def reply(raw_server):
    """A server whose response can be replaced."""
    said = []
    server = raw_server(lambda connection, request: connection.sendall(said[-1]))

    def say(status, fields, body):
        lines = [
            f"HTTP/1.1 {status} Any",
            "Connection: close",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        said.append("\r\n".join([*lines, f"Content-Length: {len(body)}"]).encode("latin-1", "replace"))
        said[-1] += b"\r\n\r\n" + body
        return server.url

    return say


def check(error, key):
    assert isinstance(error, ConnixError)
    assert len(str(error)) < 4_000
    assert key not in f"{error}{error!r}"
    assert isinstance(error.may_have_executed, bool)
    if isinstance(error, ConnixAPIError):
        hint = error.retry_after
        assert hint is None or (math.isfinite(hint) and hint >= 0)


# No function-scoped state is kept between examples but the server, whose response each example replaces.
FIXTURE_IS_FINE = settings(suppress_health_check=["function_scoped_fixture", "too_slow"])


@pytest.mark.heavy
@settings(FIXTURE_IS_FINE, max_examples=250)
@given(http_response=responses())
def test_any_response_is_a_result_or_an_error(reply, http_response):
    method, status, fields, body = http_response
    # A key of its own, because the limit in one response would delay the next request.
    key, url = f"cx_{next(_numbers):032x}", reply(status, fields, body)
    with Client(key, url, verify=False, timeout=5, total_timeout=0.2, max_attempts=1) as client:
        try:
            result = getattr(client.agents, method)(*CALLS[method])
        except ConnixError as error:
            check(error, key)
        else:
            assert 200 <= status < 300
            assert repr(result)


@settings(FIXTURE_IS_FINE, max_examples=60)
@given(http_response=responses())
def test_any_response_gives_an_async_result_or_error(reply, http_response):
    method, status, fields, body = http_response
    key, url = f"cx_{next(_numbers):032x}", reply(status, fields, body)

    async def call():
        async with AsyncClient(
            key, url, verify=False, timeout=5, total_timeout=0.2, max_attempts=1
        ) as client:
            return await getattr(client.agents, method)(*CALLS[method])

    try:
        asyncio.run(call())
    except ConnixError as error:
        check(error, key)
    else:
        assert 200 <= status < 300


@pytest.mark.parametrize(
    "body",
    [
        b'{"agents": [' + b",".join([b'{"id": "a", "status": "running"}'] * 1000) + b"],",
        b'{"id": "a", "status": "running", "description": "' + b"x" * 2**20,
        b'{"error": {"code": "x", "details": [' + b'{"field": "f", "message": "m"},' * 1000,
    ],
    ids=["agents", "text", "details"],
)
@pytest.mark.parametrize("status", ["200 OK", "500 No", "422 No"])
async def test_a_hundred_megabytes_are_left_unread(driver, raw_server, http_response, body, status):
    sent = []

    def behave(connection, request):
        connection.sendall(http_response(b"", status, f"Content-Length: {100 * 2**20}", length=False))
        while sum(sent) < 100 * 2**20:
            connection.sendall(body)
            sent.append(len(body))

    client = driver.open("cx_" + 32 * "0", raw_server(behave).url, max_attempts=1)
    tracemalloc.start()
    try:
        with pytest.raises(ConnixError) as caught:
            await driver.run(client, "list", "p")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if status.startswith("200"):
        assert type(caught.value) is ConnixResponseError
        assert "more than 32 MiB" in str(caught.value)
    else:
        # Of an error, the beginning is enough, and its status counts.
        assert isinstance(caught.value, ConnixAPIError)
        assert str(caught.value.status_code) == status[:3]
        assert sum(sent) < 16 * 2**20
    # The body so far, and a copy of it.
    assert peak < 100 * 2**20
    # What lies in the buffers of two sockets was sent, but not read.
    # Beside what was read, the buffers of both sockets hold some megabytes.
    assert sum(sent) < 64 * 2**20
