"""Read the agents that a selector selects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from connix_provider.client.endpoints import MAX_AGENTS_PER_PAGE, get_agent, list_agents
from connix_provider.client.errors import ConnixNotFoundError
from connix_provider.client.models import Agent
from connix_provider.client.pagination import AgentPaginator
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.selector import AgentSelector

if TYPE_CHECKING:
    from connix_provider.client import AsyncClient, Client
    from connix_provider.client.calls.steps import Flow

__all__ = ["describe", "get_agent_if_present", "select_agents"]

#: Ids up to this number are read one by one; for more of them the project is listed.
_FEW_IDS = 20
#: Agents that a log line names.
_NAMED = 20


def select_agents(
    client: Client | AsyncClient, selector: AgentSelector, project_id: str
) -> Flow[list[Agent]]:
    """
    Select agents of a project once; for ``client.run_flow()``.

    Up to 20 ids cost a Get each. Otherwise the project is listed, and an agent of an id that the listing does
    not show, or whose metadata or last activity it leaves out and the selector asks for, costs a Get.

    :param client: whose flow it is; its bounds hold for each request
    :return: the steps; their result is the agents, the oldest first, or in the order of the ids
    :raises ValueError: if nothing is selected, or no agent has an id or name of the selector; not with
        ``allow_empty``
    :raises ConnixError: if a request fails
    """
    found: dict[str, Agent] = {}
    if selector.ids is None or len(selector.ids) > _FEW_IDS:
        found = yield from _list(client, selector, project_id)
    unlisted = [agent_id for agent_id in selector.ids or () if agent_id not in found]
    for agent_id in unlisted:
        agent = yield from get_agent_if_present(client, project_id, agent_id)
        if agent is not None:
            found[agent_id] = agent
    now = client.server_now()
    needed = {"metadata"} if selector.metadata else set()
    needed |= set() if selector.idle_for is None else {"last_activity"}
    selected = []
    for listed in [found[agent_id] for agent_id in selector.ids or found if agent_id in found]:
        agent = listed
        if needed - listed.model_fields_set:
            # A listing may leave fields out, and a missing one is not an empty one.
            agent = yield from get_agent_if_present(client, project_id, listed.id)
        if agent is not None and selector.matches(agent, now=now):
            selected.append(agent)
    _check(selector, project_id, found.values(), selected)
    return selected


def describe(agents: Sequence[Agent | AgentRef]) -> str:
    """
    Name agents in a log line.

    :return: their number, and the names and ids of the first ones
    """
    refs = [agent if isinstance(agent, AgentRef) else AgentRef(agent.id, agent.name) for agent in agents]
    named = ", ".join(str(ref) for ref in refs[:_NAMED])
    more = f" and {len(refs) - _NAMED} more" if len(refs) > _NAMED else ""
    return f"{len(refs)} agent{'' if len(refs) == 1 else 's'}{': ' if refs else ''}{named}{more}"


def get_agent_if_present(client: Client | AsyncClient, project_id: str, agent_id: str) -> Flow[Agent | None]:
    """
    Read an agent that may be gone; for ``client.run_flow()``.

    :return: the steps; their result is the agent, or ``None``
    :raises ConnixError: if the request fails, also for a missing project
    """
    try:
        agent: Agent = yield from client.flow(get_agent(project_id, agent_id))
    except ConnixNotFoundError as error:
        if error.is_of_an_agent:
            return None
        raise
    return agent


def _list(client: Client | AsyncClient, selector: AgentSelector, project_id: str) -> Flow[dict[str, Agent]]:
    # Agents of other statuses are listed, too, where one is to be found by its id or name.
    is_named = selector.ids is not None or selector.names is not None
    statuses = tuple(selector.statuses or ())
    status = statuses[0] if len(statuses) == 1 and not is_named else None
    page_of = partial(list_agents, project_id, status=status, limit=MAX_AGENTS_PER_PAGE, sort="created_at")
    pages: AgentPaginator[Agent] = AgentPaginator(page_of)
    found: dict[str, Agent] = {}
    while pages.next_call is not None:
        for agent in pages.take((yield from client.flow(pages.next_call))):
            found[agent.id] = agent
    if not is_named:
        # An entry that cannot be read may be an agent that is to be selected.
        pages.check_complete()
    return found


def _check(
    selector: AgentSelector, project_id: str, found: Iterable[Agent], selected: Sequence[Agent]
) -> None:
    if selector.allow_empty:
        return
    ids, names = {agent.id for agent in found}, {agent.name for agent in found}
    missing = [agent_id for agent_id in selector.ids or () if agent_id not in ids]
    if selector.ids is None:
        missing = [name for name in selector.names or () if name not in names]
    if missing:
        raise ValueError(
            f"project {project_id} has no agent {', '.join(map(repr, missing))}; correct the selector "
            f"({selector}), or give allow_empty=True"
        )
    if not selected:
        raise ValueError(
            f"no agent of project {project_id} meets {selector}; correct the selector, or give "
            "allow_empty=True"
        )
