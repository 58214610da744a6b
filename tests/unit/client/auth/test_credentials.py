"""A client takes its credentials in a fixed order, and refuses unusable ones."""

import pytest
from raw_requests import headers_of

from connix_provider.client import ConnixAuthenticationError, ConnixError
from connix_provider.client.auth import ApiKeyAuth, Auth, BearerAuth, RefreshingBearerAuth, choose_auth

KEY = "cx_" + 32 * "a"


def test_credentials_are_chosen_in_order(monkeypatch):
    assert isinstance(choose_auth(KEY, access_token="t-1", refresh_token="r-1"), ApiKeyAuth)
    assert isinstance(choose_auth(access_token="t-1", refresh_token="r-1"), RefreshingBearerAuth)
    assert isinstance(choose_auth(access_token="t-1"), BearerAuth)
    with pytest.raises(ValueError, match=r"there is no Connix API key.*CONNIX_API_KEY"):
        choose_auth()
    with pytest.raises(ValueError, match="there is no Connix API key"):
        choose_auth("")
    monkeypatch.setenv("CONNIX_API_KEY", KEY)
    assert choose_auth().secrets() == (KEY,)
    assert choose_auth("").secrets() == (KEY,)
    assert choose_auth(access_token="t-1").secrets() == ("t-1",)


@pytest.mark.parametrize(
    ("base_url", "is_sent"),
    [
        (None, True),
        ("", True),
        ("https://api.connix.io", True),
        ("HTTPS://API.connix.io:443/api/v1/", True),
        ("http://api.connix.io", False),
        ("https://api.connix.io:8443", False),
        ("https://api.connix.io.example.com", False),
        ("https://connix.io", False),
        ("http://127.0.0.1:8080", False),
    ],
)
async def test_the_environments_key_goes_only_to_default_host(driver, base_url, is_sent, monkeypatch):
    monkeypatch.setenv("CONNIX_API_KEY", KEY)
    if is_sent:
        assert driver.open(base_url=base_url)._auth.secrets() == (KEY,)
        return
    with pytest.raises(ValueError, match=r"CONNIX_API_KEY is sent to https://api\.connix\.io only") as caught:
        driver.open(base_url=base_url)
    assert KEY not in str(caught.value)
    assert driver.open(KEY, base_url)._auth.secrets() == (KEY,)


async def test_an_empty_variable_is_no_api_key(driver, monkeypatch):
    monkeypatch.setenv("CONNIX_API_KEY", "")
    with pytest.raises(ValueError, match="there is no Connix API key: give one"):
        driver.open(base_url="https://gw.example.com")


async def test_a_given_auth_is_used(driver, emulator, project):
    client = driver.to(emulator, auth=ApiKeyAuth(emulator.api_key))
    assert len(await driver.run(client, "list", project)) == 0


@pytest.mark.parametrize("key", ["cx_short", "sk-" + 32 * "a", KEY[:-1] + "g", KEY + "a"])
async def test_an_odd_key_is_used_with_a_warning(driver, raw_server, http_response, caplog, key):
    server = raw_server(http_response({"agents": []}))
    await driver.run(driver.open(key, server.url), "list", "p")
    assert headers_of(server.requests[0])["x-api-key"] == key
    warning = next(record for record in caplog.records if record.levelname == "WARNING")
    assert f"unusual shape ({len(key)} characters" in warning.getMessage()
    assert key not in caplog.text


def test_a_usual_key_gets_no_warning(caplog):
    ApiKeyAuth(KEY)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("   ", "is empty"),
        ("\n", "is empty"),
        ("***", "is the mask"),
        ("********", "is the mask"),
        ("cx_secret\nX-Evil: 1", "holds characters"),
        ("cx_secret secret", "holds characters"),
        ("cx_sécret", "holds characters"),
        ("cx_secret\x00", "holds characters"),
        (b"cx_secret", "must be a string, not bytes"),
        (12345, "must be a string, not int"),
    ],
)
@pytest.mark.parametrize("field", ["api_key", "access_token", "refresh_token"])
def test_an_impossible_key_is_refused_and_not_shown(value, told, field):
    with pytest.raises(ValueError, match=told) as caught:
        choose_auth(**{field: value})
    assert field.replace("_", " ").lower() in str(caught.value).lower()
    assert "secret" not in str(caught.value).replace("\n", " ")
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "console.connix.io/token",
        "ftp://x/",
        "https://",
        "http://[::1",
        "",
        b"http://x",
        5,
        ["https://x"],
        "https://user:pass/word@host/",
        "https://host:99999999/",
    ],
)
def test_a_token_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="token_url must begin with https://") as caught:
        RefreshingBearerAuth("refresh-1", token_url=url)
    assert caught.value.__context__ is None
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("value", [5, b"id", ["id"], {}, True])
@pytest.mark.parametrize("field", ["client_id", "client_secret"])
def test_a_client_id_of_wrong_type_is_named(field, value):
    with pytest.raises(ValueError, match=f"the {field} must be a string, not {type(value).__name__}"):
        choose_auth(refresh_token="refresh-1", **{field: value})
    with pytest.raises(ValueError, match=f"the {field} contains a lone surrogate") as caught:
        choose_auth(refresh_token="refresh-1", **{field: "secret\ud800"})
    assert "secret\ud800" not in str(caught.value)


def test_every_auth_knows_its_secrets():
    with pytest.raises(NotImplementedError):
        Auth().secrets()
    assert issubclass(ConnixAuthenticationError, ConnixError)
    auth = RefreshingBearerAuth("refresh-1", client_secret="secret-1")
    assert auth.secrets()[:2] == ("refresh-1", "secret-1")
