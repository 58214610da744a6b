"""The behaviour before each repair: each function returns replacements by dotted names."""

from __future__ import annotations

import functools
import time
import types
from contextlib import nullcontext
from typing import Any

__all__ = ["OPERATORS", "Replacements"]

OPERATORS = "connix_provider.operators"
#: A replacement for each dotted name.
Replacements = dict[str, Any]


def recall_any_record(operator: str) -> Replacements:
    from connix_provider.operators._base import task_state

    def read_record(self: Any, context: Any) -> Any:
        found = task_state.TaskStore(context, task_state._NAME).read(of_any_clear=True)
        return task_state.ActionRecord.from_json(found) if found else None

    return {f"{OPERATORS}.agent.{operator}.read_record": read_record}


def any_move_is_a_restart() -> Replacements:
    from connix_provider.lifecycle import Evidence, has_changed

    def evidence(before: Any, seen: Any, *, requested_at: float | None = None) -> Any:
        return Evidence.RESTARTED if has_changed(before, seen) else Evidence.NONE

    return {
        "connix_provider.lifecycle.restart_evidence": evidence,
        f"{OPERATORS}._once.restart_check.restart_evidence": evidence,
    }


def found_by_key_alone() -> Replacements:
    from connix_provider.operators._agent import update_existing
    from connix_provider.operators._once import create_once

    def look_up(client: Any, project_id: str, name: str, key: str) -> Any:
        own, named = create_once._scan(client, project_id, name, key)
        found = own or named
        return create_once.FoundAgent(found, is_own=own is not None) if found else None

    def difference(body: Any, agent: Any) -> Any:
        return before({key: value for key, value in body.items() if key != "name"}, agent)

    before = update_existing.difference
    return {
        f"{OPERATORS}._once.create_once.look_up": look_up,
        f"{OPERATORS}._agent.update_existing.difference": difference,
    }


def left_as_it_is() -> Replacements:
    from connix_provider.operators._agent import update_existing

    before = update_existing.update_and_start

    def update_and_start(
        client: Any, project_id: str, agent: Any, body: Any, context: Any, *, undo: Any, **options: Any
    ) -> Any:
        return before(client, project_id, agent, {} if undo else body, context, undo=undo, **options)

    return {f"{OPERATORS}._agent.update_existing.update_and_start": update_and_start}


def adopted_although_down() -> Replacements:
    from connix_provider.operators._agent import update_existing
    from connix_provider.operators._base.sent_action import SentAction

    before = update_existing.apply_if_exists

    def use(
        client: Any, project_id: str, agent: Any, body: Any, key: str, if_exists: str, context: Any
    ) -> Any:
        if if_exists == "adopt":
            return SentAction.of(agent)
        return before(client, project_id, agent, body, key, if_exists, context)

    return {f"{OPERATORS}._agent.update_existing.apply_if_exists": use}


def updated_but_not_started() -> Replacements:
    from connix_provider.operators._agent import update_existing
    from connix_provider.operators._base.sent_action import SentAction

    before = update_existing.update_and_start

    def update_and_start(
        client: Any, project_id: str, agent: Any, body: Any, context: Any, *, undo: Any, **options: Any
    ) -> Any:
        if undo:
            return before(client, project_id, agent, body, context, undo=undo, **options)
        client.agents.update(project_id, agent.id, {k: v for k, v in body.items() if k != "name"})
        return SentAction.of(agent)

    return {f"{OPERATORS}._agent.update_existing.update_and_start": update_and_start}


def recalled_only_in_a_retry() -> Replacements:
    from connix_provider.operators._base import task_state

    def read_record(self: Any, context: Any) -> Any:
        return task_state.TaskRecordStore(context).read() if self.may_have_sent(context) else None

    return {f"{OPERATORS}._base.agent_operator.ConnixAgentOperator.read_record": read_record}


def deletes_do_not_wait() -> Replacements:
    return {f"{OPERATORS}._once.delete_once.raise_if_busy": lambda *_: nullcontext()}


def a_200_is_a_yes() -> Replacements:
    def read_confirmation(kind: Any, agent_id: str, body: bytes) -> Any:
        try:
            result = kind.model_validate_json(body or b"{}")
        except ValueError:
            return kind(agent_id=agent_id)
        return result if result.agent_id else result.model_copy(update={"agent_id": agent_id})

    return {"connix_provider.client.endpoints.read_confirmation": read_confirmation}


def names_are_free_at_once() -> Replacements:
    return {f"{OPERATORS}._once.create_once._NAME_DELAYS": (0.0,)}


def no_poll_at_the_deadline() -> Replacements:
    def sleep_seconds(self: Any) -> float:
        return max(0.0, min(self.delay(), self.left()))

    return {"connix_provider.polling.poll_schedule.PollSchedule.sleep_seconds": sleep_seconds}


def stable_from_the_trigger_on() -> Replacements:
    from connix_provider.polling.status_poller import StatusPoller

    before = StatusPoller.trigger_arguments

    def trigger_arguments(self: Any) -> dict[str, Any]:
        told = before(self)
        return {**told, "poll_state": {**told["poll_state"], "stable_since": None}}

    return {"connix_provider.polling.status_poller.StatusPoller.trigger_arguments": trigger_arguments}


def the_wall_clock_counts() -> Replacements:
    from connix_provider.polling.watching.watcher import Watcher

    wall = types.SimpleNamespace(
        time=lambda: time.time(), monotonic=lambda: time.time(), sleep=lambda seconds: time.sleep(seconds)
    )
    return {
        "connix_provider.polling.clock.SteadyClock.now": lambda self: time.time(),
        "connix_provider.polling.clock.SteadyClock.to_monotonic": lambda self, moment: moment,
        "connix_provider.polling.worker_loop.time": wall,
        "connix_provider.polling.trigger_loop.time": wall,
        "connix_provider.polling.watching.shared_client.Watcher": functools.partial(
            Watcher, clock=lambda: time.time()
        ),
    }


def events_without_bounds() -> Replacements:
    return {
        "connix_provider.polling.poll_result._short_details": lambda details: details,
        "connix_provider.polling.poll_result._cut": lambda value, length: value,
        "connix_provider.client.responses.failures.bounded": lambda details, redact: redact(details),
        "connix_provider.client.responses.failures.shortened": lambda text, *_: text,
    }
