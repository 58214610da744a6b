"""The sensor that waits for the health of agents."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import PokeReturnValue, conf

from connix_provider.health import HealthPolicy
from connix_provider.hooks.connix import ConnixHook
from connix_provider.hooks.diagnosis import naming_subject
from connix_provider.params import resolve_project_id
from connix_provider.selector import AgentSelector, selector_of_task
from connix_provider.sensors.base import ConnixSensor
from connix_provider.triggers.health import ConnixAgentHealthTrigger
from connix_provider.values import amount_of, check_amount, check_number

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.polling.health_group import HealthGroup
    from connix_provider.polling.poll_result import PollResult
    from connix_provider.polling.session import Locate, PollingSession
    from connix_provider.rendering import Renderer

# Modules that parsing a DAG file does not need are imported in functions.

__all__ = ["ConnixAgentHealthSensor"]

#: The key of a selection in ``task_state_store``.
_SELECTION = "connix_selection"


class ConnixAgentHealthSensor(ConnixSensor):
    """
    Wait until agents are healthy, on a worker (``poke``, ``reschedule``) or in the triggerer.

    Every mode ends the same way: with success when enough agents are healthy at the same time, with
    :class:`~connix_provider.exceptions.ConnixAgentGoneError` or (``on_unknown="fail"``)
    :class:`~connix_provider.exceptions.ConnixAgentUnhealthyError` when too few are left that could be, and
    with :class:`~connix_provider.exceptions.ConnixAgentTimeoutError` at the deadline, whose message holds the
    last report. ``soft_fail`` skips only the time-out. An unhealthy agent and transient errors do not end the
    wait, but a refused key does.

    :param health: the limits, a :class:`~connix_provider.health.HealthPolicy` or a mapping with its names
    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param agents: instead of both: an :class:`~connix_provider.selector.AgentSelector` or a mapping with its
        names. The agents are selected once, when the task starts
    :param at_least: for ``agents``: how many must be healthy, a number or a percentage such as ``"80%"``, of
        which a fraction counts as one more; default all
    :param healthy_for: seconds, or a timedelta, for which polls must show a healthy agent without a change;
        default 0. In reschedule mode the sensor keeps its worker slot meanwhile
    :param on_unknown: ``wait`` (default), or ``fail``: an agent of unknown health counts as lost
    :param project_id: the project; default the connection's ``project_id``
    :param stream_agent_logs: whether new lines of the agents' log go into the task's log during the wait;
        default no. Costs a request of the rate limit on Get Agent Logs for each poll. In reschedule mode, an
        Airflow before 3.3 keeps the worker slot
    :param connix_conn_id: the Airflow connection
    :param deferrable: whether to wait in the triggerer, without a worker slot; default
        ``operators.default_deferrable`` of Airflow's configuration

    The sensor returns the agent's id. With ``agents`` it returns the number of ``agents`` and of ``healthy``
    ones, and the ids of the first 100 that are ``not_healthy``. ``poke_interval`` (1 second or more),
    ``timeout``, ``mode``, ``soft_fail``, ``exponential_backoff`` and the rest are those of Airflow's
    ``BaseSensorOperator``, in the triggerer too.
    """

    template_fields: Sequence[str] = (
        "health",
        "agent_id",
        "agent_name",
        "agents",
        "at_least",
        "on_unknown",
        "project_id",
        "connix_conn_id",
    )

    def __init__(
        self,
        *,
        health: HealthPolicy | Mapping[str, Any],
        agent_id: str | None = None,
        agent_name: str | None = None,
        agents: AgentSelector | Mapping[str, Any] | None = None,
        at_least: int | str | None = None,
        healthy_for: float | timedelta = 0.0,
        on_unknown: str = "wait",
        project_id: str | None = None,
        stream_agent_logs: bool = False,
        connix_conn_id: str = ConnixHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.health = health
        self.agent_id = agent_id
        self.agent_name = agent_name
        self.agents = agents
        self.at_least = at_least
        self.healthy_for = healthy_for
        self.on_unknown = on_unknown
        self.project_id = project_id
        self.stream_agent_logs = stream_agent_logs
        self.connix_conn_id = connix_conn_id
        self.deferrable = deferrable

    def render_field(self, field: str, value: Any, renderer: Renderer) -> Any:
        """
        Render one field; texts of a selector stay text.

        :param field: the field's name
        :param value: its value in the DAG file
        :param renderer: the renderer
        :return: the rendered value
        """
        if field in {"at_least", "on_unknown"}:
            return renderer.as_text(value)
        if field == "agents":
            return renderer.as_selector(value)
        return super().render_field(field, value, renderer)

    def execute(self, context: Context) -> Any:
        """
        Wait for the agents' health.

        :param context: Airflow's context
        :return: the agent's id, or the numbers of agents
        """
        from connix_provider.polling.health_group import poll_group
        from connix_provider.polling.poll_result import PollResult
        from connix_provider.polling.session import PollingSession
        from connix_provider.polling.task_kill import exit_on_sigterm

        first_poke_at = self.first_poke_at(context)
        self.recall_log_positions(context)
        group, ends_at = self._make_group(first_poke_at)
        poller = group.pollers[0]
        if (overdue := poller.overdue()) is not None:
            # Nothing is sent after the deadline.
            return self.end(overdue)
        hook = ConnixHook(self.connix_conn_id)
        is_resumed = first_poke_at is not None
        project_id: str | None = None
        with naming_subject(f"Could not wait for agent {poller.agent} to be healthy"):
            if not is_resumed or self.agents is not None:
                project_id = resolve_project_id(self.project_id, hook.default_project_id, self.connix_conn_id)
            connected = PollingSession(hook, deadline=ends_at, is_resumed=is_resumed)
        locate: Locate | None = partial(self.locate, hook)
        with connected, exit_on_sigterm():
            is_fixed = True
            if self.agents is not None and project_id is not None:
                selected = self._select(context, connected, group, project_id)
                if isinstance(selected, PollResult):
                    return self.end(selected)
                group, is_fixed, locate = *selected, None
                if not group.pollers:
                    return group.summary()
                poller = group.pollers[0]
                if self.deferrable:
                    # The agents' first polls are in the triggerer, where they share their reads.
                    self._defer(group)
            while (poll_result := poll_group(connected, project_id, group, locate=locate)) is None:
                if self.deferrable and poller.agent.link:
                    self._defer(group)
                if self.reschedule and not self.deferrable and is_fixed:
                    longest = max(group.pollers, key=lambda each: each.schedule.delay())
                    self.reschedule_unless_undecided(context, group, longest.schedule, ends_at, group.pollers)
                time.sleep(group.rest())
        return self._end_group(poll_result, group.summary())

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Send one poll. This is for unit tests; :meth:`execute` has a loop of its own.

        The poll is the first of a new wait, so with ``healthy_for`` it is never a success.

        :param context: Airflow's context, which is not used
        :return: success with the task's result, or ``False`` if the wait would go on
        """
        from connix_provider.polling.health_group import poll_group
        from connix_provider.polling.poll_result import PollResult
        from connix_provider.polling.session import PollingSession

        group, ends_at = self._make_group(None)
        hook = ConnixHook(self.connix_conn_id)
        with PollingSession(hook, deadline=ends_at) as connected:
            if self.agents is None:
                poll_result = poll_group(connected, None, group, locate=partial(self.locate, hook))
            else:
                project_id = resolve_project_id(self.project_id, hook.default_project_id, self.connix_conn_id)
                selected = self._select({}, connected, group, project_id)
                if isinstance(selected, PollResult):
                    return PokeReturnValue(True, self.finish(selected))
                group, _ = selected
                if not group.pollers:
                    return PokeReturnValue(True, group.summary())
                poll_result = poll_group(connected, project_id, group)
        if poll_result is None:
            return False
        agent_id = self.finish(poll_result)
        return PokeReturnValue(True, agent_id if self.agents is None else group.summary())

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        End the task with the result of its trigger.

        :param context: Airflow's context
        :param event: the trigger's event
        :return: the agent's id, or the numbers of agents
        :raises ValueError: for an event of another kind
        """
        poll_result = self.explain(event)
        return self._end_group(poll_result, event.get("summary"))

    def _end_group(self, poll_result: PollResult, summary: Any) -> Any:
        agent_id = self.end(poll_result)
        return agent_id if self.agents is None else summary

    def _make_group(self, first_poke_at: float | None) -> tuple[HealthGroup, float]:
        """Return the wait of this process, and the deadline of the whole wait in epoch seconds."""
        from connix_provider.polling.health_group import HealthGroup

        self.check_parameters()
        policy = HealthPolicy.of(self.health)
        selector = selector_of_task(self.agent_id, self.agent_name, self.agents)
        if self.at_least is not None:
            if selector is None:
                raise ValueError("at_least goes with agents only")
            if not check_amount("at_least", self.at_least):
                raise ValueError(f"at_least must be more than 0, not {self.at_least!r}")
        if self.on_unknown not in ["wait", "fail"]:
            raise ValueError(f"on_unknown must be 'wait' or 'fail', not {self.on_unknown!r}")
        options, ends_at = self.poll_options(first_poke_at)
        group = HealthGroup(
            policy,
            healthy_for=float(check_number("healthy_for", self.healthy_for, "seconds")),
            fails_on_unknown=self.on_unknown == "fail",
            log_positions=self.log_positions,
            **options,
        )
        name = str(selector) if selector else self.agent_name
        group.add(None if self.agent_id is None else str(self.agent_id), None if name is None else str(name))
        return group, ends_at

    def _select(
        self, context: Context, connected: PollingSession, group: HealthGroup, project_id: str
    ) -> tuple[HealthGroup, bool] | PollResult:
        """
        Fix the selection at the task's start.

        Returns the wait for the selected agents, and whether another process would find the same ones: only
        Airflow 3.3 and later have a place to keep them.
        """
        from connix_provider.polling.health_group import select_with
        from connix_provider.polling.poll_result import PollResult
        from connix_provider.polling.selection import describe

        store, try_number = context.get("task_state_store"), getattr(context.get("ti"), "try_number", None)
        kept = store.get(_SELECTION) if store is not None and self.reschedule else None
        agents: Any
        if isinstance(kept, dict) and kept.get("try_number") == try_number:
            agents = kept["agents"]
        else:
            selector = AgentSelector.of(self.agents)
            selected = select_with(connected, selector, project_id, group.pollers[0])
            if isinstance(selected, PollResult):
                return selected
            self.log.info("Selected %s (%s).", describe(selected), selector)
            agents = [[agent.id, agent.name] for agent in selected]
            if store is not None and self.reschedule:
                store.set(_SELECTION, {"try_number": try_number, "agents": agents})
        needed = len(agents)
        if self.at_least is not None:
            needed = amount_of("at_least", self.at_least, len(agents), round_up=True)
        if needed > len(agents):
            raise ValueError(f"at_least is {self.at_least!r}, but only {len(agents)} agents were selected")
        return group.of_agents(agents, project_id, needed), store is not None

    def _defer(self, group: HealthGroup) -> NoReturn:
        from connix_provider.polling.deferral import deferral_timeout

        first = group.pollers[0]
        which = f"Agent {first.agent}" if len(group.pollers) == 1 else f"{len(group.pollers)} agents"
        self.log.info("%s: waiting in the triggerer from here on.", which)
        times, agents = group.handover()
        self.defer(
            trigger=ConnixAgentHealthTrigger(
                str(first.agent.project_id),
                agents,
                HealthPolicy.of(self.health).to_json(),
                needed=group.needed,
                healthy_for=first.goal.stable_for,
                on_unknown=self.on_unknown,
                connix_conn_id=self.connix_conn_id,
                **self.backoff_options(),
                **times,
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(times["deadline"]),
        )
