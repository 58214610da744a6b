"""
Put faults back that the provider once had, one by one, to see that the simulation finds each.

A fault is put back where its repair stands, as the behaviour was before. Where a repair moves, its entry here
moves with it: a name that is not there any more fails loudly.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

__all__ = ["OLD_FAULTS", "OldFault"]

_OPERATORS = "connix_provider.operators"
_Replacements = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class OldFault:
    """
    A fault.

    :param line: the line of the list of faults that it stands in
    :param what: what happens; a key of :data:`hostile.cases.CASES`, whose history finds it
    :param put_back: returns what replaces what, by dotted names
    """

    line: str
    what: str
    put_back: Callable[[], _Replacements]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let the provider have the fault."""
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


def _recall_whatever_the_wish(operator: str) -> _Replacements:
    from connix_provider.operators import task_state

    def recall(self: Any, context: Any) -> Any:
        if (store := context.get("task_state_store")) is not None:
            found = store.get(task_state._NAME)
        else:
            text = task_state.Variable.get(task_state._variable(context), None)
            found = json.loads(text) if text else None
        return task_state.ActionRecord.from_json(found["record"]) if found else None

    return {f"{_OPERATORS}.agent.{operator}.recall": recall}


def _any_move_is_a_restart() -> _Replacements:
    from connix_provider.lifecycle import Evidence, has_changed

    def evidence(before: Any, seen: Any, *, requested_at: float | None = None) -> Any:
        return Evidence.RESTARTED if has_changed(before, seen) else Evidence.NONE

    return {
        "connix_provider.lifecycle.restart_evidence": evidence,
        f"{_OPERATORS}.restart_once.restart_evidence": evidence,
    }


def _found_by_key_alone() -> _Replacements:
    from connix_provider.operators import create_once, existing_agent

    def look_up(client: Any, project_id: str, name: str, key: str) -> Any:
        own, named = create_once._scan(client, project_id, name, key)
        found = own or named
        return create_once.FoundAgent(found, is_own=own is not None) if found else None

    def difference(body: Any, agent: Any) -> Any:
        return before({key: value for key, value in body.items() if key != "name"}, agent)

    before = existing_agent.difference
    return {
        f"{_OPERATORS}.create_once.look_up": look_up,
        f"{_OPERATORS}.existing_agent.difference": difference,
    }


def _left_as_it_is() -> _Replacements:
    from connix_provider.operators import existing_agent

    before = existing_agent.bring_to

    def bring_to(client: Any, project_id: str, agent: Any, body: Any, *, undo: Any) -> Any:
        return before(client, project_id, agent, {} if undo else body, undo=undo)

    return {f"{_OPERATORS}.existing_agent.bring_to": bring_to}


def _adopted_although_down() -> _Replacements:
    from connix_provider.operators import existing_agent
    from connix_provider.operators.killed import Acted

    before = existing_agent.use

    def use(client: Any, project_id: str, agent: Any, body: Any, key: str, if_exists: str) -> Any:
        if if_exists == "adopt":
            return Acted.of(agent)
        return before(client, project_id, agent, body, key, if_exists)

    return {f"{_OPERATORS}.existing_agent.use": use}


def _updated_but_not_started() -> _Replacements:
    from connix_provider.operators import existing_agent
    from connix_provider.operators.killed import Acted

    before = existing_agent.bring_to

    def bring_to(client: Any, project_id: str, agent: Any, body: Any, *, undo: Any) -> Any:
        if undo:
            return before(client, project_id, agent, body, undo=undo)
        client.agents.update(project_id, agent.id, {k: v for k, v in body.items() if k != "name"})
        return Acted.of(agent)

    return {f"{_OPERATORS}.existing_agent.bring_to": bring_to}


def _recalled_only_in_a_retry() -> _Replacements:
    from connix_provider.operators import task_state

    def recall(self: Any, context: Any) -> Any:
        return task_state.recall(context) if self.is_repeated(context) else None

    return {f"{_OPERATORS}.base.ConnixAgentOperator.recall": recall}


def _deletes_do_not_wait() -> _Replacements:
    from connix_provider.operators import turn

    before = turn.in_turn

    def in_turn(agent_id: str, action: str, *more: Any) -> Any:
        return nullcontext() if action == "delete" else before(agent_id, action, *more)

    return {f"{_OPERATORS}.turn.in_turn": in_turn}


def _a_200_is_a_yes() -> _Replacements:
    def read_confirmation(kind: Any, agent_id: str, body: bytes) -> Any:
        try:
            result = kind.model_validate_json(body or b"{}")
        except ValueError:
            return kind(agent_id=agent_id)
        return result if result.agent_id else result.model_copy(update={"agent_id": agent_id})

    return {"connix_provider.client.calls.read_confirmation": read_confirmation}


def _names_are_free_at_once() -> _Replacements:
    return {f"{_OPERATORS}.create_once._NAME_PAUSES": (0.0,)}


OLD_FAULTS = (
    OldFault(
        "A1",
        "after a clear, an earlier restart counts",
        lambda: _recall_whatever_the_wish("ConnixRestartAgentOperator"),
    ),
    OldFault("A1", "any move of updated_at counts as our restart", _any_move_is_a_restart),
    OldFault(
        "A2",
        "after a clear, an earlier delete counts",
        lambda: _recall_whatever_the_wish("ConnixDeleteAgentOperator"),
    ),
    OldFault("A3", "a mapped create finds its agent by its place alone", _found_by_key_alone),
    OldFault("A4", "one's own agent is left as it is", _left_as_it_is),
    OldFault(
        "A5", "the key names no deployment", lambda: {f"{_OPERATORS}.identity.deployment_id": lambda: ""}
    ),
    OldFault("A6", "an agent that does not run is adopted", _adopted_although_down),
    OldFault("A6", "an agent that does not run is updated and left so", _updated_but_not_started),
    OldFault("A7", "the same try again recalls nothing", _recalled_only_in_a_retry),
    OldFault(
        "A8",
        "a Variable stays where Airflow breaks the last try off",
        lambda: {f"{_OPERATORS}.base.ConnixAgentOperator._clean_up_record": lambda self, context: None},
    ),
    OldFault(
        "A9",
        "the agent of a failed create is left in spite of on_failure",
        lambda: {
            f"{_OPERATORS}.agent.ConnixCreateAgentOperator.clean_up_failure": lambda self, context: None
        },
    ),
    OldFault(
        "B4",
        "an old status is final at once",
        lambda: {"connix_provider.poll_state.PollState.in_grace": lambda self, now: False},
    ),
    OldFault("C2", "a delete does not wait its turn", _deletes_do_not_wait),
    OldFault(
        "C3", "a 404 right after a create is believed", lambda: {"connix_provider.lifecycle.REPLICA_LAG": 0.0}
    ),
    OldFault("C5", "a 200 that says no counts as accepted", _a_200_is_a_yes),
    OldFault(
        "C6",
        "only some 5xx are transient",
        lambda: {
            "connix_provider.client.retry.is_transient_status": {
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
        lambda: {f"{_OPERATORS}.restart_once.shows_changes": lambda *_: True},
    ),
    OldFault("C8", "a name that is held is given up at once", _names_are_free_at_once),
    OldFault(
        "C9",
        "a restart that fails is sent without end",
        lambda: {f"{_OPERATORS}.restart_once.MAX_ATTEMPTS": 1000},
    ),
    OldFault(
        "H1",
        "a triggerer that stalled undoes what goes on",
        lambda: {"connix_provider.waiting.kill._reason": lambda state: None},
    ),
)
