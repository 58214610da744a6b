"""The parameters that both exports share: agents, an interval and a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from os import PathLike
from typing import Any, ClassVar

from connix_provider.operators._base.base_operator import ConnixBaseOperator
from connix_provider.selector import AgentSelector

__all__ = ["ExportOperator"]


class ExportOperator(ConnixBaseOperator):
    """Parameters shared by both exports: agents, an interval and a file."""

    template_fields: Sequence[str] = (
        *ConnixBaseOperator.template_fields,
        "path",
        "agent_id",
        "agent_name",
        "agents",
        "start_time",
        "end_time",
    )
    path_fields: ClassVar[tuple[str, ...]] = ("path",)
    text_fields: ClassVar[tuple[str, ...]] = (*ConnixBaseOperator.text_fields, "start_time", "end_time")
    selector_fields: ClassVar[tuple[str, ...]] = ("agents",)
    #: What the export reads, for messages.
    exported: ClassVar[str]
    ui_color = "#efe6f4"

    def __init__(
        self,
        *,
        path: str | PathLike[str],
        agent_id: str | None,
        agent_name: str | None,
        agents: AgentSelector | Mapping[str, Any] | None,
        start_time: str | datetime | None,
        end_time: str | datetime | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.agent_id = agent_id
        self.agent_name = agent_name
        self.agents = agents
        self.start_time = start_time
        self.end_time = end_time

    def error_fields(self) -> dict[str, Any]:
        """Return the action and the agent, for messages."""
        verb = f"export the {self.exported} of"
        return {"verb": verb, "agent_id": self.agent_id, "agent_name": self.agent_name}
