"""What only a test can do to projects and agents: put them there, push them about, take them away."""

from collections.abc import Sequence
from datetime import datetime
from itertools import count, islice
from typing import Any, Final

from connix_provider.emulator.agent_index import AgentIndex
from connix_provider.emulator.clock import micros_of
from connix_provider.emulator.store import AgentStore
from connix_provider.emulator.transitions import Step

#: Microseconds between the creation of a seeded agent and its status.
_SETTLING: Final = 2_000_000
_SEEDED_BY: Final = "user_" + 16 * "0"


class TestControls:
    """
    Change the service from outside; each change is atomic.

    :param store: who is there.
    """

    def __init__(self, store: AgentStore) -> None:
        self._store = store

    def add_project(self, project_id: str, name: str) -> None:
        """
        Add an empty project.

        :param project_id: its id, not in use yet.
        :param name: what a listing shows.
        """
        with self._store.moment():
            if project_id in self._store.projects:
                raise ValueError(f"project {project_id!r} exists already")
            self._store.projects[project_id] = name
            self._store.indexes[project_id] = AgentIndex()

    def seed(
        self,
        project_id: str,
        name: str,
        wanted: int,
        status: str,
        *,
        description: str | None,
        config: dict[str, Any],
        metadata: dict[str, Any],
        created_at: datetime | None,
    ) -> list[str]:
        """
        Put agents there that have this status; return their ids.

        :param project_id: an existing project.
        :param name: ``{n}`` in it becomes 1, 2, 3 and so on, passing over names in use.
        :param wanted: how many agents.
        :param status: any string.
        :param description: of all of them.
        :param config: of all of them.
        :param metadata: of all of them.
        :param created_at: when they were created; ``None``: so that they have the status from now on. Agents
            beyond ``creating`` came to their status two seconds after that.
        """
        with self._store.moment() as now:
            taken = self._store.indexes[project_id].by_name
            if "{n}" in name:
                free = (new for n in count(1) if (new := name.replace("{n}", str(n))) not in taken)
                names = list(islice(free, wanted))
            elif wanted == 1 and name not in taken:
                names = [name]
            else:
                raise ValueError(f"agent names are unique in a project: {name!r} is not, without {{n}} in it")
            settling = 0 if status == "creating" else _SETTLING
            # All alike, so that a listing shows agents in the order in which they were seeded.
            born = now - _SETTLING if created_at is None else micros_of(created_at)
            agents = self._store.settle_in(
                project_id,
                names,
                status,
                born,
                changed_at=born + settling,
                description=description,
                config=config,
                metadata={"version": "1.0.0", "created_by": _SEEDED_BY, **metadata},
            )
            return [agent.id for agent in agents]

    def set_status(self, agent_id: str, status: str, move_updated_at: bool = True) -> None:
        """
        Put an agent into a status at once and drop whatever was planned for it, its deletion too.

        :param agent_id: its id.
        :param status: any string.
        :param move_updated_at: whether ``updated_at`` shows it.
        """
        with self._store.moment() as now:
            agent = self._store.find(agent_id)
            self._store.change(agent, now, status, move_updated_at)
            self._store.plan(agent, now, [])

    def script(self, agent_id: str, steps: Sequence[Step]) -> None:
        """
        Plan an agent's statuses in place of whatever was planned for it.

        :param agent_id: its id.
        :param steps: seconds after the step before, and the status then.
        """
        with self._store.moment() as now:
            self._store.plan(self._store.find(agent_id), now, steps)

    def remove(self, agent_id: str) -> None:
        """
        Make an agent disappear at once.

        :param agent_id: its id.
        """
        with self._store.moment():
            self._store.remove(self._store.find(agent_id))

    def history(self, agent_id: str) -> list[tuple[int, str]]:
        """
        Return every status an agent has had with its beginning; an agent that is gone keeps its history.

        :param agent_id: its id; :class:`KeyError` when there never was such an agent.
        """
        with self._store.moment():
            return list(self._store.histories[agent_id])

    def add_logs(self, agent_id: str, lines: int, level: str) -> None:
        """
        Let an agent log many lines now.

        :param agent_id: its id.
        :param lines: how many.
        :param level: of all of them.
        """
        with self._store.moment() as now:
            self._store.find(agent_id).extra_logs.append((now, lines, level))
