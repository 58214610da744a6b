"""The parameters that operators and sensors share: their templates, and their checks before any request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import conf

from connix_provider.params import missing_value_message
from connix_provider.rendering import Renderer
from connix_provider.values import check_flag, is_missing_value

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    _Operator = BaseOperator
else:
    _Operator = object

__all__ = ["DEFERRABLE_BY_DEFAULT", "TaskParameters"]

#: The default of ``deferrable`` in Airflow's configuration.
DEFERRABLE_BY_DEFAULT: bool = conf.getboolean("operators", "default_deferrable", fallback=False)


class TaskParameters(_Operator):
    """The parameters that operators and sensors share."""

    #: Fields that are rendered to text in every DAG.
    text_fields: ClassVar[tuple[str, ...]] = ("project_id", "connix_conn_id", "agent_id", "agent_name")
    #: Fields that hold a selector, whose texts are rendered to text.
    selector_fields: ClassVar[tuple[str, ...]] = ()
    #: Fields that hold a path.
    path_fields: ClassVar[tuple[str, ...]] = ()
    #: Text fields that may be empty.
    may_be_empty: ClassVar[tuple[str, ...]] = ()
    flag_fields: ClassVar[tuple[str, ...]] = ("deferrable",)
    #: Fields whose template or other task gave a missing value, with that value.
    _missing: Mapping[str, Any] = MappingProxyType({})
    #: Whether a mapped argument is the None of another task.
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

        This method is private in Airflow, but the only one that Airflow calls for plain and for mapped tasks.
        """
        if parent is not self:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            return
        renderer = Renderer(self, context, jinja_env, seen_oids)
        self._mapped_to_nothing = id(None) in seen_oids
        gave: dict[str, Any] = {}
        for field in template_fields:
            value = getattr(self, field)
            if callable(value):  # newer versions of Airflow call it
                super()._do_render_template_fields(parent, (field,), context, jinja_env, seen_oids)
                gave[field] = getattr(self, field)
                continue
            try:
                rendered = self.render_field(field, value, renderer)
            except Exception as error:
                # Without the template and the error's message, because both may contain secrets.
                kind = type(error).__name__
                self.log.error("The template in %s could not be rendered (%s).", field, kind)  # noqa: TRY400
                raise
            # Always set, because Airflow before 3.2 keeps the template of an empty result.
            setattr(self, field, rendered)
            if renderer.is_template(value):
                gave[field] = rendered
        self._missing = {
            field: value
            for field, value in gave.items()
            if is_missing_value(
                value, empty_is_fine=field not in self.text_fields or field in self.may_be_empty
            )
        }

    def render_field(self, field: str, value: Any, renderer: Renderer) -> Any:
        """
        Render one field.

        :param value: its value in the DAG file
        """
        if field in self.selector_fields:
            return renderer.as_selector(value)
        if field in self.path_fields:
            return renderer.as_path(value)
        return renderer.as_text(value) if field in self.text_fields else renderer.as_airflow(value)

    def check_parameters(self) -> None:
        """
        Check the parameters that all operators share.

        :raises ValueError: for an invalid flag, and for a template that gave a missing value
        """
        self.read_flags()
        if self._missing:
            field, value = next(iter(self._missing.items()))
            raise ValueError(missing_value_message(field, value, by_a_template=True))
        named = [getattr(self, name, "") for name in ("agent_id", "agent_name")]
        if self._mapped_to_nothing and named == [None, None]:
            raise ValueError(
                "agent_id and agent_name are both None: they came from another task that returned no value"
            )

    def read_flags(self) -> None:
        """
        Read the boolean parameters.

        :raises ValueError: for a value that is no boolean
        """
        for name in self.flag_fields:
            setattr(self, name, check_flag(name, getattr(self, name)))
