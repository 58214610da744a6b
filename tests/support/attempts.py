"""Drive the flow of a call by hand: a test gives the outcomes, and time passes only in delays."""

from connix_provider.client import (
    ConnixAPIError,
    ConnixConflictError,
    ConnixError,
    ConnixNotFoundError,
    ConnixRateLimitError,
    ConnixServerError,
)
from connix_provider.client.attempts.flow import perform
from connix_provider.client.calls.steps import Response, Send, Sleep
from connix_provider.client.endpoints import (
    create_agent,
    delete_agent,
    get_agent,
    get_logs,
    get_metrics,
    list_agents,
    pause_agent,
    restart_agent,
    start_agent,
    stop_agent,
    update_agent,
)
from connix_provider.client.ratelimit import RateLimiter

NOW = 1_705_334_400.0

CALLS = {
    "list": list_agents("p"),
    "get": get_agent("p", "a"),
    "create": create_agent("p", {"name": "x"}),
    "update": update_agent("p", "a", {"name": "x"}),
    "delete": delete_agent("p", "a"),
    "start": start_agent("p", "a"),
    "pause": pause_agent("p", "a"),
    "stop": stop_agent("p", "a"),
    "restart": restart_agent("p", "a"),
    "logs": get_logs("p", "a"),
    "metrics": get_metrics("p", "a"),
}
AGENT = b'{"id": "a", "name": "x", "status": "running"}'
GOOD = {
    "list": b'{"agents": []}',
    "logs": b'{"logs": []}',
    "metrics": b'{"metrics": {}}',
    "delete": b"",
    **dict.fromkeys(["start", "pause", "stop", "restart"], b'{"message": "ok"}'),
}


def ok_response(name):
    """Return a valid response to a call."""
    return Response(200, {}, GOOD.get(name, AGENT))


def refusal(status, *, code="c", **stated):
    body = '{{"error": {{"code": "{}", "message": "m"{}}}}}'.format(
        code,
        "".join(f', "{key}": {value}' for key, value in stated.items()),
    )
    return Response(status, {}, body.encode())


class Run:
    """Drive a flow by hand: time passes only in delays and requests; ``clock_step`` sets the wall clock."""

    def __init__(
        self, call, policy, outcomes, *, took=0.0, jitter=0.5, oversleep=0.0, clock_step=0.0, **options
    ):
        self.now = NOW
        self.sent, self.pauses, self.sent_at = [], [], []
        outcomes = iter(outcomes)
        limiter = RateLimiter(clock=lambda: self.now)
        clocks = {"clock": lambda: self.now, "epoch": lambda: self.now + clock_step * bool(self.sent)}
        flow = perform(call, policy, limiter=limiter, jitter=lambda: jitter, **clocks, **options)
        self.result = self.error = None
        outcome = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as end:
                self.result = end.value
                return
            except ConnixError as error:
                self.error = error
                return
            if isinstance(step, Sleep):
                self.pauses.append(step.seconds)
                self.now += step.seconds + oversleep
                outcome = None
            else:
                assert isinstance(step, Send)
                self.sent.append(step)
                self.sent_at.append(self.now)
                self.now += took
                outcome = next(outcomes)


def repeat(outcome):
    while True:
        yield outcome() if callable(outcome) else outcome


def failure(kind, executed, hint):
    error = (
        kind("words")
        if not isinstance(kind, int)
        else {429: ConnixRateLimitError, 409: ConnixConflictError, 404: ConnixNotFoundError}.get(
            kind, ConnixServerError if kind >= 500 else ConnixAPIError
        )(kind, "c", "m")
    )
    error.may_have_executed = executed
    if isinstance(error, ConnixAPIError):
        error.retry_after = hint
    return error
