"""Every part of an Airflow connection is used or refused; what is refused is not quoted."""

from __future__ import annotations

import json

import pytest
from dag_store import airflow_version

from connix_provider.agent_lookup import AgentNameNotFoundError
from connix_provider.client.transport import addresses
from connix_provider.client.transport.addresses import is_sent_in_clear
from connix_provider.hooks import connix
from connix_provider.hooks.connix import ConnixHook

KEY = "cx_0123456789abcdef0123456789abcdef"


@pytest.fixture
def define(monkeypatch):
    def define(**fields):
        monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", json.dumps({"conn_type": "connix", **fields}))
        return ConnixHook()

    monkeypatch.delenv("CONNIX_API_KEY", raising=False)
    monkeypatch.setattr(connix, "_warned", set())
    return define


URIS = [
    ("connix://https://:KEY@gw.example.com/connix/v2", "https://gw.example.com/connix/v2"),
    ("connix://https://:KEY@gw.example.com/connix/v2/", "https://gw.example.com/connix/v2"),
    ("connix://HTTPS://:KEY@GW.example.com/a", "https://gw.example.com/a"),
    ("connix://https://:KEY@gw.example.com", "https://gw.example.com/api/v1"),
    ("connix://https://:KEY@gw.example.com/", "https://gw.example.com/api/v1"),
    ("connix://https://:KEY@gw.example.com:8443/v2", "https://gw.example.com:8443/v2"),
    ("connix://http://:KEY@localhost:8080", "http://localhost:8080/api/v1"),
    ("connix://https://:KEY@[2001:db8::1]:8443/v2", "https://[2001:db8::1]:8443/v2"),
    ("connix://https://:KEY@[2001:db8::1]", "https://[2001:db8::1]/api/v1"),
    ("connix://:KEY@https%3A%2F%2Fgw.example.com%2Fconnix%2Fv2", "https://gw.example.com/connix/v2"),
    ("connix://:KEY@gw.example.com/https", "https://gw.example.com/api/v1"),
    ("connix://:KEY@", "https://api.connix.io/api/v1"),
]


@pytest.mark.parametrize(("uri", "address"), URIS)
def test_a_uri_is_used_whole(uri, address, define, monkeypatch):
    define()
    monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", uri.replace("KEY", KEY))
    with ConnixHook().get_conn() as client:
        assert client.base_url == address


FIELDS = [
    ({"host": "https://gw.example.com/connix/v2"}, "https://gw.example.com/connix/v2"),
    ({"host": " HTTPS://gw.example.com/connix/v2/ "}, "https://gw.example.com/connix/v2"),
    ({"host": "https://gw.example.com", "schema": "connix/v2"}, "https://gw.example.com/connix/v2"),
    ({"host": "https://gw.example.com/", "schema": "/connix/v2/"}, "https://gw.example.com/connix/v2"),
    ({"host": "https://gw.example.com/v2", "schema": "https"}, "https://gw.example.com/v2"),
    ({"host": "gw.example.com/v2", "schema": "HTTPS"}, "https://gw.example.com/v2"),
    ({"host": "gw.example.com", "schema": "http", "port": 81}, "http://gw.example.com:81/api/v1"),
    ({"host": "https://gw.example.com:81", "port": 81}, "https://gw.example.com:81/api/v1"),
    ({"host": "https://gw.example.com", "port": 0}, "https://gw.example.com/api/v1"),
    ({"host": "https://gw.example.com/v2", "port": 81}, "https://gw.example.com:81/v2"),
    ({"host": "::1", "schema": "http", "port": 81}, "http://[::1]:81/api/v1"),
    ({"host": "http://[::1]:81/v2"}, "http://[::1]:81/v2"),
    ({"host": "http://::1", "port": 81}, "http://[::1]:81/api/v1"),
    ({"host": "[::1]", "schema": "http"}, "http://[::1]/api/v1"),
    ({"host": None}, "https://api.connix.io/api/v1"),
    ({"host": "", "schema": ""}, "https://api.connix.io/api/v1"),
]


@pytest.mark.parametrize(("fields", "address"), FIELDS)
def test_fields_are_used_whole(fields, address, define):
    with define(password=KEY, **fields).get_conn() as client:
        assert client.base_url == address


REFUSED = [
    ({"host": "gw.example.com/connix/v2"}, "must begin with https://"),
    ({"host": "gw.example.com", "schema": "connix/v2"}, "must begin with https://"),
    ({"host": "gw.example.com", "port": 8080}, "must begin with https://"),
    ({"host": "ftp://gw.example.com"}, "must begin with https://"),
    ({"host": "https://user:hunter22@gw.example.com"}, "must not contain a user or password"),
    ({"host": "https://gw.example.com/a", "schema": "b"}, "both hold a path"),
    ({"host": "http://gw.example.com", "schema": "https"}, "different schemes"),
    ({"host": "https://gw.example.com:81", "port": 82}, "different ports"),
    ({"schema": "connix/v2"}, "no host that they belong to"),
    ({"port": 8080}, "no host that they belong to"),
    ({"host": "cx_hunter22hunter22hunter22hunter22"}, "the key belongs in the password"),
    ({"host": "https://cx_hunter22hunter22"}, "the connection's host looks like an API key"),
    ({"host": "gw", "schema": "cx_hunter22hunter22"}, "the connection's schema looks like an API key"),
    ({"host": "https://hunter22..com"}, "the base URL cannot be read"),
    ({"host": f"https://{'hunter22' * 9}.com"}, "the base URL cannot be read"),
    ({"host": "https://xn--"}, "the base URL cannot be read"),
    (
        {
            "password": None,
            "extra": {"refresh_token": "r", "token_url": "https://u:hunter22@login.example.com/t"},
        },
        "token_url must not contain a user or password",
    ),
    (
        {"password": None, "extra": {"refresh_token": "r", "token_url": "https://hunter22..com/t"}},
        "token_url must begin with https://",
    ),
    ({"password": None, "login": "cx_hunter22hunter22"}, "the connection's password, not in the login"),
    ({"password": None, "extra": {"api_key": "cx_hunter22"}}, "not in the extra's 'api_key'"),
    ({"password": None, "extra": {"API-Key": "cx_hunter22"}}, "not in the extra's 'API-Key'"),
    pytest.param(
        {"extra": "hunter22 is no JSON"},
        "extra is not JSON",
        marks=pytest.mark.skipif(
            airflow_version() in {(3, 0), (3, 1)}, reason="this Airflow takes such a connection for none"
        ),
    ),
    ({"extra": {"timeout": True}}, "timeout in the connection's extra must be a number of seconds"),
    ({"extra": {"timeout": "hunter22"}}, "timeout in the connection's extra must be a number of seconds"),
    ({"extra": {"timeout": "inf"}}, "timeout in the connection's extra must be a number of seconds"),
    ({"extra": {"rate_limit_share": False}}, "rate_limit_share in the connection's extra must be a number"),
    ({"extra": {"rate_limit_share": "nan"}}, "rate_limit_share in the connection's extra must be a number"),
    ({"extra": {"rate_limit_share": 2}}, "rate_limit_share must be"),
    ({"extra": {"verify": ["hunter22"]}}, "verify in the connection's extra must be true, false or the path"),
    ({"extra": {"verify": "cx_hunter22hunter22"}}, "verify in the connection's extra must be"),
    (
        {"extra": {"client_id": ["hunter22"]}},
        "client_id in the connection's extra must be a string, not list",
    ),
    ({"extra": {"access_token": True}}, "access_token in the connection's extra must be a string, not bool"),
]


@pytest.mark.parametrize(("fields", "says"), REFUSED)
def test_unusable_fields_are_refused_and_not_shown(fields, says, define):
    hook = define(**{"password": KEY, **fields})
    with pytest.raises(ValueError, match="connix_default") as caught:
        hook.get_conn()
    assert says in str(caught.value)
    assert "hunter22" not in str(caught.value)
    works, said = define(**{"password": KEY, **fields}).test_connection()
    assert not works
    assert says.lower() in said.lower()
    assert "hunter22" not in said


VERIFY = [
    *[(word, False) for word in (False, 0, "false", "no", "off", "n", "F", "0", " OFF ")],
    *[(word, True) for word in (True, 1, "true", "yes", "on", "y", "T", "1")],
]


@pytest.mark.parametrize(("word", "means"), VERIFY)
def test_verify_is_read_as_airflow_reads_booleans(word, means, define):
    hook = define(password=KEY, extra={"verify": word})
    assert hook._options(hook._connection)["verify"] is means


def test_numbers_in_a_uri_are_read_as_text(define, monkeypatch):
    define()
    extra = "%7B%22client_id%22%3A+12345%2C+%22project_id%22%3A+7%2C+%22refresh_token%22%3A+%22r%22%7D"
    monkeypatch.setenv("AIRFLOW_CONN_CONNIX_DEFAULT", f"connix://?__extra__={extra}")
    hook = ConnixHook()
    assert hook._options(hook._connection)["client_id"] == "12345"
    assert hook.project_id == "7"


UNKNOWN = [
    ("projct_id", "Did you mean 'project_id'?"),
    ("verfy", "Did you mean 'verify'?"),
    ("Timeout", "Did you mean 'timeout'?"),
    ("extra__connix__project_id", "Did you mean 'project_id'?"),
    ("client-secret", "Did you mean 'client_secret'?"),
    ("api_key", "The API key belongs in the connection's password."),
    ("token", "Did you mean 'access_token'?"),
    ("base_url", "The address belongs in the connection's host."),
    ("zzz", "Known fields are project_id, access_token,"),
    ("cx_hunter22hunter22", "whose name is not a setting"),
]


@pytest.mark.parametrize(("name", "advice"), UNKNOWN)
def test_unknown_fields_are_named_once(name, advice, emulator, define, monkeypatch):
    extra = {"project_id": emulator.project_id, name: "hunter22"}
    fields = {"host": emulator.url, "password": emulator.api_key, "extra": extra}
    works, said = define(**fields).test_connection()
    assert works
    assert advice in said
    assert "hunter22" not in said
    connix._warned.clear()
    told = []
    for _ in range(3):
        hook = ConnixHook()
        monkeypatch.setattr(hook.log, "warning", lambda text, *values: told.append(text % values))
        hook.get_conn().close()
    assert len(told) == 1
    assert told[0].startswith("Airflow connection 'connix_default': ")
    assert advice in told[0]
    assert "hunter22" not in told[0]


CLEAR = [
    ("https://gw.example.com", False),
    ("http://gw.example.com/api", True),
    ("http://10.0.0.1:8", True),
    ("http://[2001:db8::1]:8", True),
    ("http://127.0.0.1:8", False),
    ("http://127.9.9.9", False),
    ("http://[::1]:8", False),
    ("http://localhost", False),
]


@pytest.mark.parametrize(("url", "in_clear"), CLEAR)
def test_an_unencrypted_address_is_recognized(url, in_clear):
    assert is_sent_in_clear(url) is in_clear


def test_the_connection_test_reports_an_unencrypted_key(define):
    works, said = define(host="http://connix.invalid", password=KEY).test_connection()
    assert not works
    assert "the key is sent unencrypted" in said


@pytest.mark.parametrize(
    "grant", [{"refresh_token": "refresh-1"}, {"client_id": "id", "client_secret": "secret-1"}]
)
def test_the_connection_test_reports_unencrypted_credentials(grant, define):
    extra = {**grant, "token_url": "http://login.invalid/token"}
    works, said = define(host="https://connix.invalid", extra=json.dumps(extra)).test_connection()
    assert not works
    assert "credentials are sent unencrypted" in said


def test_each_clear_text_host_gets_one_warning(define, monkeypatch, caplog):
    monkeypatch.setattr(addresses, "_warned", set())
    for host in ("http://one.example.com", "http://one.example.com/v2", "http://two.example.com"):
        define(host=host, password=KEY).get_conn().close()
    define(host="https://three.example.com", password=KEY).get_conn().close()
    define(host="http://127.0.0.1:8", password=KEY).get_conn().close()
    told = [record.getMessage() for record in caplog.records if "unencrypted" in record.getMessage()]
    assert [line.split(" to ")[1].split(",")[0] for line in told] == [
        "http://one.example.com",
        "http://two.example.com",
    ]


def test_the_hook_uses_the_project_of_its_connection(emulator, connection):
    (agent_id,) = emulator.seed(count=1, name="Reporter", status="running")
    emulator.add_logs(agent_id, 3)
    hook = ConnixHook()
    with hook.client:
        assert hook.project_id == hook.default_project_id == emulator.project_id
        name = emulator.agent(agent_id)["name"]
        assert hook.get_agent_by_name(name).id == agent_id
        assert [agent.id for agent in hook.iter_agents(status="running")] == [agent_id]
        assert len(list(hook.iter_logs(agent_id))) >= 3
        assert hook.get_metrics(agent_id).metrics.tasks is not None
        with pytest.raises(AgentNameNotFoundError, match="no agent named 'None such'"):
            hook.get_agent_by_name("None such")


def test_a_key_as_project_is_refused_unseen(define):
    hook = define(password=KEY, extra={"project_id": "cx_hunter22hunter22"})
    for read in (lambda: hook.project_id, lambda: hook.project_id_for(None)):
        with pytest.raises(ValueError, match="'project_id' looks like an API key") as caught:
            read()
        assert "hunter22" not in str(caught.value)
    works, said = hook.test_connection()
    assert not works
    assert "hunter22" not in said


def test_a_connection_without_a_project_says_so(emulator, connection):
    connection(extra={})
    assert ConnixHook().default_project_id is None
    with pytest.raises(ValueError, match=r"project_id is missing: .* 'connix_default'"):
        ConnixHook().project_id  # noqa: B018 - reading it raises


HOSTS = [
    ({}, True),
    ({"host": "https://api.connix.io"}, True),
    ({"host": "https://API.connix.io:443/api/v2"}, True),
    ({"host": "http://api.connix.io"}, False),
    ({"host": "https://api.connix.io:444"}, False),
    ({"host": "https://api.connix.io.example.com"}, False),
    ({"host": "https://gw.example.com"}, False),
    ({"host": "http://127.0.0.1:8080"}, False),
]


@pytest.mark.parametrize(("fields", "is_sent"), HOSTS)
def test_the_environment_key_reaches_only_the_default_host(fields, is_sent, define, monkeypatch):
    hook = define(**fields)
    monkeypatch.setenv("CONNIX_API_KEY", KEY)
    if is_sent:
        hook.get_conn().close()
        return
    with pytest.raises(ValueError, match=r"CONNIX_API_KEY is sent to https://api\.connix\.io only") as caught:
        hook.get_conn()
    assert KEY not in str(caught.value)
