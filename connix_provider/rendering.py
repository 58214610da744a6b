"""
Render a task's templates so that text stays text.

With ``render_template_as_native_obj=True`` Airflow reads every rendered text as Python: the id ``"123_456"``
becomes the number 123456, and ``"None"`` becomes ``None``. Here the field decides:

- A field that the reference documents as text is rendered as in a DAG without that setting.
- Any other text is rendered as the DAG says, and only if it contains a template.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from enum import Enum
from os import PathLike
from typing import TYPE_CHECKING, Any

from jinja2.nativetypes import NativeEnvironment

from connix_provider.selector import AgentSelector

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import BaseOperator, Context

__all__ = ["Renderer"]


class Renderer:
    """
    Renders the fields of one task run.

    :param jinja_env: the environment that Airflow chose
    :param seen_oids: ``id()`` of the objects that Airflow does not render again, such as outputs of other
        tasks
    """

    def __init__(
        self, task: BaseOperator, context: Context, jinja_env: jinja2.Environment, seen_oids: set[int]
    ) -> None:
        self._task = task
        self._context = context
        self._environment = jinja_env
        self._seen_oids = seen_oids
        self._text_environment = _text_environment(task, jinja_env)

    def as_airflow(self, value: Any) -> Any:
        """Render as Airflow does, but leave text without a template, because a native DAG would read it."""
        value = _without_enum(value)
        if isinstance(value, str) and not self.is_template(value):
            return value
        return self._task.render_template(value, self._context, self._environment, self._seen_oids)

    def as_text(self, value: Any) -> Any:
        """Render text to text; the output of another task stays as it is."""
        value = _without_enum(value)
        if not isinstance(value, str):
            return self.as_airflow(value)
        if self.is_done(value):
            return value
        environment = self._text_environment
        is_file = value.endswith(tuple(self._task.template_ext))
        template = environment.get_template(value) if is_file else environment.from_string(value)
        # Shared, because a copy would compute every lazy value of the context.
        names: Any = ChainMap({}, self._context, template.globals)  # type: ignore[arg-type]
        try:
            nodes = template.root_render_func(template.new_context(names, shared=True))
            return "".join(str(node) for node in nodes)
        except Exception:
            environment.handle_exception()

    def as_texts(self, value: Any) -> Any:
        """Render the texts within lists and mappings to text; any other text as Airflow does."""
        if isinstance(value, Mapping):
            return {key: self.as_text(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.as_text(item) for item in value]
        return self.as_airflow(value)

    def as_path(self, value: Any) -> Any:
        """Render a path to text; Airflow would call ``resolve()`` of a path object."""
        if not hasattr(value, "read_bytes"):
            return self.as_text(value)
        # An ObjectStoragePath has a connection, which its text lacks.
        return value if hasattr(value, "conn_id") else self.as_text(str(value))

    def as_selector(self, value: Any) -> Any:
        """Render a selector or the mapping of one; its texts stay text."""
        if self.is_done(value):
            return value
        if isinstance(value, AgentSelector):
            value = {**value.criteria, "allow_empty": value.allow_empty}
        if isinstance(value, Mapping):
            return {key: self.as_texts(item) for key, item in value.items()}
        return self.as_airflow(value)

    def is_done(self, value: Any) -> bool:
        """Return whether Airflow has rendered a value already."""
        return id(value) in self._seen_oids

    def is_template(self, value: Any) -> bool:
        """Return whether a value comes from a template or from another task."""
        if not isinstance(value, str):
            return callable(value) or (hasattr(value, "resolve") and not isinstance(value, PathLike))
        if value.endswith(tuple(self._task.template_ext)):
            return True
        environment = self._text_environment
        marks = (
            environment.variable_start_string,
            environment.block_start_string,
            environment.comment_start_string,
            environment.line_statement_prefix,
            environment.line_comment_prefix,
        )
        return any(mark in value for mark in marks if mark)


def _without_enum(value: Any) -> Any:
    """Return the value of a member of an enum, because the text of a ``(str, Enum)`` is its name."""
    return value.value if isinstance(value, Enum) else value


def _text_environment(task: BaseOperator, jinja_env: jinja2.Environment) -> jinja2.Environment:
    """Return an environment whose templates give text, within macros and ``set`` blocks, too."""
    if isinstance(jinja_env, NativeEnvironment) and task.has_dag():
        return task.dag.get_template_env(force_sandboxed=True)
    return jinja_env
