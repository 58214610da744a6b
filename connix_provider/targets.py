"""
Check what a task was told, and find the agent it means.

Template fields hold their values only when a task runs, so all of this happens in ``execute`` and before
anything is sent. Every complaint names the parameter, what it is and what it should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.client.errors import ConnixConflictError, ConnixNotFoundError

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from connix_provider.client import Agent, Client
    from connix_provider.rendering import Renderer

    _Operator = BaseOperator
else:
    _Operator = object

__all__ = [
    "AgentNameNotFoundError",
    "TaskParameters",
    "check_flag",
    "check_name",
    "check_seconds",
    "find_agents",
    "gave_nothing",
    "name_conflict",
    "nothing_given",
    "resolve_agent_id",
    "resolve_project_id",
]

#: Seconds; no datetime can be made of much more.
_LONGEST = 300 * 365 * 86400.0
#: What a template writes for a value that was not there.
_NOTHING = frozenset({"none", "null", "undefined", "nan"})
#: The words in which Airflow reads booleans.
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_PERHAPS = "if it comes from a template or another task,"
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})


class AgentNameNotFoundError(ConnixNotFoundError):
    """
    Say that no agent of a project has the name that was asked for.

    :param name: the name
    :param project_id: the project
    """

    def __init__(self, name: str, project_id: str) -> None:
        super().__init__(404, "agent_not_found", f"project {project_id} has no agent named {name!r}")
        self.has_response = False


def name_conflict(message: str) -> ConnixConflictError:
    """
    Say that another agent of the project has a name.

    :param message: which agent, and what to do
    :return: the error to raise
    """
    error = ConnixConflictError(409, "agent_conflict", message)
    error.has_response = False
    return error


def resolve_project_id(given: Any, default: Any, connix_conn_id: str) -> str:
    """
    Decide which project is meant.

    :param given: the task's ``project_id``
    :param default: the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :return: the project's id
    :raises ValueError: where neither names one
    """
    chosen = default if given is None else given
    if chosen is None:
        raise ValueError(
            "project_id is missing: give it to the task, or put it into the extra of the Airflow connection "
            f"{connix_conn_id!r}"
        )
    return _identifier(chosen, "project_id")


def resolve_agent_id(client: Client, project_id: str, agent_id: Any, agent_name: Any) -> str:
    """
    Decide which agent is meant.

    :param client: a client, for looking a name up
    :param project_id: the project
    :param agent_id: the task's ``agent_id``
    :param agent_name: the task's ``agent_name``
    :return: the agent's id
    :raises ValueError: for both or neither of the two, an empty one, or a name that two agents have
    :raises AgentNameNotFoundError: for a name that no agent has
    """
    if (agent_id is None) == (agent_name is None):
        got = "both" if agent_id is not None else "neither"
        raise ValueError(f"exactly one of agent_id and agent_name is needed; the task was given {got}")
    if agent_id is not None:
        return _identifier(agent_id, "agent_id")
    agent_name = check_name("agent_name", agent_name)
    found = find_agents(client, project_id, agent_name)
    if not found:
        raise AgentNameNotFoundError(agent_name, project_id)
    if len(found) > 1:
        ids = ", ".join(agent.id for agent in found)
        raise ValueError(
            f"agent_name {agent_name!r} is the name of {len(found)} agents ({ids}); give an agent_id"
        )
    return found[0].id


def find_agents(client: Client, project_id: str, name: str) -> list[Agent]:
    """
    Find the agents of a name; the service has no filter for it, so the whole listing is walked.

    :param client: the client
    :param project_id: the project
    :param name: the exact name
    :return: the agents, usually one or none; the newest first
    """
    return [agent for agent in client.agents.iter(project_id, sort="-created_at") if agent.name == name]


def check_seconds(name: str, value: Any, *, minimum: float = 0.0) -> float:
    """
    Check a length of time.

    :param name: the parameter's name
    :param value: seconds, or a timedelta
    :param minimum: the shortest allowed; 0 means anything above zero
    :return: seconds
    :raises ValueError: for anything else
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or (isinstance(seconds, float) and not math.isfinite(seconds)):
        raise ValueError(f"{name} must be a number of seconds or a timedelta, not {value!r}")
    if seconds > _LONGEST:
        raise ValueError(f"{name} must be less than 300 years, not {value!r}")
    if seconds < minimum or seconds <= 0:
        bound = f"at least {minimum:g} s" if minimum else "more than 0 s"
        raise ValueError(f"{name} must be {bound}, not {value!r}")
    return float(seconds)


def check_flag(name: str, value: Any) -> bool:
    """
    Read a parameter that is true or false, in the words in which Airflow reads its own settings.

    :param name: the parameter's name
    :param value: a boolean, or ``true``, ``t``, ``yes``, ``y``, ``on``, ``1`` or one of their opposites
    :return: the boolean
    :raises ValueError: for anything else, because any text would count as true
    """
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"{name} must be true or false, not {value!r}")


def gave_nothing(value: Any, *, empty_is_fine: bool = False) -> bool:
    """
    Tell whether a value stands for one that was not there.

    :param value: what a template or another task gave
    :param empty_is_fine: whether an empty text is a value
    :return: true for ``None``, and for the words that templates write for it
    """
    if not isinstance(value, str):
        return value is None
    word = value.strip().lower()
    return word in _NOTHING or (not word and not empty_is_fine)


def check_name(parameter: str, value: Any) -> str:
    """
    Check the name of an agent.

    :param parameter: the parameter's name
    :param value: the name; a number is taken for its digits where it names an agent that exists
    :return: the name
    :raises ValueError: for what is not a name
    """
    looks_up = parameter == "agent_name"
    if looks_up and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{parameter} must be a string, not {type(value).__name__}")
    if gave_nothing(value):
        raise ValueError(nothing_given(parameter, value))
    return str(value)


def _identifier(value: Any, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or gave_nothing(value):
        raise ValueError(nothing_given(name, value))
    return value.strip()


def nothing_given(parameter: str, value: Any, *, by_a_template: bool = False) -> str:
    """
    Say that a parameter names nothing, and what to do.

    :param parameter: the parameter's name
    :param value: its value
    :param by_a_template: whether it is known to come from a template or another task
    :return: the message
    """
    why = "it came from a template or another task, and" if by_a_template else _PERHAPS
    what = "a mapping" if parameter in {"config", "metadata"} else "a string that is not empty"
    said = f"{parameter} must be {what}, not {value!r}; {why} that gave nothing"
    has_text = isinstance(value, str) and bool(value.strip())
    if has_text and parameter == "agent_name":
        return f"{said}. An agent that is really called {value!r} can be given by its agent_id"
    if has_text and parameter == "name":
        return f"{said}. No agent gets this name here, because templates write it for what is missing"
    return said


class TaskParameters(_Operator):
    """Render and check the parameters that operators and the sensor share."""

    #: Fields that are text, whatever the DAG says about templates.
    text_fields: ClassVar[tuple[str, ...]] = ("project_id", "connix_conn_id", "agent_id", "agent_name")
    #: Of those, the ones that may be empty.
    may_be_empty: ClassVar[tuple[str, ...]] = ()
    flag_fields: ClassVar[tuple[str, ...]] = ("deferrable",)
    #: Fields written as a template or as another task's output that gave nothing, and what that looks like.
    _gave_nothing: Mapping[str, Any] = MappingProxyType({})
    #: Whether a mapped argument is None because another task gave it.
    _mapped_to_nothing: bool = False

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """
        Render the templates.

        This is the one method that Airflow calls for plain and for mapped tasks alike.
        """
        if parent is not self:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            return
        from connix_provider.rendering import Renderer

        renderer = Renderer(self, context, jinja_env, seen_oids)
        self._mapped_to_nothing = id(None) in seen_oids
        gave: dict[str, Any] = {}
        for field in template_fields:
            value = getattr(self, field)
            if callable(value):  # newer Airflows call it
                super()._do_render_template_fields(parent, (field,), context, jinja_env, seen_oids)
                gave[field] = getattr(self, field)
                continue
            try:
                rendered = self.render_field(field, value, renderer)
            except Exception as error:
                # Neither the template nor the error's words: both may hold secrets of the configuration.
                kind = type(error).__name__
                self.log.error("The template in %s could not be rendered (%s).", field, kind)  # noqa: TRY400
                raise
            # Always, because Airflow before 3.2 keeps the template of a field that comes out empty.
            setattr(self, field, rendered)
            if renderer.is_template(value):
                gave[field] = rendered
        self._gave_nothing = {
            field: value
            for field, value in gave.items()
            if gave_nothing(value, empty_is_fine=field not in self.text_fields or field in self.may_be_empty)
        }

    def render_field(self, field: str, value: Any, renderer: Renderer) -> Any:
        """
        Render one field.

        :param field: its name
        :param value: what the user wrote
        :param renderer: renders it
        :return: the field's value
        """
        return renderer.as_text(value) if field in self.text_fields else renderer.as_airflow(value)

    def check_parameters(self) -> None:
        """
        Check what does not depend on the operator.

        :raises ValueError: for a flag that is none, and for a template that gave nothing
        """
        self.read_flags()
        if self._gave_nothing:
            field, value = next(iter(self._gave_nothing.items()))
            raise ValueError(nothing_given(field, value, by_a_template=True))
        if self._mapped_to_nothing and {getattr(self, name, "") for name in ("agent_id", "agent_name")} == {
            None
        }:
            raise ValueError(
                "agent_id and agent_name are both None: they came from another task, and that gave nothing"
            )

    def read_flags(self) -> None:
        """
        Read the parameters that are true or false.

        :raises ValueError: for one that is neither
        """
        for name in self.flag_fields:
            setattr(self, name, check_flag(name, getattr(self, name)))
