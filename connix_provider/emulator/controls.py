"""What a test can do to projects and agents without HTTP: add, inspect, change and remove them."""

import copy
import secrets
from bisect import insort_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count, islice
from operator import attrgetter, itemgetter
from typing import Any, Final

from connix_provider.emulator.agent import LogLine
from connix_provider.emulator.clock import micros_of, moment_of
from connix_provider.emulator.logs import LEVELS
from connix_provider.emulator.metrics import with_defaults
from connix_provider.emulator.store import AgentStore
from connix_provider.emulator.transitions import CREATING, Step
from connix_provider.emulator.validation import check_storable
from connix_provider.emulator.views import Detail, show

#: Microseconds between the creation of a seeded agent and its status.
_SETTLING: Final = 2_000_000
_SEEDED_BY: Final = "user_" + 16 * "0"


class EmulatorControls:
    """
    Change a store from outside the service. Each method is atomic and may be called from any thread.

    A method that takes an ``agent_id`` raises :class:`KeyError` if there is no such agent.
    """

    def __init__(self, store: AgentStore, project_id: str | None) -> None:
        self._store: Final = store
        #: The id of the default project.
        self.project_id: Final = self.add_project(project_id, "Default project")

    def add_project(self, project_id: str | None = None, name: str | None = None) -> str:
        """
        Add an empty project and return its id.

        :param project_id: its id; a random one of the documented shape by default.
        :param name: its name; its id by default.
        :raises ValueError: the project exists already.
        """
        project_id = project_id or f"proj_{secrets.token_hex(8)}"
        with self._store.transaction():
            self._store.add_project(project_id, name or project_id)
        return project_id

    def seed(
        self,
        count: int = 1,
        status: str = "running",
        name: str = "agent-{n}",
        project_id: str | None = None,
        *,
        description: str | None = None,
        config: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> list[str]:
        """
        Add agents that have this status, and return their ids.

        :param status: any string.
        :param name: their names; ``{n}`` becomes 1, 2, 3 and so on, without names in use.
        :param project_id: an existing project; the default project by default.
        :param created_at: an aware datetime. By default they were created two seconds ago, so that they have
            their status from now on; else they came to their status two seconds after it.
        :raises ValueError: a name is not free, or a value is no JSON.
        """
        project_id = project_id or self.project_id
        check_storable([description, config, metadata])
        with self._store.transaction() as now:
            # All created at one time, so that a listing shows agents in the order in which they were seeded.
            born = now - _SETTLING if created_at is None else micros_of(created_at)
            agents = self._store.add_agents(
                project_id,
                self._free_names(project_id, name, count),
                status,
                born,
                born + (0 if status == CREATING else _SETTLING),
                description=description,
                config=config or {},
                metadata={"version": "1.0.0", "created_by": _SEEDED_BY, **(metadata or {})},
            )
            return [agent.id for agent in agents]

    def agent(self, agent_id: str) -> dict[str, Any]:
        """Return what Get Agent would show now, without HTTP, rate limits or faults."""
        with self._store.transaction() as now:
            return copy.deepcopy(show(self._store.find(agent_id), now, Detail.FULL))

    def history(self, agent_id: str) -> list[tuple[datetime, str]]:
        """Return every status of an agent with the time at which it began, also of a removed agent."""
        with self._store.transaction():
            return [(moment_of(at), status) for at, status in self._store.histories[agent_id]]

    def set_status(self, agent_id: str, status: str, move_updated_at: bool = True) -> None:
        """
        Put an agent into a status at once, and drop all changes planned for it, its deletion too.

        :param status: any string.
        :param move_updated_at: whether ``updated_at`` shows the change.
        """
        with self._store.transaction() as now:
            agent = self._store.find(agent_id)
            self._store.change_status(agent, now, status, move_updated_at)
            self._store.plan(agent, now, [])

    def script(self, agent_id: str, steps: Sequence[Step]) -> None:
        """
        Plan an agent's statuses in place of the changes planned before.

        :param steps: ``(seconds after the step before, status)``; ``None`` as status removes the agent.
        """
        with self._store.transaction() as now:
            self._store.plan(self._store.find(agent_id), now, steps)

    def remove(self, agent_id: str) -> None:
        """Remove an agent at once, as if another client had deleted it."""
        with self._store.transaction():
            self._store.remove(self._store.find(agent_id))

    def add_logs(
        self,
        agent_id: str,
        lines: int | Iterable[str],
        level: str = "info",
        *,
        context: Mapping[str, Any] | None = None,
        after: float = 0.0,
        every: float = 0.0,
    ) -> None:
        """
        Add lines to an agent's log; the newest of them that is not in the future moves ``last_activity``.

        :param lines: their messages, oldest first; or a number of lines to make up.
        :param level: debug, info, warn or error.
        :param context: the context of each line; made-up lines show their number by default.
        :param after: seconds from now until the first line.
        :param every: seconds between two lines.
        """
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}")
        if isinstance(lines, str):
            raise ValueError("lines must be a list of messages, or a number; one message is a list, too")
        if isinstance(lines, int):
            messages = [(f"Line {n}", context or {"line": n, "of": lines}) for n in range(1, lines + 1)]
        else:
            messages = [(message, context or {}) for message in lines]
        with self._store.transaction() as now:
            added = self._store.find(agent_id).added_lines
            added += [
                LogLine(now + round((after + number * every) * 1_000_000), level, message, shown)
                for number, (message, shown) in enumerate(messages)
            ]
            added.sort(key=attrgetter("at"))

    def set_metrics(self, agent_id: str, *, after: float = 0.0, **metrics: float | None) -> None:
        """
        Set an agent's metrics, and with them the statistics that Get Agent shows.

        They hold until metrics set for a later time do. A response shows those in force at the end of its
        period, and each point of ``time_series`` those in force at the point's end.

        :param after: seconds from now until they hold.
        :param metrics: by the reference's names (``completed``, ``success_rate``, ``p95_response_time``,
            ``cpu_usage``, …; ``tasks_completed`` is that of each point). Those not named have their default;
            ``total`` and ``success_rate`` follow from the number of tasks. ``None``: the response has no such
            field.
        :raises ValueError: there is no such metric, or a value is no finite number.
        """
        values = with_defaults(metrics)
        with self._store.transaction() as now:
            at = now + round(after * 1_000_000)
            insort_right(self._store.find(agent_id).set_metrics, (at, values), key=itemgetter(0))

    def _free_names(self, project_id: str, name: str, wanted: int) -> list[str]:
        taken = self._store.indexes[project_id].by_name
        if "{n}" in name:
            free = (new for n in count(1) if (new := name.replace("{n}", str(n))) not in taken)
            return list(islice(free, wanted))
        if wanted == 1 and name not in taken:
            return [name]
        raise ValueError(f"agent names are unique in a project: {name!r} is not, without {{n}} in it")
