"""Defer a task to the triggerer: to wait for its agent, or for a rate limit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from connix_provider.polling.deadlines import deferral_timeout
from connix_provider.triggers.agent import ConnixAgentStatusTrigger
from connix_provider.triggers.rate_limit import ConnixRateLimitTrigger

if TYPE_CHECKING:
    from connix_provider.client import Client
    from connix_provider.client.errors import ConnixRateLimitError
    from connix_provider.operators._base.cancel_on_kill import CancelOnKillMixin
    from connix_provider.operators._base.sent_action import SentAction
    from connix_provider.polling.status_poller import StatusPoller

__all__ = ["defer_for_agent", "defer_for_rate_limit", "take_over_permit"]


def defer_for_agent(
    task: CancelOnKillMixin,
    project_id: str,
    sent: SentAction,
    poller: StatusPoller,
    *,
    method_name: str = "execute_complete",
    resume_with: dict[str, Any] | None = None,
) -> NoReturn:
    """
    Defer until the agent reaches the goal.

    :param sent: the action, with the goal of the wait
    :param poller: the wait, with the polls of the worker
    :param method_name: the method that resumes the task
    :param resume_with: what that method needs to know
    """
    trigger_arguments = poller.trigger_arguments()
    task.log.info("Agent %s: deferring; the triggerer continues the polls.", poller.agent)
    task.defer(
        trigger=ConnixAgentStatusTrigger(
            project_id,
            sent.agent_id,
            str(sent.goal),
            undo_on_kill=sent.undo if task.cancel_on_kill else None,
            connix_conn_id=task.connix_conn_id,
            resume_with=resume_with,
            **trigger_arguments,
        ),
        method_name=method_name,
        timeout=deferral_timeout(trigger_arguments["deadline"]),
    )


def defer_for_rate_limit(
    task: CancelOnKillMixin,
    client: Client,
    error: ConnixRateLimitError,
    deadline: float,
    *,
    since: float,
) -> NoReturn:
    """
    Defer until the rate limit has a permit, or the deadline has passed.

    :param client: the task's client, whose limiter knows the limit
    :param error: the error of the limiter or of the service; it names the rate limit
    :param deadline: the task's deadline in epoch seconds
    :param since: epoch seconds at which the task began to wait for the limit
    """
    from connix_provider.client.ratelimit import Bucket
    from connix_provider.client.retry import cap_retry_delay
    from connix_provider.operators._base.rate_limit_errors import store_error

    now, bucket = time.time(), Bucket(str(error.bucket))
    not_before = now + cap_retry_delay(error.retry_after or 0.0, deadline - now)
    task.log.info("Deferring until the rate limit has a permit: %s", error)
    task.defer(
        trigger=ConnixRateLimitTrigger(
            str(bucket),
            not_before,
            deadline,
            task.connix_conn_id,
            client.limiter.snapshot(bucket),
            resume_with={
                "response_was_lost": error.may_have_executed,
                "error": store_error(error),
                "since": since,
            },
        ),
        method_name="resume_after_rate_limit",
        timeout=deferral_timeout(deadline),
    )


def take_over_permit(client: Client, event: Mapping[str, Any]) -> None:
    """
    Take over the permit of a trigger, and its state of the rate limit.

    :param client: the resumed task's client
    """
    from connix_provider.client.ratelimit import Bucket

    if "rate_limit" in event:
        client.limiter.restore(Bucket(event["bucket"]), event["rate_limit"], granted=event["has_permit"])
