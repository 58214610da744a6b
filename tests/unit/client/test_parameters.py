"""Parameters are checked before anything is sent, and ids reach the service as one segment of the path."""

import collections
import decimal
import enum
import json
import math
import types
from datetime import UTC, date, datetime, timedelta, timezone
from urllib.parse import unquote

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.client import ConnixNotFoundError, ConnixValidationError
from connix_provider.client.calls.arguments import plain
from connix_provider.client.endpoints import (
    create_agent,
    get_agent,
    get_logs,
    get_metrics,
    list_agents,
    update_agent,
)

P, A = "proj_1", "agent_1"
AWARE = datetime(2024, 1, 15, 10, tzinfo=UTC)
CIRCULAR: dict = {"name": "x"}
CIRCULAR["self"] = CIRCULAR

BAD = [
    *(("list", (P,), {"limit": bad}, "limit") for bad in (0, 101, -1, True, "10", 10.0)),
    *(("list", (P,), {"offset": bad}, "offset") for bad in (-1, "0", False, 1.5)),
    *(("list", (P,), {"sort": bad}, "sort") for bad in ("", "status", "+name", ["name"], 1)),
    *(("list", (P,), {"status": bad}, "status") for bad in ("", "  ", 5, ["running"], "\ud800")),
    *(("logs", (P, A), {"limit": bad}, "limit") for bad in (0, 1001, True, "1")),
    *(("logs", (P, A), {"offset": bad}, "offset") for bad in (-1, None.__class__)),
    *(("logs", (P, A), {"level": bad}, "level") for bad in ("", "warning", "INFO", 3)),
    *(("metrics", (P, A), {"interval": bad}, "interval") for bad in ("", "2h", "1H", 60, ["1h"])),
    *(
        (method, (P, A), {name: bad}, name)
        for method in ("logs", "metrics")
        for name in ("start_time", "end_time")
        for bad in (
            "",
            "garbage",
            "now",
            "12:00",
            "T10:00",
            "P1D",
            "2024-01-01/2024-02-01",
            "2024-13-01",
            "15/01/2024",
            "1705334400",
            "0001-01-01T00:00:00+14:00",
            1705334400,
            True,
            date(2024, 1, 15),
            timedelta(hours=1),
            pendulum.duration(hours=1),
            datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
        )
    ),
    *(
        (method, (P, A), {"start_time": since, "end_time": until}, "start_time .* end_time")
        for method in ("logs", "metrics")
        for since, until in (
            ("2024-01-15T10:00:01Z", AWARE),
            (datetime(2024, 1, 15, 10, 0, 1), "2024-01-15T10:00:00Z"),  # noqa: DTZ001 - a naive time on purpose
            (pendulum.datetime(2024, 1, 15, 6, tz="America/New_York"), AWARE),
            ("2024-01-16", "2024-01-15"),
        )
    ),
    *(
        (method, (bad, *rest), {}, "project_id")
        for method, rest in (("list", ()), ("get", (A,)), ("start", (A,)), ("logs", (A,)), ("metrics", (A,)))
        for bad in ("", "  ", ".", "..", None, True, 1.5, b"proj", "\ud800")
    ),
    *(
        (method, (P, bad), {}, "agent_id")
        for method in ("get", "delete", "start", "pause", "stop", "restart", "logs", "metrics")
        for bad in ("", "\t", ".", "..", None, False, b"agent", "half \udfff")
    ),
    ("update", (P, "..", {"name": "x"}), {}, "agent_id"),
    *(
        ("create", (P, bad), {}, "agent")
        for bad in (
            None,
            "name",
            ["name"],
            {},
            {"name": ""},
            {"name": " "},
            {"name": None},
            {"name": 5},
            {"config": {}},
            {"name": "x", "config": {"temperature": math.nan}},
            {"name": "x", "config": {"temperature": math.inf}},
            {"name": "x", "metadata": {"when": AWARE}},
            {"name": "x", "metadata": {("a", "b"): 1}},
            {"name": "x", "metadata": {"set": {1}}},
            CIRCULAR,
        )
    ),
    *(
        ("update", (P, A, bad), {}, "changes")
        for bad in (None, "name", [], {}, {"config": {"temperature": math.nan}}, {"name": b"x"})
    ),
]


@pytest.mark.parametrize("method", dict.fromkeys(method for method, *_ in BAD))
async def test_wrong_arguments_raise_and_are_not_sent(both, emulator, method):
    for driver in both:
        client = driver.to(emulator)
        for args, kwargs, names in (case for name, *case in BAD if name == method):
            with pytest.raises(ValueError, match=names) as caught:
                await driver.run(client, method, *args, **kwargs)
            assert "codec" not in str(caught.value), (args, kwargs)
        await driver.close()
    assert emulator.journal.entries() == []


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [
        ("iter", (P,), {"limit": 0}),
        ("iter", ("..",), {}),
        ("iter", (P,), {"sort": "x"}),
        ("iter_logs", (P, A), {"limit": 1001}),
        ("iter_logs", (P, ""), {}),
        ("iter_logs", (P, A), {"level": "loud"}),
    ],
)
def test_a_listing_refuses_bad_arguments_at_once(emulator, open_client, method, args, kwargs):
    client = open_client(emulator.api_key, emulator.url)
    with pytest.raises(ValueError, match="must be"):
        getattr(client.agents, method)(*args, **kwargs)
    assert emulator.journal.entries() == []


async def test_the_bounds_themselves_are_inside(driver, emulator, project):
    (agent_id,) = emulator.seed(1, project_id=project)
    client = driver.to(emulator)
    for limit in (1, 100):
        assert (await driver.run(client, "list", project, limit=limit)).pagination.limit == limit
    for limit in (1, 1000):
        assert (await driver.run(client, "logs", project, agent_id, limit=limit)).pagination.limit == limit
    for sort in ("created_at", "-created_at", "name", "-name"):
        assert len(await driver.run(client, "list", project, sort=sort)) == 1
    for interval in ("1m", "5m", "15m", "1h", "1d"):
        metrics = await driver.run(client, "metrics", project, agent_id, interval=interval)
        assert metrics.period.interval == interval
    with pytest.raises(ConnixValidationError, match="status"):
        # A new status is the service's to know: the client passes it on.
        await driver.run(client, "list", project, status="hibernating")


@pytest.mark.parametrize(
    ("given_time", "sent"),
    [
        ("2024-01-15T10:00:00Z", "2024-01-15T10:00:00Z"),
        ("2024-01-15T10:00:00+02:00", "2024-01-15T08:00:00Z"),
        ("2024-01-15T10:00:00", "2024-01-15T10:00:00Z"),
        ("2024-01-15 10:00:00.25", "2024-01-15T10:00:00.250000Z"),
        ("2024-01-15", "2024-01-15T00:00:00Z"),
        ("20240115", "2024-01-15T00:00:00Z"),
        (AWARE, "2024-01-15T10:00:00Z"),
        (AWARE.replace(tzinfo=None), "2024-01-15T10:00:00Z"),
        (AWARE.astimezone(timezone(timedelta(hours=-8))), "2024-01-15T10:00:00Z"),
        (pendulum.datetime(2024, 1, 15, 11, tz="Europe/Berlin"), "2024-01-15T10:00:00Z"),
    ],
)
def test_every_form_of_time_is_sent_in_utc(given_time, sent):
    for call in (
        get_logs(P, A, start_time=given_time, end_time=given_time),
        get_metrics(P, A, start_time=given_time, end_time=given_time),
    ):
        assert unquote(call.query) == f"start_time={sent}&end_time={sent}"


@given(st.text())
def test_any_text_is_a_time_or_value_error(text):
    try:
        call = get_logs(P, A, start_time=text)
    except ValueError as error:
        assert "start_time" in str(error)  # noqa: PT017 - most texts are no times, some are
    else:
        assert call.query.endswith("Z")


ODD_IDS = [
    "a/b",
    "../projects",
    "..%2F..",
    "%2e%2e",
    "%2F",
    "a?status=x&limit=1",
    "a#b",
    "a b",
    " a ",
    "ä/€/🤖",
    "a\nb\x00c",
    "...",
    "a;b=c",
    "a%",
    "\\",
    "//",
    "a@b:c",
]


@pytest.mark.parametrize("odd", ODD_IDS)
async def test_an_odd_id_is_sent_as_one_segment(driver, emulator, odd, raw_server, http_response):
    server = raw_server(
        http_response({"error": {"code": "agent_not_found", "message": "no"}}, "404 Not Found")
    )
    client = driver.open("cx_" + 32 * "0", server.url)
    for method in ("get", "delete", "start", "logs", "metrics"):
        with pytest.raises(ConnixNotFoundError):
            await driver.run(client, method, odd, odd)
    for request in server.requests:
        target = request.split(b" ")[1].decode("ascii")
        assert "?" not in target
        segments = target.split("/")
        assert segments[:4] == ["", "api", "v1", "projects"]
        assert [unquote(segments[4]), segments[5], unquote(segments[6])] == [odd, "agents", odd]
        assert len(segments) in {7, 8}
    assert len(server.requests) == 5


async def test_project_ids_may_be_numbers(driver, emulator):
    number = 42 + driver.is_async
    emulator.add_project(str(number))
    assert len(await driver.run(driver.to(emulator), "list", number)) == 0


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_id_leaves_its_place_in_the_path(text):
    if not text.strip() or text in {".", ".."}:
        with pytest.raises(ValueError, match="agent_id"):
            get_agent(P, text)
        return
    path = get_agent(P, text).path
    assert path.count("/") == 4
    assert unquote(path.rsplit("/", 1)[1]) == text
    assert path.isascii()


def test_omitted_fields_are_not_sent():
    assert list_agents(P).query == ""
    assert get_logs(P, A).query == ""
    assert get_metrics(P, A).query == ""
    assert list_agents(P, limit=1, offset=0).query == "limit=1&offset=0"


def test_a_body_is_sent_as_it_is():
    body = {"name": "ä", "config": {"environment_variables": {"A": "1"}}, "description": None}
    assert create_agent(P, body).body == (
        b'{"name": "\\u00e4", "config": {"environment_variables": {"A": "1"}}, "description": null}'
    )
    assert update_agent(P, A, types.MappingProxyType({"name": "x"})).body == b'{"name": "x"}'


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"name": "x\ud800"}, "name"),
        ({"name": "x", "description": "secret \udfff"}, "description"),
        ({"name": "x", "config": {"tools": ["ä", "secret \ud83d"]}}, r"config\.tools\.1"),
        (
            {"name": "x", "config": {"environment_variables": {"secret \ud83d": "1"}}},
            r"config\.environment_variables",
        ),
    ],
)
def test_a_lone_surrogate_raises_and_is_not_sent(body, where):
    for make, name in ((create_agent, "agent"), (update_agent, "changes")):
        ids = (P,) if make is create_agent else (P, A)
        with pytest.raises(ValueError, match=rf"^{name}\.{where} contains a lone surrogate") as caught:
            make(*ids, body)
        assert "secret" not in str(caught.value)


def test_a_whole_character_is_sent():
    assert (
        create_agent(P, {"name": "\N{GRINNING FACE} \\ud800"}).body == b'{"name": "\\ud83d\\ude00 \\\\ud800"}'
    )


def test_any_mapping_and_sequence_is_sent():
    metadata = types.MappingProxyType({"a": types.MappingProxyType({"b": collections.deque(["x", ("y",)])})})
    assert create_agent(P, {"name": "x", "metadata": metadata}).body == (
        b'{"name": "x", "metadata": {"a": {"b": ["x", ["y"]]}}}'
    )


class Level(str, enum.Enum):  # noqa: UP042 - its text is its name
    HIGH = "high"


def test_keys_and_enums_are_sent_as_json():
    body = {"name": Level.HIGH, "metadata": {2024: "a", True: "b", None: Level.HIGH, 1.5: "c", Level.HIGH: 1}}
    sent = {"name": "high", "metadata": {"2024": "a", "true": "b", "null": "high", "1.5": "c", "high": 1}}
    assert plain(body) == sent == json.loads(create_agent(P, body).body)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"temperature": decimal.Decimal("0.1")}, "config.temperature"),
        ({"tools": ["a", {"b": {1}}]}, "config.tools.1.b"),
        ({"since": datetime(2026, 1, 1, tzinfo=UTC)}, "config.since"),
        ({"max_tokens": float("nan")}, "config.max_tokens"),
        ({"raw": b"x"}, "config.raw"),
    ],
)
def test_a_value_that_is_no_json_is_named(config, path):
    with pytest.raises(ValueError, match=rf"^agent\.{path} cannot be sent as JSON: "):
        create_agent(P, {"name": "x", "config": config})


def test_no_value_of_a_bad_body_is_quoted():
    secret = "hunter2-hunter2"
    body = {"name": "x", "config": {"environment_variables": {"A": secret, "B": {secret}}}}
    with pytest.raises(ValueError, match="cannot be sent as JSON") as caught:
        create_agent(P, body)
    assert secret not in str(caught.value)
    assert secret not in str(caught.value.__context__)
