"""Responses of a token endpoint are bounded, checked and redacted."""

import base64
import json
from urllib.parse import parse_qs

import pytest
from raw_requests import headers_of

from connix_provider.client import ConnixAuthenticationError, ConnixConnectionError, ConnixResponseError
from connix_provider.client.auth import ApiKeyAuth
from connix_provider.client.transient import is_transient


@pytest.mark.parametrize("first", [401, None])
async def test_a_token_response_is_bounded(driver, raw_server, http_response, first):
    def endless(connection, request):
        connection.sendall(http_response(b"", length=False))
        while True:
            connection.sendall(2**16 * b" ")

    tokens = raw_server(endless)
    server = raw_server(http_response(b"", "401 No"))
    token = {"access_token": "old-token"} if first else {}
    client = driver.open(
        base_url=server.url, refresh_token="refresh-1", token_url=tokens.url, max_attempts=1, **token
    )
    with pytest.raises(ConnixResponseError, match=r"new tokens cannot be read.*more than 32 MiB") as caught:
        await driver.run(client, "create", "p", {"name": "x"})
    assert not caught.value.may_have_executed


async def test_the_body_of_a_401_is_left_unread(driver, raw_server, http_response):
    tokens = raw_server(http_response({"access_token": "new-token"}))

    def serve(connection, request):
        if b"Bearer new-token" in request:
            connection.sendall(http_response({"agents": []}))
            return
        connection.sendall(http_response(b"", "401 No", "Content-Encoding: gzip", length=False))
        while True:
            connection.sendall(2**16 * b" ")

    client = driver.open(
        base_url=raw_server(serve).url,
        access_token="old-token",
        refresh_token="refresh-1",
        token_url=tokens.url,
        max_attempts=1,
    )
    assert len(await driver.run(client, "list", "p")) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"access_token": null}',
        b'{"access_token": 5}',
        b'{"access_token": ""}',
        b'{"access_token": "***"}',
        b'{"access_token": "two\\nlines"}',
        '{"access_token": "tök"}'.encode(),
    ],
)
async def test_a_response_without_a_token_is_an_error(driver, raw_server, http_response, body):
    tokens = raw_server(http_response(body))
    client = driver.open(
        base_url="http://127.0.0.1:9", refresh_token="refresh-1", token_url=f"{tokens.url}/t?secret=query"
    )
    with pytest.raises(ConnixAuthenticationError, match="no usable token in the response") as caught:
        await driver.run(client, "list", "p")
    assert "query" not in str(caught.value)
    assert len(tokens.requests) == 1


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"<html>", b"\xff", 50_000 * b"[", b'{"access_token": "a']
)
async def test_an_unreadable_success_of_the_endpoint_is_transient(driver, raw_server, http_response, body):
    tokens = raw_server(http_response(body))
    client = driver.open(
        base_url="http://127.0.0.1:9",
        refresh_token="refresh-1",
        token_url=f"{tokens.url}/t?secret=query",
        max_attempts=1,
    )
    with pytest.raises(ConnixResponseError, match="is no JSON object") as caught:
        await driver.run(client, "list", "p")
    assert is_transient(caught.value)
    assert "query" not in str(caught.value)


async def test_secrets_echoed_by_a_token_endpoint_are_hidden(driver, raw_server):
    def echo(connection, request):
        body = json.dumps(
            {"error": "bad", "error_description": request.split(b"\r\n\r\n")[1].decode()}
        ).encode()
        connection.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    tokens = raw_server(echo)
    secret = "refresh/token+with=signs"
    client = driver.open(base_url="http://127.0.0.1:9", refresh_token=secret, token_url=tokens.url)
    with pytest.raises(ConnixAuthenticationError, match=r"bad: .*\*\*\*") as caught:
        await driver.run(client, "list", "p")
    assert "with" not in str(caught.value).split("bad:")[1]


@pytest.mark.parametrize(
    ("client_id", "client_secret", "basic", "in_the_body"),
    [
        (None, None, None, None),
        ("public client", None, None, "public client"),
        ("id:é", "se cret%", "id%3A%C3%A9:se%20cret%25", None),
    ],
)
async def test_how_a_client_names_itself(
    driver, raw_server, http_response, client_id, client_secret, basic, in_the_body
):
    tokens = raw_server(http_response({"access_token": "new-token", "refresh_token": "refresh-2"}))
    server = raw_server(http_response({"agents": []}))
    client = driver.open(
        base_url=server.url,
        refresh_token="refresh-1",
        client_id=client_id,
        client_secret=client_secret,
        token_url=tokens.url,
    )
    await driver.run(client, "list", "p")
    head, _, body = tokens.requests[0].partition(b"\r\n\r\n")
    sent, form = headers_of(tokens.requests[0]), parse_qs(body.decode())
    assert head.startswith(b"POST / HTTP/1.1\r\n")
    assert sent["content-type"] == "application/x-www-form-urlencoded"
    assert sent["user-agent"].startswith("airflow-provider-connix/")
    assert "x-api-key" not in sent
    assert form["grant_type"] == ["refresh_token"]
    assert form.get("client_id") == ([in_the_body] if in_the_body else None)
    assert "client_secret" not in form
    authorization = sent.get("authorization")
    assert authorization == (basic and f"Basic {base64.b64encode(basic.encode()).decode()}")
    assert headers_of(server.requests[0])["authorization"] == "Bearer new-token"
    assert client._auth._cache.refresh_token == "refresh-2"


@pytest.mark.parametrize("renewed", ["refresh-\ud800", "two words", "", 7, None, ["refresh-2"]])
async def test_an_unusable_new_refresh_token_is_ignored(driver, raw_server, http_response, renewed):
    tokens = raw_server(http_response({"access_token": "new-token", "refresh_token": renewed}))
    server = raw_server(http_response({"agents": []}))
    client = driver.open(base_url=server.url, refresh_token="refresh-1", token_url=tokens.url)
    await driver.run(client, "list", "p")
    assert client._auth._cache.refresh_token == "refresh-1"


class _Reading(ApiKeyAuth):
    """An auth of a user's own that reads each response."""

    requires_response_body = True


async def test_an_auth_may_read_the_response(driver, emulator, project):
    client = driver.to(emulator, auth=_Reading(emulator.api_key))
    for _ in range(2):
        assert len(await driver.run(client, "list", project)) == 0


async def test_a_missing_token_endpoint_names_its_setting(driver, raw_server, http_response):
    tokens = raw_server(http_response(b""))
    tokens.stop()
    client = driver.open(refresh_token="refresh-1", token_url=tokens.url, max_attempts=1)
    with pytest.raises(ConnixConnectionError, match=f"{tokens.url}: .* check the connection's token_url$"):
        await driver.run(client, "list", "p")


async def test_a_broken_token_endpoint_is_named_itself(driver, raw_server):
    tokens = raw_server(lambda connection, request: None)
    client = driver.open(refresh_token="refresh-1", token_url=tokens.url, max_attempts=1)
    with pytest.raises(ConnixConnectionError, match=f"{tokens.url} broke before new tokens was complete: "):
        await driver.run(client, "list", "p")


async def test_a_redirect_of_the_token_endpoint_is_refused(driver, raw_server, http_response):
    elsewhere = raw_server(http_response({"access_token": "stolen-token"}))
    tokens = raw_server(http_response(b"", "307 X", f"Location: {elsewhere.url}"))
    client = driver.open(base_url="http://127.0.0.1:9", refresh_token="refresh-1", token_url=tokens.url)
    with pytest.raises(ConnixAuthenticationError):
        await driver.run(client, "list", "p")
    assert elsewhere.requests == []
