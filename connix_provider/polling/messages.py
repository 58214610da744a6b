"""Put the result of a wait into words; the outcome comes first, because the UI cuts long lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from connix_provider.client.attempts.limit_log import limit_name
from connix_provider.client.errors import ConnixError, ConnixNotFoundError
from connix_provider.hooks.diagnosis import remedy
from connix_provider.poll_state import Sign
from connix_provider.statuses import DOWN, AgentStatus, status_phrase

if TYPE_CHECKING:
    from connix_provider.lifecycle import Goal
    from connix_provider.poll_state import PollState
    from connix_provider.polling.agent_ref import AgentRef

__all__ = [
    "MIN_REPORTED_WAIT",
    "NO_RECENT_POLL",
    "WaitMessage",
    "done",
    "failed",
    "gone",
    "join_first",
    "last_seen",
    "not_waited_for",
    "refused",
    "timed_out",
    "undefined",
    "wanted",
]


class WaitMessage(NamedTuple):
    """
    A message in two parts.

    :param finding: what happened, to which agent
    :param advice: what follows, what to do, and where to find the agent
    """

    finding: str
    advice: str


#: What was last seen, if each poll of this process failed.
NO_RECENT_POLL = "no recent poll succeeded"
#: Seconds of waiting for a rate limit from which on a timeout mentions them.
MIN_REPORTED_WAIT = 1.0
#: What ended well, where the status alone does not say it; "%s" is the status.
_DONE = {
    "restart": "was restarted and is %s",
    "update": "was updated and is %s",
    "delete": "was deleted",
    "settle": "is %s and can be acted on",
}


def join_first(texts: Sequence[str], most: int = 10, *, numbered: bool = False) -> str:
    """
    Join the first of many sentences.

    :param most: how many to join
    :param numbered: whether each begins with its number
    :return: the sentences, and how many more there are
    """
    sentences = [text if text.endswith((".", "!", "?")) else f"{text}." for text in texts[:most]]
    joined = " ".join(f"({number}) {text}" if numbered else text for number, text in enumerate(sentences, 1))
    return f"{joined} And {len(texts) - most} more." if len(texts) > most else joined


def wanted(goal: Goal) -> str:
    """
    Say what a wait is for.

    :return: words that go after "to be"
    """
    if goal.done_when_gone:
        return "gone"
    if goal.name == "restart":
        return "restarted and running"
    if goal.name == "update":
        return "done with its update"
    if goal.name == "settle":
        return "ready to be acted on"
    words = " or ".join(sorted(goal.done))
    return f"{words} for {goal.stable_for:g} s" if goal.stable_for else words


def done(goal: Goal, agent: AgentRef, status: str | None, waited: float) -> str:
    """
    Describe a wait that reached its goal.

    :param waited: seconds since the task began
    :return: one sentence
    """
    became = _DONE.get(goal.name, "is %s")
    became = became % status_phrase(status) if "%s" in became else became
    stable = f" without a change for {goal.stable_for:g} s" if goal.stable_for else ""
    return f"Agent {agent} {became}{stable} ({waited:.0f} s waited)."


def gone(goal: Goal, agent: AgentRef, why: str) -> str:
    """
    Say that there is no such agent.

    :param why: what Connix said
    :return: one sentence
    """
    reason = f": {why}" if why else ""
    return (
        f"Agent {agent} does not exist: it was deleted, or the id or project is wrong. The task waited for "
        f"it to be {wanted(goal)}. Create the agent again, or correct its id and project"
        f"{agent.context_suffix}{reason}."
    )


def failed(goal: Goal, agent: AgentRef, reason: str) -> WaitMessage:
    """
    Say that the agent will not come to what was wanted.

    :param reason: the verdict's reason
    :return: one sentence each
    """
    come_to = "running" if goal.name == "restart" else wanted(goal)
    return WaitMessage(
        f"Agent {agent} failed: {reason}, and does not become {come_to} without an action.",
        f"See its log, correct or restart it, then clear the task{agent.context_suffix}.",
    )


def timed_out(
    goal: Goal,
    agent: AgentRef,
    state: PollState,
    *,
    limit: str,
    last_seen: str,
    last_error: Exception | None,
    connix_conn_id: str | None,
    limited_for: float,
    limited_by: str | None,
) -> WaitMessage:
    """
    Say that the time is up: what was asked for, what was seen, what to do.

    :param state: what the polls showed
    :param limit: the time allowed, such as ``600 s``
    :param last_seen: what the last poll that showed the agent showed, and when
    :param last_error: what the last poll failed with, if it failed
    :param connix_conn_id: the Airflow connection, if known
    :param limited_for: seconds spent waiting for a rate limit
    :param limited_by: the limit, as the client names it
    :return: some sentences
    """
    needs_sign = goal.require_change or state.sign is Sign.REQUIRED
    if needs_sign and state.before and not state.changed and state.last and state.last.status in goal.done:
        # A create updates an agent that exists.
        action = "an update" if state.sign is Sign.REQUIRED else f"a {goal.name}"
        others = ", only of an update by others," if state.other_change else ""
        what = f"showed no sign of {action}{others} within the time allowed ({limit})"
    else:
        what = f"was not {wanted(goal)} within the time allowed ({limit})"
    is_missing = isinstance(last_error, ConnixNotFoundError) and last_error.is_of_an_agent
    if last_error and is_missing:
        text = f"Agent {agent} {what}: the last poll found no agent: {_summary(last_error)}"
    else:
        text = f"Agent {agent} {what}: {last_seen}"
        if last_error:
            text += f"; the last poll failed: {type(last_error).__name__}: {_summary(last_error)}"
    if limited_for >= MIN_REPORTED_WAIT:
        text += f"; polling waited {limited_for:.0f} s of that for the {limit_name(limited_by)}"
        advice = "Set a longer poll interval or run fewer tasks at a time; deferrable tasks share their polls"
    else:
        known = remedy(last_error, connix_conn_id) if last_error else None
        advice = known or _advice_on_status(goal, state.last.status if state.last else None)
    context_suffix = agent.context_suffix_after(
        last_error.origin if isinstance(last_error, ConnixError) else ()
    )
    consequence = "" if is_missing else "The agent was left as it is. "
    return WaitMessage(f"{text.rstrip('.')}.", f"{consequence}{advice}{context_suffix}.")


def _advice_on_status(goal: Goal, status: str | None) -> str:
    """Say what to do about an agent that was not where it was wanted."""
    if goal.name == "sensor" and status in DOWN and AgentStatus.RUNNING in goal.done:
        return f"An agent that is {status} does not start by itself: start it, then clear the task"
    return (
        "Set a longer timeout (and execution_timeout, if the task has one) if the agent needs more time, and "
        "see its log in the Connix console"
    )


def _summary(error: Exception) -> str:
    return error.summary if isinstance(error, ConnixError) else str(error)


def last_seen(status: str | None, seen_at: float | None, now: float) -> str:
    """
    Say what the last poll that showed the agent showed, and when.

    :param status: the status, ``None`` for an agent that is gone
    :param seen_at: epoch seconds of the poll, if known
    :param now: epoch seconds of the deadline
    :return: the second half of a sentence
    """
    when = ""
    if seen_at is not None:
        at = datetime.fromtimestamp(seen_at, UTC).strftime("%H:%M:%S UTC")
        ago = max(0.0, now - seen_at)
        when = f" {ago:.0f} s before that ended, at {at}" if ago >= 1.0 else f" at {at}"
    return f"it was last seen {status_phrase(status)}{when}"


def undefined(error: AirflowNotFoundException, goal: Goal, agent: AgentRef) -> AirflowNotFoundException:
    """
    Say which wait ends because its Airflow connection is not defined.

    :param error: the hook's error, with its hint where Airflow looks
    :return: the same class with a longer text
    """
    return AirflowNotFoundException(f"{not_waited_for(goal, agent)}: {error}{agent.context_suffix}")


def not_waited_for(goal: Goal, agent: AgentRef) -> str:
    """
    Say that a wait could not begin or continue.

    :return: the beginning of a message
    """
    return f"Could not wait for agent {agent} to be {wanted(goal)}"


def refused(
    error: ConnixError, goal: Goal, agent: AgentRef, connix_conn_id: str | None, *, is_misconfigured: bool
) -> None:
    """
    Complete an error that ended a wait: by what was waited for, and what to do.

    :param connix_conn_id: the Airflow connection, if known
    :param is_misconfigured: whether a mistake in the connection explains every failure so far
    """
    error.agent_id, error.agent_name = agent.agent_id, agent.name
    error.project_id, error.link = error.project_id or agent.project_id, agent.link
    error.subject = not_waited_for(goal, agent)
    error.advice = remedy(error, connix_conn_id)
    if is_misconfigured:
        error.advice = f"{error.advice}; no other response came since the wait began"
