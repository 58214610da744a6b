"""Hold what a task says about an agent: its name, description, configuration and metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.operators.base import ConnixAgentOperator
from connix_provider.targets import check_name, gave_nothing, nothing_given

if TYPE_CHECKING:
    from connix_provider.rendering import Renderer

__all__ = ["DescribesAgent"]


class DescribesAgent(ConnixAgentOperator):
    """
    Describe an agent, as the reference's "Create Agent" and "Update Agent" do.

    ``system_prompt`` and ``environment_variables`` of the configuration hold secrets: once the templates are
    rendered, their values are given to Airflow's masker for the logs, and the rendered fields that Airflow
    stores show their shape only.

    :param name: the agent's name
    :param config: its configuration
    :param description: what it is for
    :param metadata: anything to keep with it
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
        #: Texts of the configuration that a template or another task gave.
        self._texts_from_elsewhere: dict[str, Any] = {}

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """
        Render the templates, and have secrets hidden before Airflow logs or stores anything of them.

        What is masked before it is for a template that fails: Airflow then logs the configuration as it was
        written.
        """
        from connix_provider.operators.configuration import hidden_when_stored

        self._mask(parent)
        super()._do_render_template_fields(parent, *args, **kwargs)
        self._mask(parent)
        if parent is self and self.config is not None:
            # What is no mapping is refused by check(), after Airflow has stored it.
            self.config = hidden_when_stored(self.config)

    def render_field(self, field: str, value: Any, renderer: Renderer) -> Any:
        """
        Render one field; in the configuration, what the reference documents as text stays text.

        :param field: its name
        :param value: what the user wrote
        :param renderer: renders it
        :return: the field's value
        """
        if field in {"config", "metadata"}:
            return self._render_json(field, (), value, renderer)
        return super().render_field(field, value, renderer)

    def _render_json(self, field: str, path: tuple[Any, ...], value: Any, renderer: Renderer) -> Any:
        from connix_provider.operators.configuration import is_text

        if renderer.is_done(value):
            return value
        if isinstance(value, Mapping):
            return {
                name: self._render_json(field, (*path, name), item, renderer) for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [
                self._render_json(field, (*path, number), item, renderer) for number, item in enumerate(value)
            ]
        if field == "config" and is_text(path):
            rendered = renderer.as_text(value)
            if path[-1] in {"model", "system_prompt"} and renderer.is_template(value):
                self._texts_from_elsewhere[".".join(map(str, path))] = rendered
            return rendered
        return renderer.as_airflow(value)

    @staticmethod
    def _mask(task: Any) -> None:
        from connix_provider.client.redaction import secrets_of
        from connix_provider.compat import mask_secret

        config = getattr(task, "config", None)
        secrets: tuple[str, ...] = ()
        if isinstance(config, str):
            # A whole configuration in one template: nobody can say for sure which part of it is secret.
            secrets = (config,)
            config = _json(config)
        if isinstance(config, Mapping):
            secrets = (*secrets, *secrets_of({"config": config}))
        for secret in secrets:
            mask_secret(secret)
            # Airflow stores a long configuration as Python writes it, line breaks escaped.
            mask_secret(repr(secret)[1:-1])
            mask_secret(json.dumps(secret)[1:-1])

    def body(self) -> dict[str, Any]:
        """
        Collect what was given, with the types that the reference documents.

        :return: the body of a request, in the reference's words
        :raises ValueError: for a value that cannot have its field's type
        """
        from connix_provider.client.arguments import plain
        from connix_provider.operators.configuration import with_documented_types

        fields = {field: getattr(self, field) for field in self.description_fields}
        given = {field: value for field, value in fields.items() if value is not None}
        if isinstance(config := given.get("config"), Mapping):
            given["config"] = with_documented_types(config)
        body: dict[str, Any] = plain(given)
        return body

    def check(self) -> None:
        """
        Check the parameters, before anything is sent.

        :raises ValueError: for one that cannot be right
        """
        from connix_provider.operators.configuration import REMEDY_FOR_TEXT, as_given

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
        for name, text in self._texts_from_elsewhere.items():
            if gave_nothing(text, empty_is_fine=name != "model"):
                raise ValueError(nothing_given(f"config.{name}", text, by_a_template=True))
        self.body()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
