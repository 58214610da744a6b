"""
Put former faults of the provider back, one by one, to show that the simulation finds each.

An entry replaces a repair by the behaviour before it. If a repair moves, its entry must move too: a missing
name fails loudly.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from hostile import former_behaviour
from hostile.former_behaviour import OPERATORS, Replacements

__all__ = ["OLD_FAULTS", "OldFault"]


@dataclasses.dataclass(frozen=True)
class OldFault:
    """
    A former fault of the provider.

    :param line: the fault's line in the list of faults
    :param what: its effect, and the key in :data:`hostile.cases.CASES` of the history that finds it
    :param put_back: returns the replacements by dotted names
    """

    line: str
    what: str
    put_back: Callable[[], Replacements]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put the fault into the provider."""
        with ExitStack() as stack:
            for name, replacement in self.put_back().items():
                stack.enter_context(patch.object(*_owner(name), replacement))
            yield


def _owner(name: str) -> tuple[Any, str]:
    path, _, attribute = name.rpartition(".")
    try:
        return importlib.import_module(path), attribute
    except ModuleNotFoundError:
        module, _, owner = path.rpartition(".")
        return getattr(importlib.import_module(module), owner), attribute


OLD_FAULTS = (
    OldFault(
        "A1",
        "after a clear, an earlier restart counts",
        lambda: former_behaviour.recall_any_record("ConnixRestartAgentOperator"),
    ),
    OldFault("A1", "any move of updated_at counts as our restart", former_behaviour.any_move_is_a_restart),
    OldFault(
        "A2",
        "after a clear, an earlier delete counts",
        lambda: former_behaviour.recall_any_record("ConnixDeleteAgentOperator"),
    ),
    OldFault("A3", "a mapped create finds its agent by its place alone", former_behaviour.found_by_key_alone),
    OldFault("A4", "the task's own agent is left as it is", former_behaviour.left_as_it_is),
    OldFault(
        "A5", "the key names no deployment", lambda: {f"{OPERATORS}._base.identity.deployment_id": lambda: ""}
    ),
    OldFault("A6", "an agent that does not run is adopted", former_behaviour.adopted_although_down),
    OldFault(
        "A6", "an agent that does not run is updated and left so", former_behaviour.updated_but_not_started
    ),
    OldFault("A7", "the same try again recalls nothing", former_behaviour.recalled_only_in_a_retry),
    OldFault(
        "A8",
        "a Variable stays where Airflow breaks the last try off",
        lambda: {
            f"{OPERATORS}._base.agent_operator.ConnixAgentOperator._clean_up_record": lambda self, context: (
                None
            )
        },
    ),
    OldFault(
        "A9",
        "the agent of a failed create is left in spite of on_failure",
        lambda: {f"{OPERATORS}.agent.ConnixCreateAgentOperator.clean_up_failure": lambda self, context: None},
    ),
    OldFault(
        "B1",
        "a service asks for an hour and is left alone for it",
        lambda: {"connix_provider.polling.poll_schedule.MAX_HINT": 86_400.0},
    ),
    OldFault("B2", "no poll is sent at the deadline", former_behaviour.no_poll_at_the_deadline),
    OldFault("B3", "a status is stable from the trigger on", former_behaviour.stable_from_the_trigger_on),
    OldFault(
        "B4",
        "an old status is final at once",
        lambda: {"connix_provider.poll_state.PollState.in_grace": lambda self, now: False},
    ),
    OldFault(
        "B8",
        "a clock that is set back stalls the wait",
        former_behaviour.the_wall_clock_counts,
    ),
    OldFault(
        "B9",
        "a connection that can never work is waited for",
        lambda: {"connix_provider.polling.poll_errors.MISCONFIGURED_AFTER": 1e9},
    ),
    OldFault(
        "C1",
        "a 404 of a gateway means that an agent is gone",
        lambda: {
            "connix_provider.client.errors.ConnixNotFoundError.is_of_an_agent": property(lambda self: True)
        },
    ),
    OldFault("C2", "a delete does not wait its turn", former_behaviour.deletes_do_not_wait),
    OldFault(
        "C3", "a 404 right after a create is believed", lambda: {"connix_provider.lifecycle.REPLICA_LAG": 0.0}
    ),
    OldFault("C5", "a 200 that says no counts as accepted", former_behaviour.a_200_is_a_yes),
    OldFault(
        "C6",
        "only some 5xx are transient",
        lambda: {
            "connix_provider.client.transient.is_transient_status": {
                408,
                425,
                429,
                500,
                502,
                503,
                504,
            }.__contains__
        },
    ),
    OldFault(
        "C7",
        "without evidence a restart is repeated",
        lambda: {f"{OPERATORS}._once.restart_once.shows_changes": lambda *_: True},
    ),
    OldFault("C8", "a name that is held is given up at once", former_behaviour.names_are_free_at_once),
    OldFault(
        "C9",
        "a restart that fails is sent without end",
        lambda: {f"{OPERATORS}._once.restart_once.MAX_ATTEMPTS": 1000},
    ),
    OldFault(
        "E2",
        "a secrets backend that is down ends a wait",
        lambda: {"connix_provider.polling.poll_errors.UNDEFINED_AFTER": 0.0},
    ),
    OldFault("G", "details without end are put into an event", former_behaviour.events_without_bounds),
    OldFault(
        "H1",
        "a triggerer that stalled undoes what goes on",
        lambda: {"connix_provider.polling.task_kill._reason": lambda state: None},
    ),
)
