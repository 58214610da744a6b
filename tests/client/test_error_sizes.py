"""Error bodies of any size, packing and depth: the status counts, the rest is bounded and quickly read."""

import json
import time

import pytest

from connix_provider.client import ConnixValidationError
from connix_provider.client.calls import create_agent, get_agent
from connix_provider.client.failures import MAX_ERROR_BODY, refusal
from connix_provider.client.steps import Reply
from connix_provider.waiting.agent_ref import AgentRef
from connix_provider.waiting.ending import Ending

KEY = "cx_" + 4 * "fedcba98"
MIB = 2**20
PROMPT = "\n".join(f"Line {n} of a very long prompt with the secret canary-{n:06}" for n in range(2000))
CALL = create_agent("p", {"name": "x", "config": {"system_prompt": PROMPT}})
BEGUN = b'{"error": {"code": "c", "message": "m", "details": '


def body(details, message="too much"):
    stated = {"code": "validation_error", "message": message, "details": details}
    return json.dumps({"error": stated}).encode()


HUGE = {
    "list of faults": lambda: body([{"field": f"f{n}", "message": "m" * 40} for n in range(31 * MIB // 80)]),
    "one text": lambda: body("x" * 31 * MIB),
    "one text, not ASCII": lambda: body("\U0001f600" * (2 * MIB)),
    "many fields": lambda: body({f"field{n}": n for n in range(MIB)}),
    "many lists": lambda: body([[[]] for _ in range(3 * MIB)]),
    "long message": lambda: body(None, "ö" * 5 * MIB),
    "not JSON": lambda: b"<html>" + b"x" * 31 * MIB,
}
SMALL = {
    "deep list": lambda: body(json.loads("[" * 300 + "1" + "]" * 300)),
    "very deep list": lambda: BEGUN + b"[" * 60_000,
    "deep object": lambda: BEGUN + b'{"a":' * 10_000,
    "many small texts": lambda: body(["ab"] * 12_000),
    "many numbers": lambda: body(list(range(12_000))),
    "a huge number": lambda: BEGUN + b"9" * 4000 + b"}}",
    "quoted prompt": lambda: body([PROMPT[:60_000]]),
    "quoted lines": lambda: body([f"{line} is wrong" for line in PROMPT.splitlines()][:900]),
    "backslashes": lambda: body(["\\" * 30_000, "%" * 20_000]),
    "white space": lambda: body(["a" + " " * 50_000 + "b"]),
}


@pytest.mark.parametrize("make", [*HUGE.values(), *SMALL.values()], ids=[*HUGE, *SMALL])
def test_no_error_body_takes_long_or_makes_a_large_event(make):
    reply = Reply(400, {}, make()[:MAX_ERROR_BODY])
    # Seconds of the processor, because a shared machine may stop any step for a while.
    took = []
    for _ in range(3):
        began = time.thread_time()
        error = refusal(CALL, reply, CALL.secrets)
        text = str(error)
        took.append(time.thread_time() - began)
    assert min(took) < 0.1
    assert type(error) is ConnixValidationError
    assert len(json.dumps(error.details)) < 4096
    assert len(text) < 5000
    event = json.dumps(Ending.refused(AgentRef("agent_1"), "running", error).to_event())
    assert len(event) < 10 * 1024
    assert "canary" not in event


def test_usual_details_stay_as_they_are():
    details = [{"field": "config.temperature", "message": "Temperature must be between 0 and 2"}]
    for usual in (details, {"name": "too long"}, "in words", 7, 0.5, None, True, [], {}):
        assert refusal(get_agent("p", "a"), Reply(400, {}, body(usual)), ()).details == usual


def test_details_that_were_cut_show_it():
    cut = refusal(CALL, Reply(400, {}, body(["x" * 40] * 1000)), ()).details
    assert cut[0] == "x" * 40
    assert cut[-1] == "…"
