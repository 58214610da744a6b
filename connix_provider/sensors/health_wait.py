"""Wait for the health of agents on a worker: select them, poll them, and defer or reschedule in between."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from connix_provider.health import HealthPolicy
from connix_provider.hooks.connix import ConnixHook
from connix_provider.hooks.diagnosis import adding_subject
from connix_provider.polling.deadlines import deferral_timeout
from connix_provider.polling.health_group import HealthGroup
from connix_provider.polling.health_loop import poll_group, select_with
from connix_provider.polling.poll_result import PollResult
from connix_provider.polling.selection import describe
from connix_provider.polling.task_kill import exit_on_sigterm
from connix_provider.polling.worker_loop import Locate, PollingSession
from connix_provider.selector import AgentSelector, selector_of_task
from connix_provider.sensors.try_store import TryStore
from connix_provider.triggers.health import ConnixAgentHealthTrigger
from connix_provider.values import amount_of, check_amount, check_number, quoted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.sensors.base import ConnixSensor

__all__ = ["HealthSettings", "poll_health", "wait_for_health"]

#: How a wait ended, ``None`` if no agent was selected; and the numbers of agents.
HealthWaitEnd: TypeAlias = tuple[PollResult | None, dict[str, Any]]
#: The key of the selection in what a try keeps.
_SELECTION = "connix_selection"


@dataclasses.dataclass(frozen=True, slots=True)
class HealthSettings:
    """
    What to wait for.

    :param selector: the agents, ``None`` for the one of the sensor's ``agent_id`` or ``agent_name``
    :param at_least: how many of them must be healthy, a number or a percentage; ``None`` for all
    :param healthy_for: seconds for which polls must show a healthy agent without a change
    :param on_unknown: ``wait``, or ``fail``: an agent of unknown health counts as failed
    """

    policy: HealthPolicy
    selector: AgentSelector | None
    at_least: Any
    healthy_for: float
    on_unknown: str

    @classmethod
    def of(
        cls,
        *,
        health: Any,
        agent_id: Any,
        agent_name: Any,
        agents: Any,
        at_least: Any,
        healthy_for: Any,
        on_unknown: Any,
    ) -> HealthSettings:
        """
        Check the parameters of a sensor.

        :raises ValueError: for an invalid parameter
        """
        policy = HealthPolicy.of(health)
        selector = selector_of_task(agent_id, agent_name, agents)
        if at_least is not None:
            if selector is None:
                raise ValueError("at_least goes with agents only")
            if not check_amount("at_least", at_least):
                raise ValueError(f"at_least must be more than 0, not {quoted(at_least)}")
        if on_unknown not in ["wait", "fail"]:
            raise ValueError(f"on_unknown must be 'wait' or 'fail', not {quoted(on_unknown)}")
        seconds = float(check_number("healthy_for", healthy_for, "seconds"))
        return cls(policy, selector, at_least, seconds, on_unknown)

    def needed(self, total: int) -> int:
        """
        Return how many agents must be healthy.

        :param total: how many were selected
        :raises ValueError: if it is more than there are
        """
        if self.at_least is None:
            return total
        needed = amount_of("at_least", self.at_least, total, round_up=True)
        if needed > total:
            raise ValueError(f"at_least is {self.at_least!r}, but only {total} agents were selected")
        return needed


def wait_for_health(sensor: ConnixSensor, settings: HealthSettings, context: Context) -> HealthWaitEnd:
    """
    Wait for the agents of a sensor.

    :param settings: what to wait for
    :return: how the wait ended, and the numbers of agents
    :raises TaskDeferred: if the triggerer is to continue with the wait
    :raises AirflowRescheduleException: if a later process is to continue with it
    """
    first_poke_at = sensor.first_poke_at(context)
    sensor.load_progress(context)
    group, ends_at = _make_group(sensor, settings, first_poke_at)
    poller = group.pollers[0]
    if (overdue := poller.check_deadline()) is not None:
        # Nothing is sent after the deadline.
        return overdue, {}
    hook = ConnixHook(sensor.connix_conn_id)
    is_resumed = first_poke_at is not None
    project_id: str | None = None
    with adding_subject(f"Could not wait for agent {poller.agent} to be healthy"):
        if not is_resumed or settings.selector is not None:
            project_id = hook.project_id_for(sensor.project_id)
        polling_session = PollingSession(hook, deadline=ends_at, is_resumed=is_resumed)
    locate: Locate | None = partial(sensor.locate, hook)
    reschedules = sensor.reschedule and not sensor.deferrable
    with polling_session, exit_on_sigterm():
        if settings.selector is not None and project_id is not None:
            kept = TryStore(context)
            selected = _select(sensor, settings, kept, polling_session, group, project_id)
            if isinstance(selected, PollResult):
                return selected, {}
            group, locate = selected, None
            if not group.pollers:
                return None, group.summary()
            poller = group.pollers[0]
            # Another process would select anew, and might find other agents.
            reschedules = reschedules and kept.is_available
            if sensor.deferrable:
                # The agents' first polls are in the triggerer, where they share their reads.
                _defer(sensor, settings, group)
        while (poll_result := poll_group(polling_session, project_id, group, locate=locate)) is None:
            if sensor.deferrable and poller.agent.link:
                _defer(sensor, settings, group)
            if reschedules:
                sensor.reschedule_unless_undecided(context, group.pollers, ends_at)
            time.sleep(group.sleep_seconds())
    return poll_result, group.summary()


def poll_health(sensor: ConnixSensor, settings: HealthSettings) -> HealthWaitEnd | None:
    """
    Send one poll for each agent of a sensor.

    :param settings: what to wait for
    :return: how the wait ended, and the numbers of agents; ``None`` if it would continue
    """
    group, ends_at = _make_group(sensor, settings, None)
    hook = ConnixHook(sensor.connix_conn_id)
    locate: Locate | None = partial(sensor.locate, hook)
    project_id: str | None = None
    with PollingSession(hook, deadline=ends_at) as polling_session:
        if settings.selector is not None:
            project_id = hook.project_id_for(sensor.project_id)
            selected = _select(sensor, settings, TryStore({}), polling_session, group, project_id)
            if isinstance(selected, PollResult):
                return selected, {}
            group, locate = selected, None
            if not group.pollers:
                return None, group.summary()
        poll_result = poll_group(polling_session, project_id, group, locate=locate)
    return None if poll_result is None else (poll_result, group.summary())


def _make_group(
    sensor: ConnixSensor, settings: HealthSettings, first_poke_at: float | None
) -> tuple[HealthGroup, float]:
    """Return the wait of this process, and the deadline of the whole wait in epoch seconds."""
    wait_settings, ends_at = sensor.wait_settings(first_poke_at)
    group = HealthGroup(
        settings.policy,
        wait_settings,
        healthy_for=settings.healthy_for,
        fails_on_unknown=settings.on_unknown == "fail",
        streams_log=sensor.stream_agent_logs,
    )
    name = str(settings.selector) if settings.selector else sensor.agent_name
    agent_id = None if sensor.agent_id is None else str(sensor.agent_id)
    group.add(agent_id, sensor.progress_of(None, None if name is None else str(name)))
    return group, ends_at


def _select(
    sensor: ConnixSensor,
    settings: HealthSettings,
    kept: TryStore,
    polling_session: PollingSession,
    group: HealthGroup,
    project_id: str,
) -> HealthGroup | PollResult:
    """Fix the selection at the task's start, and return the wait for the selected agents."""
    agents: Any = kept.read(_SELECTION) if sensor.reschedule else None
    if agents is None:
        selected = select_with(
            polling_session, AgentSelector.of(settings.selector), project_id, group.pollers[0]
        )
        if isinstance(selected, PollResult):
            return selected
        sensor.log.info("Selected %s (%s).", describe(selected), settings.selector)
        agents = [[agent.id, agent.name] for agent in selected]
        if sensor.reschedule:
            kept.write(_SELECTION, agents)
    known = [(agent_id, sensor.progress_of(agent_id, name or None)) for agent_id, name in agents]
    return group.of_agents(known, project_id, settings.needed(len(agents)))


def _defer(sensor: ConnixSensor, settings: HealthSettings, group: HealthGroup) -> NoReturn:
    first = group.pollers[0]
    awaited = f"Agent {first.agent}" if len(group.pollers) == 1 else f"{len(group.pollers)} agents"
    sensor.log.info("%s: deferring; the triggerer continues the polls.", awaited)
    times, agents = group.trigger_arguments()
    sensor.defer(
        trigger=ConnixAgentHealthTrigger(
            str(first.agent.project_id),
            agents,
            settings.policy.to_json(),
            needed=group.needed,
            healthy_for=settings.healthy_for,
            on_unknown=settings.on_unknown,
            connix_conn_id=sensor.connix_conn_id,
            **sensor.backoff_options(),
            **times,
        ),
        method_name="execute_complete",
        timeout=deferral_timeout(times["deadline"]),
    )
