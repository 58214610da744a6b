"""Connections: addresses, headers, TLS, and how they end."""

import gc
import logging
import ssl
import sys
import uuid
import warnings

import httpx
import pytest
from foreign_service import write_certificate
from raw_requests import headers_of

import connix_provider
from connix_provider.client import AsyncClient, Client, ConnixAPIError, ConnixConnectionError, ConnixError
from connix_provider.client.auth import ApiKeyAuth, httpcore_log
from connix_provider.client.calls.steps import Send
from connix_provider.client.endpoints import get_agent
from connix_provider.client.transport.addresses import complete_url
from connix_provider.client.transport.httpx_errors import translate

KEY = "cx_" + 32 * "0"
DEFAULT = "https://api.connix.io/api/v1"


@pytest.mark.parametrize(
    ("given_url", "completed"),
    [
        (None, DEFAULT),
        ("", DEFAULT),
        ("  ", DEFAULT),
        ("https://connix.example.com", "https://connix.example.com/api/v1"),
        ("https://connix.example.com/", "https://connix.example.com/api/v1"),
        (" HTTPS://connix.example.com:8443 ", "https://connix.example.com:8443/api/v1"),
        ("http://127.0.0.1:8080/proxy/", "http://127.0.0.1:8080/proxy"),
        ("http://[::1]:80/a/b", "http://[::1]:80/a/b"),
    ],
)
def test_an_address_is_completed(given_url, completed):
    assert complete_url(given_url) == completed


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("connix.example.com", "must begin with https://"),
        ("ftp://connix.example.com", "must begin with https://"),
        ("https://", "name a host"),
        ("https:///path", "name a host"),
        ("https://host?token=secret", "query"),
        ("https://host/#secret", "fragment"),
        ("https://host/?", "query"),
        ("https://user:secret@host/", "user or password"),
        ("https://secret@host/", "user or password"),
        ("https://user:secret@host:99999999/", "cannot be read"),
        ("https://user:secret@host:port/", "cannot be read"),
        ("https://user:secret/word@host/", "cannot be read"),
        ("user:secret@host", "must begin with"),
        ("cx_secret", "must begin with"),
        ("http://[::1", "cannot be read"),
        ("https://https://host", "must begin with"),
        ("HTTPS://http://host/secret", "must begin with"),
        ("https://ho st/secret", "cannot be read"),
        ("https://host\u200b/secret", "cannot be read"),
        ("http://127.0.0.1/\x01secret", "cannot be read"),
    ],
)
def test_a_wrong_address_is_refused_and_not_shown(wrong, told):
    with pytest.raises(ValueError, match=told) as caught:
        Client(KEY, wrong)
    assert "the base URL" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("timeout", [0, -1, True, "30", None, float("nan")])
def test_a_timeout_that_cannot_be_right_is_refused(timeout):
    with pytest.raises(ValueError, match="timeout must be more than 0"):
        Client(KEY, timeout=timeout)


async def test_bounds_without_end_are_bounds_too(driver, emulator, project):
    client = driver.to(emulator, timeout=float("inf"), total_timeout=float("inf"))
    assert len(await driver.run(client, "list", project)) == 0


def test_an_httpx_error_without_a_request_is_read():
    send = Send(get_agent("p", "a"), "id", 3.0)
    for error in (
        httpx.InvalidURL("secret"),
        httpx.UnsupportedProtocol("secret"),
        httpx.ReadTimeout("secret"),
    ):
        told = translate(error, send)
        assert "secret" not in str(told)
        assert told.may_have_executed is isinstance(error, httpx.ReadTimeout)
    assert "within 3 s" in str(told)
    assert "Connix broke" in str(translate(httpx.ReadError(""), send))


async def test_every_request_has_its_headers(driver, raw_server, http_response):
    server = raw_server(http_response({"error": {"message": "try later"}}, "503 No"))
    client = driver.open(KEY, server.url, max_attempts=3)
    with pytest.raises(ConnixAPIError) as caught:
        await driver.run(client, "update", "p", "a", {"name": "x"})
    sent = [headers_of(request) for request in server.requests]
    assert len(sent) == 3
    for headers in sent:
        assert headers["user-agent"].startswith(
            f"airflow-provider-connix/{connix_provider.__version__} (Python "
        )
        assert headers["accept"] == "application/json"
        assert headers["content-type"] == "application/json"
        assert uuid.UUID(headers["x-request-id"]).version == 4
    assert len({headers["x-request-id"] for headers in sent}) == 3
    assert caught.value.request_id == sent[-1]["x-request-id"]
    with pytest.raises(ConnixAPIError):
        await driver.run(client.with_options(max_attempts=1), "get", "p", "a")
    assert "content-type" not in headers_of(server.requests[-1])
    assert server.requests[-1].startswith(b"GET /api/v1/projects/p/agents/a HTTP/1.1\r\n")


async def test_a_connection_is_used_again(driver, raw_server):
    accepted = []

    def whole(connection, request):
        accepted.append(connection.getpeername())
        body = b'{"agents": []}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return True

    client = driver.open(KEY, raw_server(whole).url)
    for _ in range(4):
        await driver.run(client, "list", "p")
    assert len(set(accepted)) == 1
    assert len(accepted) == 4


async def test_clients_close_and_leave_nothing_open(emulator, project):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Client(emulator.api_key, emulator.url, verify=False) as client:
            assert len(client.agents.list(project)) == 0
        async with AsyncClient(emulator.api_key, emulator.url, verify=False) as other:
            assert len(await other.agents.list(project)) == 0
        for closed in (client, other):
            assert closed._http.is_closed
            del closed
        del client, other
        gc.collect()


async def test_clients_on_shared_connections_close_together(driver, emulator):
    client = driver.to(emulator)
    closing = client.with_options(max_attempts=1).close()
    if closing is not None:
        await closing
    assert client._http.is_closed


async def test_a_closed_client_opens_no_connection(driver, emulator, project):
    client = driver.to(emulator)
    closing = client.close()
    if closing is not None:
        await closing
    with pytest.raises(RuntimeError, match="the Connix client is closed"):
        await driver.run(client, "list", project)
    assert not emulator.journal.entries()


async def test_requests_write_no_line_to_the_task_log(driver, emulator, project, caplog):
    with caplog.at_level(logging.INFO):
        await driver.run(driver.to(emulator), "list", project)
    theirs = [record for record in caplog.records if not record.name.startswith("connix_provider.emulator")]
    assert not theirs


def test_new_credentials_during_a_log_record_are_safe():
    proofs = [ApiKeyAuth(KEY)]
    httpcore_log.hide_secrets_of(proofs[0])
    line = logging.LogRecord("httpcore.http11", logging.DEBUG, "", 0, "%s", (KEY,), None)

    def break_in(*_):
        # As another thread may, or a signal's handler.
        sys.setprofile(None)
        proofs.append(ApiKeyAuth(KEY))
        httpcore_log.hide_secrets_of(proofs[-1])
        sys.setprofile(break_in)

    sys.setprofile(break_in)
    try:
        httpcore_log._filter.filter(line)
    finally:
        sys.setprofile(None)
    assert len(proofs) > 1
    assert line.getMessage() == "***"


def test_a_secret_is_hidden_while_its_auth_lives():
    proof = ApiKeyAuth(KEY)
    for _ in range(2):
        httpcore_log.hide_secrets_of(proof)
    assert [known is proof for known in httpcore_log._in_use()].count(True) == 1
    del proof
    gc.collect()
    assert None not in [known() for known in httpcore_log._auths]


async def test_a_port_without_a_listener_is_named(driver, raw_server, http_response):
    server = raw_server(http_response(b""))
    server.stop()
    client = driver.open(KEY, server.url, max_attempts=2)
    with pytest.raises(
        ConnixConnectionError, match=f"no connection to {server.url}: nothing is listening on that port"
    ) as caught:
        await driver.run(client, "create", "p", {"name": "x"})
    assert not caught.value.may_have_executed


async def test_an_unknown_host(driver, monkeypatch):
    import socket

    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # The machine that runs the tests may have no name service to ask.
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConnixConnectionError, match="the host name cannot be resolved"):
        await driver.run(driver.open(KEY, "http://connix.invalid", max_attempts=1), "list", "p")


async def test_a_refusal_of_the_proxy_is_named(driver, raw_server, http_response, monkeypatch):
    proxy = raw_server(http_response(b"", "403 Forbidden"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    client = driver.open(KEY, "https://connix.invalid", max_attempts=1)
    with pytest.raises(ConnixConnectionError, match=r"\(HTTPS_PROXY of the environment\) refused") as caught:
        await driver.run(client, "create", "p", {"name": "x"})
    assert not caught.value.may_have_executed
    assert proxy.requests[0].startswith(b"CONNECT connix.invalid:443")
    assert KEY.encode() not in proxy.requests[0]


async def test_a_connection_that_cannot_be_made_in_time(driver, monkeypatch):
    import httpcore

    def slow(*_, **__):
        raise httpcore.ConnectTimeout

    async def slow_async(*_, **__):
        raise httpcore.ConnectTimeout

    # No address on loopback takes a connection and lets it hang.
    monkeypatch.setattr("httpcore.SyncBackend.connect_tcp", slow)
    monkeypatch.setattr("httpcore._backends.auto.AutoBackend.connect_tcp", slow_async)
    client = driver.open(KEY, "http://127.0.0.1:9", max_attempts=1)
    with pytest.raises(ConnixError, match="could be made in time") as caught:
        await driver.run(client, "create", "p", {"name": "x"})
    assert not caught.value.may_have_executed


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, and a server's context with it."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    write_certificate(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return path, context


async def test_an_untrusted_certificate_is_explained(driver, raw_server, http_response, certificate):
    server = raw_server(http_response({"agents": []}), certificate[1])
    client = driver.open(KEY, server.url, verify=True, max_attempts=1)
    with pytest.raises(ConnixConnectionError, match="its TLS certificate is not trusted") as caught:
        await driver.run(client, "list", "p")
    assert "set verify in the connection's extra" in str(caught.value)
    assert not caught.value.may_have_executed
    assert server.requests == []


async def test_a_bundle_of_ones_own_is_trusted(driver, raw_server, http_response, certificate):
    path, context = certificate
    server = raw_server(http_response({"agents": []}), context)
    assert len(await driver.run(driver.open(KEY, server.url, verify=str(path)), "list", "p")) == 0
    assert len(await driver.run(driver.open(KEY, server.url, verify=False), "list", "p")) == 0


async def test_no_tls_where_tls_is_asked_for(driver, raw_server):
    def behave(connection, request):
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    class Plain:
        """Answer a TLS greeting in plain text."""

        def wrap_socket(self, connection, server_side):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            raise OSError

    server = raw_server(behave, Plain())
    client = driver.open(KEY, server.url, verify=True, max_attempts=1)
    with pytest.raises(ConnixConnectionError, match="does the server expect http://"):
        await driver.run(client, "list", "p")


@pytest.mark.parametrize("what", ["missing", "no certificate"])
def test_a_bundle_that_cannot_be_read_is_refused(tmp_path, what):
    path = tmp_path / "bundle.pem"
    if what != "missing":
        path.write_text(what)
    with pytest.raises(ValueError, match="verify names a CA bundle that cannot be read"):
        Client(KEY, verify=str(path))
