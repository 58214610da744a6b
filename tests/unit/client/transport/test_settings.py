"""Settings of proxies and certificates that are wrong are named before anything is sent."""

from __future__ import annotations

import importlib.util
import os
import socket

import pytest

from connix_provider.client import AsyncClient, Client, ConnixConnectionError

KEY = "cx_" + 32 * "0"
#: No message may quote it.
PASSWORD = "hunter22"
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def no_certificates_of_the_machine(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def refused(driver, **options):
    """Open a client that cannot be opened, and return what it says."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - each test looks at the text
        driver.open(KEY, "https://connix.invalid", **options)
    assert type(caught.value) is ValueError
    assert caught.value.__cause__ is None
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


# Proxies


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (f"http://user:{PASSWORD}@proxy:port", "is not the address of a proxy; write it as http://host:port"),
        (f"http://user:{PASSWORD}@proxy:99999", "is not the address of a proxy"),
        (f"http://user:{PASSWORD}@:3128", "is not the address of a proxy"),
        (f"user:{PASSWORD}@proxy:0", "is not the address of a proxy"),
        ("http://", "is not the address of a proxy"),
        ("://", "is not the address of a proxy"),
        ("http://proxy of ours:3128", "is not the address of a proxy"),
        ("http://[::1", "is not the address of a proxy"),
        ("http://proxy\x01", "is not the address of a proxy"),
        (f"socks4://user:{PASSWORD}@proxy:1080", "names a proxy of a kind that cannot be used"),
        (f"ftp://user:{PASSWORD}@proxy:21", "names a proxy of a kind that cannot be used"),
    ],
)
def test_a_malformed_proxy_is_named(driver, monkeypatch, variable, value, told):
    monkeypatch.setenv(variable, value)
    said = refused(driver)
    assert said.startswith(f"{variable} of the environment")
    assert told in said


@pytest.mark.skipif(importlib.util.find_spec("socksio") is not None, reason="socksio is installed here")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS5"])
def test_a_socks_proxy_without_its_package_names_it(driver, monkeypatch, scheme):
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:{PASSWORD}@proxy:1080")
    said = refused(driver)
    assert said.startswith("ALL_PROXY of the environment names a SOCKS proxy")
    assert "pip install 'httpx[socks]'" in said


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        ("fd00::/8", "IPv6 ranges cannot be listed"),
        ("2001:db8::/32", "IPv6 ranges cannot be listed"),
        ("::/0", "IPv6 ranges cannot be listed"),
        ("[::1]", "without brackets"),
        ("[fe80::1]:8080", "without brackets"),
        ("connix.example.com:https", "list hosts by name"),
    ],
)
def test_an_unreadable_no_proxy_entry_is_named(driver, monkeypatch, variable, entry, advice):
    monkeypatch.setenv(variable, f"localhost, {entry} ,10.0.0.0/8")
    said = refused(driver)
    assert said.startswith(f"{variable} of the environment holds {entry!r}")
    assert advice in said


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value",
    ["proxy", "proxy:3128", "http://proxy", "https://user:p%40ss@proxy:3128/", "HTTP://[::1]:3128", ""],
)
async def test_a_usual_proxy_is_taken(driver, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv(
        "NO_PROXY", "localhost,127.0.0.1,::1,10.0.0.0/8,.example.com,*.corp,host:8080,https://x"
    )
    driver.open(KEY)


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.1.2.3/8", "10.200.0.1"),
        ("192.168.7.0/255.255.255.0", "192.168.7.9"),
        ("0.0.0.0/0", "203.0.113.5"),
        ("*.example.com", "connix.example.com"),
        ("*.EXAMPLE.com", "a.b.example.com"),
    ],
)
def test_an_ineffective_no_proxy_entry_is_named(driver, monkeypatch, proxy, entry, host):
    monkeypatch.setenv(proxy, "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", f"localhost,{entry}")
    with pytest.raises(ValueError, match="NO_PROXY of the environment holds") as caught:
        driver.open(KEY, f"http://{host}:8080/api/v1")
    assert repr(entry) in str(caught.value)
    assert f"list {host}," in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "host", "proxy"),
    [
        ("10.0.0.0/8", "192.168.7.9", "HTTP_PROXY"),
        ("10.0.0.0/8", "connix.example.com", "HTTP_PROXY"),
        ("10.0.0.0/8", "10.1.2.3", "HTTPS_PROXY"),
        ("*.example.com", "example.org", "HTTP_PROXY"),
        (".example.com", "connix.example.com", "HTTP_PROXY"),
        ("not.a/range", "10.1.2.3", "HTTP_PROXY"),
    ],
)
async def test_a_foreign_no_proxy_entry_is_fine(driver, monkeypatch, entry, host, proxy):
    monkeypatch.setenv(proxy, "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", entry)
    driver.open(KEY, f"http://{host}/api/v1")


@pytest.mark.parametrize(
    ("entry", "url", "is_overlooked"),
    [
        ("connix.example.com:80", "http://connix.example.com", True),
        ("example.com:80", "http://connix.example.com:80/api/v1", True),
        (".example.com:443", "https://connix.example.com", True),
        ("CONNIX.example.com:443", "https://connix.example.com:443", True),
        ("connix.example.com:443", "http://connix.example.com", False),
        ("connix.example.com:8080", "http://connix.example.com:8080", False),
        ("example.com:80", "http://myexample.com", False),
    ],
)
async def test_a_no_proxy_port_is_named(driver, monkeypatch, entry, url, is_overlooked):
    monkeypatch.setenv("ALL_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", entry)
    if not is_overlooked:
        driver.open(KEY, url)
        return
    with pytest.raises(ValueError, match="the port of the scheme"):
        driver.open(KEY, url)


@pytest.mark.parametrize("proxy", ["http://a..b:1", f"http://{'x' * 64}:1"])
def test_an_unresolvable_proxy_is_named(driver, monkeypatch, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    assert "HTTP_PROXY of the environment is not the address of a proxy" in refused(driver)


async def test_a_star_in_no_proxy_overrides_all(driver, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks4://proxy:port")
    monkeypatch.setenv("NO_PROXY", "fd00::/8,*")
    driver.open(KEY)


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_dead_proxy_is_named(driver, monkeypatch, closed_port, variable):
    monkeypatch.setenv(variable, f"http://user:{PASSWORD}@127.0.0.1:{closed_port}")
    client = driver.open(KEY, "https://connix.invalid", max_attempts=1)
    with pytest.raises(ConnixConnectionError) as caught:
        await driver.run(client, "create", "p", {"name": "x"})
    assert str(caught.value).startswith(
        f"no connection to the proxy at 127.0.0.1:{closed_port} ({variable} of the environment) on the "
        "way to https://connix.invalid: nothing is listening on that port; check that setting"
    )
    assert PASSWORD not in str(caught.value)
    assert not caught.value.may_have_executed


async def test_a_dead_proxy_of_plain_http_is_named(driver, monkeypatch, closed_port):
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{closed_port}")
    client = driver.open(KEY, "http://connix.invalid", max_attempts=1)
    with pytest.raises(ConnixConnectionError, match=rf"proxy at 127.0.0.1:{closed_port} \(HTTP_PROXY"):
        await driver.run(client, "list", "p")


async def test_a_failed_token_refresh_names_the_dead_proxy(driver, monkeypatch, closed_port):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")
    client = driver.open(
        base_url="http://127.0.0.1:9",
        refresh_token="refresh",
        token_url="https://connix.invalid/token",
        max_attempts=1,
    )
    with pytest.raises(ConnixConnectionError, match=r"\(HTTPS_PROXY of the environment\) on the way to"):
        await driver.run(client, "list", "p")


async def test_an_error_blames_no_proxy_that_was_bypassed(driver, monkeypatch, closed_port):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = driver.open(KEY, f"http://127.0.0.1:{closed_port}", max_attempts=1)
    with pytest.raises(ConnixConnectionError, match="check the connection's host and port"):
        await driver.run(client, "list", "p")


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", f"502 {PASSWORD}"])
async def test_a_refusing_proxy_is_named_with_its_status(
    driver, raw_server, http_response, monkeypatch, status
):
    proxy = raw_server(http_response(b"", status))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    client = driver.open(KEY, "https://connix.invalid", max_attempts=1)
    with pytest.raises(ConnixConnectionError) as caught:
        await driver.run(client, "list", "p")
    assert str(caught.value).startswith(
        f"the proxy at 127.0.0.1:{proxy.port} (HTTPS_PROXY of the environment) refused the "
        f"connection to https://connix.invalid ({status[:3]}"
    )
    assert PASSWORD not in str(caught.value)


# Certificates


@pytest.mark.parametrize("verify", [None, 1, 0, 5, ["bundle.pem"], b"bundle.pem"])
def test_verify_of_another_type_is_refused(driver, verify):
    assert "verify must be True, False or the path of a CA bundle" in refused(driver, verify=verify)


@pytest.mark.parametrize("what", ["missing", "a directory", "no certificate", "empty", "a NUL"])
@pytest.mark.parametrize("setting", ["verify", "SSL_CERT_FILE"])
def test_a_bundle_that_cannot_be_read_is_named(driver, monkeypatch, tmp_path, setting, what):
    path = tmp_path / "bundle.pem"
    if what == "a directory":
        path.mkdir()
    elif what in {"no certificate", "empty"}:
        path.write_text("" if what == "empty" else what)
    named = f"{path}\0" if what == "a NUL" else str(path)
    if setting == "verify":
        said = refused(driver, verify=named)
    elif what == "a NUL":
        pytest.skip("no environment can hold one")
    else:
        monkeypatch.setenv(setting, named)
        said = refused(driver, verify=True)
    assert setting in said
    assert f"names a CA bundle that cannot be read: {named!r}" in said
    assert (what == "a directory") == ("it is a directory" in said)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_bundle_of_others_is_named(driver, tmp_path):
    path = tmp_path / "bundle.pem"
    path.touch(0o000)
    assert "Permission denied" in refused(driver, verify=str(path))


@pytest.mark.parametrize("what", ["missing", "a file"])
def test_a_missing_directory_of_certificates_is_named(driver, monkeypatch, tmp_path, what):
    path = tmp_path / "certificates"
    if what == "a file":
        path.touch()
    monkeypatch.setenv("SSL_CERT_DIR", str(path))
    said = refused(driver, verify=True)
    assert f"SSL_CERT_DIR of the environment names no directory that can be read: {str(path)!r}" in said


async def test_one_directory_of_several_is_enough(driver, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'missing'}{os.pathsep}{tmp_path}")
    driver.open(KEY, verify=True)


async def test_without_verification_no_certificate_setting_counts(driver, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    driver.open(KEY, verify=False)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_setting_that_was_mended_is_read_anew(kind, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(ValueError, match="SSL_CERT_FILE"):
        kind(KEY)
    monkeypatch.delenv("SSL_CERT_FILE")
    kind(KEY)
