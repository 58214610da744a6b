"""The parameters of a task that describe an agent: name, description, configuration and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.operators._base.agent_operator import ConnixAgentOperator
from connix_provider.params import check_name, missing_value_message
from connix_provider.values import is_missing_value

if TYPE_CHECKING:
    from connix_provider.rendering import Renderer

__all__ = ["AgentDescriptionMixin"]


class AgentDescriptionMixin(ConnixAgentOperator):
    """
    Parameters of "Create Agent" and "Update Agent" of the reference.

    ``system_prompt`` and ``environment_variables`` of the configuration hold secrets. Their values are
    registered with Airflow's masker, and the rendered fields that Airflow stores show their shape only.
    """

    description_fields: ClassVar[tuple[str, ...]] = ("name", "description", "config", "metadata")
    text_fields: ClassVar[tuple[str, ...]] = (*ConnixAgentOperator.text_fields, "name", "description")
    may_be_empty: ClassVar[tuple[str, ...]] = ("description",)
    template_fields: Sequence[str] = (*ConnixAgentOperator.template_fields, *description_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"config": "json", "metadata": "json"}

    def __init__(
        self,
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.config = config
        self.description = description
        self.metadata = metadata
        #: Texts of the configuration that came from templates or other tasks, by path.
        self._rendered_texts: dict[str, Any] = {}

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """
        Render the templates, and register the secrets before Airflow logs or stores a value.

        The secrets are registered before rendering as well, because Airflow logs the configuration as it was
        written if a template fails.
        """
        from connix_provider.operators._agent.config import hidden_when_stored

        self._mask(parent)
        super()._do_render_template_fields(parent, *args, **kwargs)
        self._mask(parent)
        if parent is self and self.config is not None:
            # Also if it is no mapping, because Airflow stores it before check() refuses it.
            self.config = hidden_when_stored(self.config)

    def render_field(self, field: str, value: Any, renderer: Renderer) -> Any:
        """
        Render one field. In the configuration, fields that the reference documents as text stay text.

        :param value: its value in the DAG file
        """
        if field in {"config", "metadata"}:
            return self._render_json(field, (), value, renderer)
        return super().render_field(field, value, renderer)

    def _render_json(self, field: str, path: tuple[Any, ...], value: Any, renderer: Renderer) -> Any:
        from connix_provider.operators._agent.config import CONTAINERS, is_text

        if renderer.is_done(value):
            return value
        if isinstance(value, Mapping):
            return {
                name: self._render_json(field, (*path, name), item, renderer) for name, item in value.items()
            }
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return [
                self._render_json(field, (*path, number), item, renderer) for number, item in enumerate(value)
            ]
        is_documented = field == "config" and (is_text(path) or path in CONTAINERS)
        rendered = renderer.as_text(value) if is_documented and is_text(path) else renderer.as_airflow(value)
        needs_value = rendered is None or path[-1:] in {("model",), ("system_prompt",)}
        if is_documented and needs_value and renderer.is_template(value):
            self._rendered_texts[".".join(map(str, path))] = rendered
        return rendered

    @staticmethod
    def _mask(task: Any) -> None:
        from connix_provider.operators._base.secret_masking import mask_secrets

        mask_secrets(getattr(task, "config", None))

    def body(self) -> dict[str, Any]:
        """
        Return the request's body: the parameters that were given, in their documented types.

        :raises ValueError: for a value that cannot be converted to its field's type
        """
        from connix_provider.client.calls.arguments import plain
        from connix_provider.operators._agent.config import with_documented_types

        fields = {field: getattr(self, field) for field in self.description_fields}
        given = {field: value for field, value in fields.items() if value is not None}
        if isinstance(config := given.get("config"), Mapping):
            given["config"] = with_documented_types(config)
        body: dict[str, Any] = plain(given)
        return body

    def check(self) -> None:
        """
        Check the parameters, before any request.

        :raises ValueError: for an invalid parameter
        """
        from connix_provider.operators._agent.config import REMEDY_FOR_TEXT, as_given

        super().check()
        if self.name is not None:
            check_name("name", self.name)
        if self.description is not None and not isinstance(self.description, str):
            raise ValueError(f"description must be a string, not {type(self.description).__name__}")
        for field, given in (("config", self.config), ("metadata", self.metadata)):
            value = as_given(given)
            if value is not None and not isinstance(value, Mapping):
                remedy = f"; {REMEDY_FOR_TEXT}" if isinstance(value, str) else ""
                raise ValueError(f"{field} must be a mapping, not {type(value).__name__}{remedy}")
        for name, text in self._rendered_texts.items():
            if is_missing_value(text, empty_is_fine=name != "model"):
                raise ValueError(missing_value_message(f"config.{name}", text, by_a_template=True))
        self.body()
