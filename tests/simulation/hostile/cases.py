"""
Small histories that broke an invariant before a fault was repaired.

They are written out, because a seed draws another history as soon as the drawing changes.
"""

from __future__ import annotations

from typing import Any

from hostile.history import Fault, History, Interruption, Other, Run
from hostile.service_behaviour import ServiceBehaviour

__all__ = ["CASES"]

ALPHA = (("alpha", "running"),)
STOPPED = (("alpha", "stopped"),)
ALWAYS = 1000


def task(operator: str, mode: str | None = None, *, timeout: float = 120.0, **more: Any) -> History:
    """Describe a task; keywords that are no fields of a history are arguments of the task."""
    fields = {name: more.pop(name) for name in list(more) if name in History.__dataclass_fields__}
    pace, usual = ("poke_interval", "poke") if operator == "sensor" else ("poll_interval", "worker")
    arguments = {pace: 5.0, "timeout": timeout, **more}
    if operator == "create":
        arguments = {"name": "alpha", "description": "asked for", **arguments}
    elif "agent_name" not in arguments:
        arguments["agent_id"] = "@alpha"
    fields = {"agents": () if operator == "create" else ALPHA, **fields}
    return History(0, operator, arguments, mode or usual, **fields)


def fault(kind: str, *calls: str, times: int = 1, begin: float = 0.0, run: int = 0) -> Fault:
    return Fault(kind, calls, run, begin, 7200.0, times)


def interrupted(what: str, at: float) -> Run:
    return Run(interruptions=(Interruption(what, at),))


CASES: dict[str, History] = {
    "after a clear, an earlier restart counts": task("restart", runs=(Run(), Run("clear"))),
    "any move of updated_at counts as our restart": task(
        "restart",
        faults=(fault("reset", begin=1.1, times=ALWAYS),),
        others=(Other("update", 1, -1.0),),
        runs=(Run(), Run("retry", 2.0)),
    ),
    "after a clear, an earlier delete counts": task(
        "delete", agent_name="alpha", others=(Other("create", 1, -1.0),), runs=(Run(), Run("clear"))
    ),
    "a mapped create finds its agent by its place alone": task(
        "create", names=("beta",), runs=(Run(), Run("clear", 2.0, {"names": ["alpha", "gamma"]}))
    ),
    "the task's own agent is left as it is": task(
        "create", runs=(Run(), Run("clear", 60.0, {"description": "corrected"}))
    ),
    "the key names no deployment": task(
        "create",
        cancel_on_kill=True,
        others=(Other("deployment", 1, -1.0),),
        runs=(interrupted("mark failed", 1.97), Run("clear", 10.0)),
    ),
    "an agent that does not run is adopted": task("create", if_exists="adopt", agents=STOPPED),
    "an agent that does not run is updated and left so": task("create", if_exists="update", agents=STOPPED),
    "the same try again recalls nothing": task(
        "restart", agents=STOPPED, runs=(interrupted("kill", 2.91), Run("same", 1.0))
    ),
    "a Variable stays where Airflow breaks the last try off": task(
        "restart", stored=False, retries=0, runs=(interrupted("execution timeout", 1.5),)
    ),
    "the agent of a failed create is left in spite of on_failure": task(
        "create", on_failure="delete", retries=0, behaviour=ServiceBehaviour(ends_in_error=(1,))
    ),
    "a service asks for an hour and is left alone for it": task(
        "sensor", faults=(fault("hint 429 3600", "get"),)
    ),
    "no poll is sent at the deadline": task("create", poll_interval=30.0, timeout=20.0),
    "a status is stable from the trigger on": task("sensor", timeout=22.0, stable_for=20.0),
    "an old status is final at once": task("restart", agents=STOPPED),
    "a clock that is set back stalls the wait": task(
        "create", "deferred", runs=(interrupted("clock back", 2.84),)
    ),
    "a connection that can never work is waited for": task(
        "sensor", timeout=7200.0, faults=(fault("unknown host", times=10**6),)
    ),
    "a 404 of a gateway means that an agent is gone": task("delete", faults=(fault("html 404", "get"),)),
    "a delete does not wait its turn": task("delete", "deferred", faults=(fault("cut", "delete"),)),
    "a 404 right after a create is believed": task("create", behaviour=ServiceBehaviour(get_lag=6.0)),
    "a 200 that says no counts as accepted": task(
        "stop", wait_for_completion=False, faults=(fault("lie success", "stop"),), retries=0
    ),
    "only some 5xx are transient": task("stop", faults=(fault("html 520", "get", times=2),)),
    "without evidence a restart is repeated": task(
        "restart",
        behaviour=ServiceBehaviour(updated_at="absent", restart_shows="nothing"),
        faults=(fault("html 504 after", "restart"),),
    ),
    "a time that a database writes proves nothing": task(
        "restart",
        behaviour=ServiceBehaviour(written="database with UTC"),
        faults=(fault("silence", "restart"),),
    ),
    "a name that is held is given up at once": task(
        "create",
        agents=ALPHA,
        behaviour=ServiceBehaviour(change_time=0.0, name_held=20.0),
        others=(Other("delete", 0, -1.0),),
    ),
    "a restart that fails is sent without end": task(
        "restart", timeout=300.0, faults=(fault("json 504", "restart", times=ALWAYS),)
    ),
    "a secrets backend that is down ends a wait": task(
        "create",
        "deferred",
        behaviour=ServiceBehaviour(change_time=45.0),
        runs=(
            Run(
                interruptions=(
                    Interruption("secrets down", 12.0),
                    Interruption("move", 15.0),
                    Interruption("secrets up", 40.0),
                )
            ),
        ),
    ),
    "details without end are put into an event": task(
        "sensor", "deferred", agents=STOPPED, faults=(fault("endless 400", "get", begin=2.0),)
    ),
    "a triggerer that stalled undoes what goes on": task(
        "start", "deferred", agents=STOPPED, cancel_on_kill=True, runs=(interrupted("stall", 2.37),)
    ),
    "a clear races with the undo of the try before": task(
        "create", "deferred", cancel_on_kill=True, runs=(interrupted("clear", 2.0),)
    ),
    "a restart is repeated while the agent is on its way": task(
        "restart",
        timeout=300.0,
        behaviour=ServiceBehaviour(change_time=45.0, restart_shows="updating", busy_refused=False),
        faults=(fault("reset after", "restart"),),
    ),
    "an update that failed counts as our restart": task(
        "restart",
        agents=STOPPED,
        retries=0,
        wait_for_completion=False,
        behaviour=ServiceBehaviour(ends_in_error=(1, 2)),
        faults=(fault("lie page", "restart"),),
        others=(Other("update", 0, 0.5),),
    ),
    "an agent that was updated is left stopped": task(
        "create", if_exists="update", agents=STOPPED, behaviour=ServiceBehaviour(get_lag=0.5)
    ),
    "a refusal while an update takes hold is final": task(
        "create", timeout=300.0, if_exists="update", agents=STOPPED, behaviour=ServiceBehaviour(get_lag=12.0)
    ),
    "a create that waits for its own agent is not undone": task(
        "create",
        "deferred",
        cancel_on_kill=True,
        retries=0,
        behaviour=ServiceBehaviour(ends_in_error=(1, 2)),
        runs=(
            Run(),
            Run("clear", 2.0, {"description": "corrected"}, (Interruption("mark failed", 2.53),)),
        ),
    ),
    "a Variable stays where a limit lasts to the deadline": task(
        "restart",
        "deferred",
        stored=False,
        retries=0,
        timeout=20.0,
        faults=(fault("hint 429 86400", begin=1.5), fault("lie page", "restart")),
    ),
    "a refusal after a lost response is final at a lagging replica": task(
        "update",
        timeout=300.0,
        description="asked for",
        behaviour=ServiceBehaviour(get_lag=12.0),
        faults=(fault("reset after", "update"),),
    ),
    "a change out of a status on the way counts as our restart": task(
        "restart",
        agents=STOPPED,
        wait_for_completion=False,
        faults=(fault("reset", "restart"),),
        others=(Other("rename", 0, 0.05),),
    ),
    "an agent settles between two polls that are far apart": task(
        "create", "deferred", if_exists="update", agents=STOPPED, poll_interval=30.0, timeout=20.0
    ),
    "a refusal at the deadline hides that the agent is gone": task(
        "delete",
        "deferred",
        poll_interval=30.0,
        timeout=20.0,
        behaviour=ServiceBehaviour(latency=3.0),
        faults=(fault("html 404", "get", times=ALWAYS),),
        others=(Other("replace", 0, 2.25), Other("restart", 0, 0.48)),
    ),
    "a refused repeat counts as accepted": task(
        "pause",
        "deferred",
        wait_for_completion=False,
        faults=(fault("reset", "pause"),),
        others=(Other("delete", 0, 0.25),),
    ),
    "a limit that lasts to the deadline is not told": task(
        "sensor", "deferred", poke_interval=30.0, faults=(fault("hint 429 90", "get", times=ALWAYS),)
    ),
    "a replica that lags hides the task's own agent": task(
        "create",
        timeout=300.0,
        behaviour=ServiceBehaviour(get_lag=6.0, lag_varies=True, change_time=25.0),
        faults=(fault("reset after", "create"),),
    ),
    "a method that the service does not have is asked for again": task(
        "restart", retries=0, faults=(fault("html 501", "restart", times=ALWAYS),)
    ),
    "one page that a gateway refuses ends the listing": task(
        "sensor",
        "deferred",
        timeout=900.0,
        target_statuses=["stopped"],
        crowd=120,
        faults=(fault("html 404", "list"),),
    ),
}
