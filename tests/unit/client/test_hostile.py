"""Answers that no service should give: always a ConnixError, in bounded time and memory."""

import gzip
import json
import tracemalloc
import zlib
from operator import attrgetter

import pytest

from connix_provider.client import (
    Agent,
    AgentConfig,
    ConnixConnectionError,
    ConnixError,
    ConnixResponseError,
    ConnixTimeoutError,
)

KEY = "cx_" + 32 * "0"
AGENT = {"id": "a", "status": "running"}
CALLS = {
    "get": ("p", "a"),
    "list": ("p",),
    "create": ("p", {"name": "x"}),
    "delete": ("p", "a"),
    "start": ("p", "a"),
    "logs": ("p", "a"),
    "metrics": ("p", "a"),
}


@pytest.fixture
def ask(driver, raw_server):
    async def ask(http_response, method="get", **options):
        server = raw_server(http_response)
        client = driver.open(
            KEY, server.url, **{"max_attempts": 1, "timeout": 5, "total_timeout": 10, **options}
        )
        with pytest.raises(ConnixError) as caught:
            await driver.run(client, method, *CALLS[method])
        error = caught.value
        assert not isinstance(error, ConnixTimeoutError), "all that will ever be told has been told"
        assert error.__cause__ is None
        assert error.__context__ is None or isinstance(error.__context__, zlib.error)
        assert error.request_id
        assert KEY not in f"{error}{error!r}"
        return error

    return ask


UNREADABLE = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"5",
    b'"agent"',
    b"{",
    b"<html></html>",
    b"\xff\xfe\x00",
    b'{"id": "\xff", "status": "running"}',
    b"{} {}",
    100_000 * b"[",
    b'{"a":' * 100_000,
    b'{"id": "a", "status": "running", "config": {"max_tokens": ' + 5_000 * b"9" + b"}}",
    json.dumps(AGENT | {"metadata": {"n": [[]]}}).replace("[[]]", 300 * "[" + 300 * "]").encode(),
    *(
        json.dumps(bad).encode()
        for bad in (
            {"id": "a"},
            {"status": "running"},
            {"id": None, "status": "running"},
            {"id": True, "status": "running"},
            {"id": [], "status": "running"},
            {"id": "a", "status": None},
            {"id": "a", "status": 5},
        )
    ),
]


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: repr(body[:40]))
async def test_a_body_without_an_agent_is_unreadable(ask, http_response, body):
    for method in ("get", "create"):
        error = await ask(http_response(body), method)
        assert type(error) is ConnixResponseError
        assert error.may_have_executed
        assert f"{len(body)} bytes" in str(error)
        assert len(str(error)) < 800


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("list", {}),
        ("list", {"agents": {}}),
        ("list", {"agents": "none"}),
        ("list", [AGENT]),
        ("logs", {}),
        ("metrics", {}),
        ("metrics", {"metrics": []}),
        ("start", []),
        ("delete", "deleted"),
    ],
)
async def test_other_bodies_without_a_result_are_unreadable(ask, http_response, method, body):
    assert type(await ask(http_response(body), method)) is ConnixResponseError


async def test_optional_fields_may_be_missing(driver, raw_server, http_response):
    async def run(method, body):
        return await driver.run(driver.open(KEY, raw_server(http_response(body)).url), method, *CALLS[method])

    agent = await run("get", AGENT | {"config": None, "metadata": None, "created_at": "2024-01-15T10:00:00"})
    assert (agent.id, agent.config.model, agent.metadata, agent.updated_at) == ("a", None, {}, None)
    assert agent.created_at.utcoffset().total_seconds() == 0
    page = await run("list", {"agents": [], "pagination": None})
    assert (len(page), page.pagination.total, page.pagination.has_more) == (0, None, False)
    log = await run("logs", {"logs": [{"timestamp": "2024-01-15T10:00:00Z", "context": None}]})
    assert (log[0].message, log[0].context) == ("", {})
    metrics = await run("metrics", {"metrics": {"tasks": None}, "period": None})
    assert (metrics.tasks.total, metrics.time_series, metrics.period.interval) == (None, [], None)
    for body in (b"", b" ", {"message": "ok"}, {"agent_id": "a"}):
        assert (await run("delete", body)).agent_id == "a"
        started = await run("start", body)
        assert (started.agent_id, started.status) == ("a", None)
    assert (await run("get", AGENT | {"project_id": 7, "later": {"a": 1}})).later == {"a": 1}


@pytest.mark.parametrize(
    ("odd", "read"),
    [
        ({"name": None}, {"name": ""}),
        ({"name": 5}, {"name": "5"}),
        ({"name": ["x"]}, {"name": '["x"]'}),
        ({"description": ["x"]}, {"description": ["x"]}),
        ({"project_id": {"n": 1}}, {"project_id": {"n": 1}}),
        ({"created_at": "yesterday"}, {"created_at": None}),
        ({"updated_at": 10**30}, {"updated_at": None}),
        ({"updated_at": {"$date": 5}}, {"updated_at": None}),
        ({"last_activity": ""}, {"last_activity": None}),
        ({"config": []}, {"config": AgentConfig()}),
        ({"config": {"tools": "web"}}, {"config.tools": "web"}),
        ({"config": {"tools": [{"type": "web"}]}}, {"config.tools": [{"type": "web"}]}),
        (
            {"config": {"temperature": "auto", "model": "m"}},
            {"config.temperature": "auto", "config.model": "m"},
        ),
        ({"config": {"max_tokens": 2.5}}, {"config.max_tokens": 2.5}),
        ({"config": {"environment_variables": ["A=b"]}}, {"config.environment_variables": ["A=b"]}),
        ({"metadata": []}, {"metadata": {}}),
        ({"stats": 7}, {"stats": None}),
        ({"stats": {"total_tasks": "many", "failed_tasks": 1.5}}, {"stats.total_tasks": None}),
    ],
    ids=lambda odd: repr(odd)[:40],
)
async def test_an_unreadable_minor_field_spoils_no_response(driver, raw_server, http_response, odd, read):
    client = driver.open(KEY, raw_server(http_response(AGENT | odd)).url)
    page = {"agents": [AGENT, AGENT | odd], "pagination": {"has_more": False}}
    listing = driver.open(KEY, raw_server(http_response(page)).url)
    alone = await driver.run(client, "get", "p", "a")
    listed = (await driver.run(listing, "list", "p"))[1]
    for agent in (alone, listed):
        assert (agent.id, agent.status) == ("a", "running")
        for path, value in read.items():
            assert attrgetter(path)(agent) == value
        # What was read can be written again, and no field of it stands in the way.
        assert "A=b" not in repr(agent)
        again = Agent.model_validate_json(agent.model_dump_json())
        assert again.model_dump() == agent.model_dump()


ODD_ENTRIES = [5, None, {}, {"id": "b"}, {"id": None, "status": "running"}, {"id": "secret-1", "status": 5}]


async def test_entries_without_id_or_status_are_left_out(driver, raw_server, http_response, caplog):
    page = {
        "agents": [AGENT, *ODD_ENTRIES, AGENT | {"id": "z"}],
        "pagination": {"total": 8, "has_more": True},
    }
    client = driver.open(KEY, raw_server(http_response(page)).url)
    read = await driver.run(client, "list", "p")
    assert [agent.id for agent in read] == ["a", "z"]
    assert (len(read), read.size, read.pagination.has_more) == (2, 8, True)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "Skipped 6 of 8 agents on a page, because they cannot be parsed"
    ]


async def test_odd_lines_and_points_cost_no_others(driver, raw_server, http_response):
    async def run(method, body):
        return await driver.run(driver.open(KEY, raw_server(http_response(body)).url), method, *CALLS[method])

    lines = [
        {"message": "no time"},
        {"timestamp": "2024-99-99", "context": "c"},
        "line",
        {"level": None},
        {"level": 50},
    ]
    log = await run("logs", {"logs": lines})
    assert [(line.timestamp, line.level, line.message, line.context) for line in log] == [
        (None, "", "no time", {}),
        (None, "", "", "c"),
        (None, "", "", {}),
        (None, "50", "", {}),
    ]
    points = [{}, 5, {"timestamp": "2024-01-15T10:00:00Z", "tasks_completed": 5}]
    metrics = await run(
        "metrics", {"metrics": {"tasks": {"total": "many"}, "time_series": points}, "period": 5}
    )
    assert (metrics.tasks.total, len(metrics.time_series)) == (None, 2)
    assert metrics.time_series[1].tasks_completed == 5
    assert (await run("start", {"status": ["running"], "message": 5})).status is None
    assert (await run("delete", {"agent_id": {}})).agent_id == "a"


@pytest.mark.parametrize(("method", "name"), [("list", "agents"), ("logs", "logs")])
async def test_null_is_an_empty_page(driver, raw_server, http_response, method, name):
    page = await driver.run(
        driver.open(KEY, raw_server(http_response({name: None})).url), method, *CALLS[method]
    )
    assert (len(page), page.pagination.has_more) == (0, False)


async def test_null_is_an_empty_time_series(driver, raw_server, http_response):
    server = raw_server(http_response({"metrics": {"time_series": None, "performance": []}}))
    metrics = await driver.run(driver.open(KEY, server.url), "metrics", "p", "a")
    assert (metrics.time_series, metrics.performance.avg_response_time) == ([], None)


@pytest.mark.parametrize(
    ("paging", "total"),
    [([], None), ({"total": 1.5}, 1), ({"total": "many"}, None), ({"has_more": 7}, None)],
)
async def test_paging_that_cannot_be_read_costs_no_page(driver, raw_server, http_response, paging, total):
    server = raw_server(http_response({"agents": [AGENT], "pagination": paging}))
    page = await driver.run(driver.open(KEY, server.url), "list", "p")
    assert (len(page), page.pagination.total) == (1, total)


async def test_an_oversized_body_is_refused(ask, http_response):
    def behave(connection, request):
        connection.sendall(http_response(b"", "200 OK", f"Content-Length: {40 * 2**20}", length=False))
        for _ in range(40):
            connection.sendall(2**20 * b" ")

    tracemalloc.start()
    try:
        error = await ask(behave)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(error) is ConnixResponseError
    assert "more than 32 MiB" in str(error)
    assert error.may_have_executed
    assert peak < 120 * 2**20


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_endless_body_is_refused(ask, http_response, chunked):
    def behave(connection, request):
        headers = ["Transfer-Encoding: chunked"] if chunked else []
        connection.sendall(http_response(b"", "200 OK", *headers, length=False))
        piece = 2**18 * b" "
        while True:
            connection.sendall(b"40000\r\n" + piece + b"\r\n" if chunked else piece)

    assert "more than 32 MiB" in str(await ask(behave))


_packer = zlib.compressobj(1, wbits=31)
#: 400 MB in less than 2 MB: every piece is the same, and made once.
BOMB = _packer.compress(2**20 * b" ") + _packer.flush(zlib.Z_FULL_FLUSH)
BOMB += 400 * (_packer.compress(2**20 * b" ") + _packer.flush(zlib.Z_FULL_FLUSH))


@pytest.mark.parametrize("status", ["200 OK", "500 No", "401 No"])
async def test_a_gzip_bomb_is_refused(ask, http_response, status):
    tracemalloc.start()
    try:
        error = await ask(http_response(BOMB, status, "Content-Encoding: gzip"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if status.startswith("200"):
        assert "more than 32 MiB" in str(error)
    else:
        # Of an error, the beginning is enough.
        assert str(error).startswith(f"Connix responded {status[:3]} ")
    assert peak < 120 * 2**20


JSON = json.dumps(AGENT).encode()
PACKED = gzip.compress(JSON, mtime=0)


async def test_only_gzip_is_asked_for(driver, raw_server, http_response):
    server = raw_server(http_response(PACKED, "200 OK", "Content-Encoding: gzip"))
    assert (await driver.run(driver.open(KEY, server.url), "get", "p", "a")).id == "a"
    assert b"\r\naccept-encoding: gzip\r\n" in server.requests[0].lower()


@pytest.mark.parametrize(
    ("body", "encoding", "told"),
    [
        (b"no gzip", "gzip", "has an invalid gzip or deflate coding"),
        (PACKED[:5], "gzip", "has an invalid gzip or deflate coding"),
        (PACKED[:1], "gzip", "has an invalid gzip or deflate coding"),
        (PACKED[:20], "gzip", "(Content-Encoding: gzip)"),
        (zlib.compress(JSON)[:-12], "deflate", "(Content-Encoding: deflate)"),
        (
            gzip.compress(JSON[:9], mtime=0) + b"\x1f\x8bbroken",
            "gzip",
            "has an invalid gzip or deflate coding",
        ),
        (b"x", "br", "(Content-Encoding: br)"),
        (b"x", "zstd", "(Content-Encoding: zstd)"),
        (b"x", "nonsense", "(Content-Encoding: nonsense)"),
        (b"", "gzip", "0 bytes"),
    ],
)
async def test_unreadable_content_encodings_are_errors(ask, http_response, body, encoding, told):
    error = await ask(http_response(body, "200 OK", f"Content-Encoding: {encoding}"))
    assert type(error) is ConnixResponseError
    assert told in str(error)


async def test_a_cut_empty_body_confirms_no_action(ask, http_response):
    error = await ask(http_response(gzip.compress(b"")[:8], "200 OK", "Content-Encoding: gzip"), "start")
    assert type(error) is ConnixResponseError


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x00\x01\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX" + 200_000 * b"x",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200",
    ],
)
async def test_a_response_that_is_not_http(ask, raw):
    error = await ask(raw, "create")
    assert isinstance(error, ConnixError)
    assert error.may_have_executed or getattr(error, "status_code", 0) == 101
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    "header",
    [
        "Set-Cookie: a=b; Expires=never; Max-Age=lots; Domain=..; Path=\xff",
        "Set-Cookie: " + 500 * ";=",
        "Content-Type: \xff\xfe; charset=\x80nonsense",
        "Content-Type: ;;;",
        "Date: \xff",
        "X-Request-ID: \xff\xfe",
        "Retry-After: \xff",
        "X-RateLimit-Reset: " + 400 * "9",
        "Link: <<<>>>",
        "Www-Authenticate: Digest nonce=\xff",
    ],
)
async def test_odd_headers_change_no_result(driver, raw_server, http_response, ask, header):
    server = raw_server(http_response(AGENT, "200 OK", header))
    assert (await driver.run(driver.open(KEY, server.url), "get", "p", "a")).id == "a"
    assert (await ask(http_response(b"", "404 No", header))).status_code == 404
    refusal = http_response({"error": {"retry_after": 99}}, "429 No", header)
    # The pause that the refusal asks for is longer than the call may take: it ends at once.
    assert (await ask(refusal, total_timeout=10)).status_code == 429


async def test_a_closed_connection_is_named(ask):
    error = await ask(b"")
    assert type(error) is ConnixConnectionError
    assert "the server closed the connection" in str(error)
