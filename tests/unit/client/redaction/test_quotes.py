"""What a service quotes of a secret is hidden in every form, and what it says forges no log line."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from connix_provider.client import Client
from connix_provider.client.auth import RefreshingBearerAuth
from connix_provider.client.calls.steps import Response
from connix_provider.client.endpoints import create_agent, update_agent
from connix_provider.client.redaction import redact, secrets_of
from connix_provider.client.redaction.quoting import printable
from connix_provider.client.responses.failures import error_from_response

PROMPT = (
    "  You are the agent of the Müller account.\r\n"
    "The door code is 4711-swordfish.\n"
    "\tNever tell the pass phrase:\t\tcorrect horse  battery staple.\n\n"
    "Be kind.\n"
)
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort/line1=\n-----END KEY-----\n"
TOKEN = "tok-A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0"
CONFIG = {
    "system_prompt": PROMPT,
    "environment_variables": {
        "PEM": PEM,
        "PIN": 471_100,
        "RATE": 12345.75,
        "WHOLE": 98765.0,
        "TINY": 0.0000012345,
        "HUGE": 1e22,
        "TOKEN": TOKEN,
        "NESTED": {"a": [{"b": [[["deep-secret-value"]]]}]},
        "URL": "postgres://canary:p%40ss+word@db/x?y=1&z=2",
    },
}
#: What must not be read, without white space.
CANARIES = [
    "4711-swordfish",
    "correcthorse",
    "batterystaple",
    "MIIEvQIBADANBgkq",
    "short/line1",
    "deep-secret-value",
    "5f6G7h8I9j0K",
]
QUOTES = {
    "whole prompt": PROMPT,
    "stripped": PROMPT.strip(),
    "a line": "The door code is 4711-swordfish.",
    "a stripped line": "Never tell the pass phrase:\t\tcorrect horse  battery staple.",
    "white space joined": " ".join(PROMPT.split()),
    "white space removed": "".join(PROMPT.split()),
    "CRLF": PROMPT.replace("\r\n", "\n").replace("\n", "\r\n"),
    "LF": PROMPT.replace("\r\n", "\n"),
    "CR": PROMPT.replace("\r\n", "\n").replace("\n", "\r"),
    "breaks as <br>": "<br>".join(PROMPT.splitlines()),
    "tabs as spaces": PROMPT.expandtabs(4),
    "two lines": "\n".join(PROMPT.splitlines()[1:3]),
    "from the middle": PROMPT[40:110],
    "the end": PROMPT[-70:],
    "cut": PROMPT[:75],
    "pem": PEM,
    "pem on one line": PEM.replace("\n", ""),
    "a pem line": "MIIEvQIBADANBgkqhkiG9w0B",
    "a short pem line": "short/line1=",
    "the middle of a line": TOKEN[8:-8],
    "nested": "deep-secret-value",
    "numbers": "471100 12345.75 98765.0 98765 0.0000012345 1.2345e-06 1e+22 10000000000000000000000",
}
ENCODINGS = {
    "as it is": lambda text: text,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, not ASCII": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[1:-1],
    "Python": lambda text: repr(text)[1:-1],
    "URL": quote,
    "URL, no slash": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "JSON in a URL": lambda text: quote(json.dumps(text)),
    "URL in a URL": lambda text: quote(quote(text)),
    "HTML": html.escape,
    "HTML in HTML": lambda text: html.escape(html.escape(text)),
    "HTML, numeric": lambda text: "".join(f"&#{ord(c)};" if not c.isalnum() else c for c in text),
    "HTML, hexadecimal": lambda text: "".join(f"&#x{ord(c):x};" if not c.isalnum() else c for c in text),
    "JSON in HTML": lambda text: html.escape(json.dumps(text)),
    "HTML in JSON": lambda text: json.dumps(html.escape(text))[1:-1],
    "HTML in a URL": lambda text: quote(html.escape(text)),
}
NUMBERS = ("471100", "12345.75", "98765", "0.0000012345", "1.2345e-06", "1e+22", "10000000000000000000000")


@pytest.mark.parametrize("quoted", QUOTES.values(), ids=QUOTES)
def test_no_quote_shows_a_secret(quoted):
    for encoding, encode in ENCODINGS.items():
        said = redact(f"invalid: «{encode(quoted)}» here", secrets_of({"config": CONFIG}))
        assert said.startswith("invalid: «"), encoding
        assert said.endswith("» here"), encoding
        bare = "".join(said.split())
        for canary in (*CANARIES, *NUMBERS):
            assert canary not in bare, encoding
            assert quote(canary) not in bare, encoding
        assert "***" in said, encoding


@pytest.mark.parametrize(
    "call", [create_agent("p", {"name": "x", "config": CONFIG}), update_agent("p", "a", {"config": CONFIG})]
)
@pytest.mark.parametrize("quoted", QUOTES.values(), ids=QUOTES)
def test_no_exception_shows_a_quoted_secret(call, quoted):
    stated = {"code": "c", "message": f"bad {quoted}", "details": [{"field": quoted, "message": [quoted]}]}
    error = error_from_response(call, Response(400, {}, json.dumps({"error": stated}).encode()), call.secrets)
    bare = "".join(f"{error}{error!r}{error.details}".split())
    for canary in (*CANARIES, *NUMBERS):
        assert canary not in bare


@pytest.mark.parametrize(
    "encode",
    [
        base64.b64encode,
        base64.urlsafe_b64encode,
        bytes.hex,
        lambda key: key.hex().upper(),
        lambda key: base64.b64encode(key).rstrip(b"="),
    ],
)
def test_an_encoded_key_is_hidden(encode):
    # Each third byte that is odd differs between the two alphabets of Base64.
    key = "cx_canary_k>ke?wi~odd/characters"
    with Client(key, "http://127.0.0.1:9") as client:
        shown = encode(key.encode())
        shown = shown if isinstance(shown, str) else shown.decode()
        said = client.redact(f"the header was {shown}")
    assert said.rstrip("=") == "the header was ***"


@pytest.mark.parametrize("value", [471_100, 12345.75, 98765.0, 98765, 1e22, 10**22, 0.0000012345])
def test_numbers_are_hidden_as_numbers(value):
    assert redact({"a": [value]}, secrets_of({"config": CONFIG})) == {"a": ["***"]}


@pytest.mark.parametrize(
    "text",
    [
        "You are not allowed to do that.",
        "Be kind to the service.",
        "Temperature must be between 0 and 2",
        "Agent name already exists in this project",
        "The agent of this project was not found",
        "12345 is not 98764",
    ],
)
def test_usual_messages_stay_readable(text):
    assert redact(text, secrets_of({"config": CONFIG})) == text


def test_a_prompt_line_of_12_characters_is_secret():
    lines = ["You are", "kind", "a kind agent", "pin: 99812"]
    assert set(secrets_of({"config": {"system_prompt": "\n".join(lines)}})) == {"\n".join(lines), *lines[2:]}
    # In a variable, each line of five may be one.
    variables = {"environment_variables": {"A": "swordfish\nabcd"}}
    assert set(secrets_of({"config": variables})) == {"swordfish\nabcd", "swordfish"}


CONTROLS = {
    "line feed": "\n",
    "carriage return": "\r",
    "NUL": "\0",
    "escape": "\x1b[31m",
    "backspace": "\b",
    "DEL": "\x7f",
    "C1 next line": "\x85",
    "C1 CSI": "\x9b2J",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "override": "\u202e",
    "isolate": "\u2066",
    "mark": "\u200f",
    "byte order": "\ufeff",
    "surrogate": "\ud800",
    "tag": "\U000e0041",
}


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_no_control_character_reaches_a_message(control):
    assert control[0] not in printable(f"a{control}b")
    said = f"agent{control}2026-11-25 INFO all is well"
    stated = {
        "code": said,
        "message": said,
        "request_id": said,
        "details": [{"field": said, "message": said}],
    }
    error = error_from_response(
        create_agent("p", {"name": "x"}), Response(400, {}, json.dumps({"error": stated}).encode()), ()
    )
    for text in (str(error), error.code, error.message, error.request_id, error.details[0]["message"]):
        assert control[0] not in text
        assert "all is well" in text


@pytest.mark.parametrize("text", ["Größe 12 €", "日本語", "👩\u200d💻", "a b", "नी"])
def test_printable_text_stays(text):
    assert printable(text) == text


@pytest.mark.parametrize("client_id", ["client-1", "cliënt id"])
def test_basic_credentials_are_secrets(client_id):
    auth = RefreshingBearerAuth("refresh-1", client_id=client_id, client_secret="very secret+1")
    sent = f"{quote(client_id, safe='')}:{quote('very secret+1', safe='')}"
    for form in (sent, f"{client_id}:very secret+1"):
        encoded = base64.b64encode(form.encode()).decode()
        assert redact(f"got Basic {encoded}", auth.secrets()) == "got Basic ***"
