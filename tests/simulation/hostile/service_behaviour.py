"""Properties of a service: everything that the reference leaves open, or that services do in spite of it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from random import Random
from typing import Any

__all__ = ["CALM", "FORMATS", "NO_EVIDENCE", "TRAITS", "ServiceBehaviour", "draw_behaviour"]

#: Formats of a time. The last one cannot be parsed, but changes with the time.
FORMATS = {
    "milliseconds": lambda t: _utc(t).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    "seconds": lambda t: _utc(t).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "database": lambda t: _utc(t).isoformat(sep=" ", timespec="milliseconds")[:-3],
    "database with UTC": lambda t: _utc(t).strftime("%Y-%m-%d %H:%M:%S UTC"),
    "basic": lambda t: _utc(t).strftime("%Y%m%dT%H%M%SZ"),
    "unreadable": lambda t: f"revision {int(t * 1000) % 10**9}",
}


@dataclasses.dataclass(frozen=True)
class ServiceBehaviour:
    """
    Describe a service; the defaults are those of a calm one.

    :param change_time: seconds from the acceptance of an action to its effect
    :param updated_at: when ``updated_at`` moves: ``accepted`` (and at each change of the status), ``changed``
        (only then), ``never``, or ``absent``
    :param written: the format of times, a key of ``FORMATS``
    :param heartbeat: seconds after which ``updated_at`` moves by itself, 0: never
    :param get_lag: seconds by which responses to Get lag
    :param list_lag: the same of listings
    :param lag_varies: whether each request has a random lag up to that
    :param restart_shows: the status during a restart: ``nothing`` (no other one), ``stopped``, ``updating``,
        or a status that is not in the reference
    :param restart_delay: seconds before a restart shows
    :param change_shows: the status during a start, pause, stop or delete: ``before``, or one that is not in
        the reference
    :param update_shows: whether an agent is ``updating`` during an update
    :param reply_promises: whether the response to an action shows the status after it
    :param name_held: seconds for which the name of a deleted agent is not free
    :param busy_refused: whether an agent that is creating or updating takes no action
    :param redundant_refused: whether an action that changes nothing is a conflict
    :param delete_is_empty: whether the response to a delete is a 204
    :param list_is_short: whether a listing leaves metadata out
    :param page: agents in a page of the listing at most
    :param limits: the documented limits are multiplied by it; 0: there are none
    :param limits_told: whether headers state the limits
    :param hint: ``retry_after`` seconds of the service's own 429; -1: until the window ends, 0: none
    :param latency: seconds from a request to its response
    :param ends_in_error: which of an agent's changes end in error, from 1
    :param quotes: whether validation errors quote the request
    """

    change_time: float = 3.0
    updated_at: str = "accepted"
    written: str = "milliseconds"
    heartbeat: float = 0.0
    get_lag: float = 0.0
    list_lag: float = 0.0
    lag_varies: bool = False
    restart_shows: str = "stopped"
    restart_delay: float = 0.0
    change_shows: str = "before"
    update_shows: bool = True
    reply_promises: bool = True
    name_held: float = 0.0
    busy_refused: bool = True
    redundant_refused: bool = False
    delete_is_empty: bool = False
    list_is_short: bool = False
    page: int = 100
    limits: float = 0.0
    limits_told: bool = True
    hint: float = -1.0
    latency: float = 0.1
    ends_in_error: tuple[int, ...] = ()
    quotes: bool = False

    @property
    def shows_changes(self) -> bool:
        """Whether a change that ends in the same status leaves evidence."""
        return self.updated_at in {"accepted", "changed"} and not self.heartbeat

    def differences(self) -> dict[str, Any]:
        """Return what differs from a calm service."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(CALM, field.name)
        }


CALM = ServiceBehaviour()
#: Other values of each field, drawn one by one, so that shrinking can leave each out.
TRAITS: dict[str, tuple[Any, ...]] = {
    "change_time": (0.0, 0.5, 1.0, 8.0, 14.0, 25.0, 45.0),
    "updated_at": ("changed", "never", "absent"),
    "written": ("seconds", "database", "database with UTC", "basic", "unreadable"),
    "heartbeat": (1.0, 7.0),
    "get_lag": (0.5, 2.0, 6.0, 12.0),
    "list_lag": (0.5, 2.0, 6.0, 12.0),
    "lag_varies": (True,),
    "restart_shows": ("nothing", "updating", "restarting"),
    "restart_delay": (0.5, 2.0, 5.0),
    "change_shows": ("in transition",),
    "update_shows": (False,),
    "reply_promises": (False,),
    "name_held": (3.0, 12.0, 20.0),
    "busy_refused": (False,),
    "redundant_refused": (True,),
    "delete_is_empty": (True,),
    "list_is_short": (True,),
    "page": (3, 20),
    "limits": (0.2, 0.5, 1.0, 3.0),
    "limits_told": (False,),
    "hint": (0.0, 1.0, 90.0, 3600.0),
    "latency": (0.0, 0.9, 3.0),
    "ends_in_error": ((1,), (2,), (1, 2)),
    "quotes": (True,),
}
#: Values of ``updated_at`` that leave no evidence of a restart.
NO_EVIDENCE = frozenset({"never", "absent"})


def draw_behaviour(chance: Random) -> ServiceBehaviour:
    """Draw a service: a third of them are calm, the others differ in one to five traits."""
    count = 0 if chance.random() < 0.3 else min(5, 1 + int(chance.expovariate(0.6)))
    chosen = chance.sample(sorted(TRAITS), count)
    return ServiceBehaviour(**{name: chance.choice(TRAITS[name]) for name in chosen})


def _utc(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)
