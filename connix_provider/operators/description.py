"""Hold what a task says about an agent: its name, description, configuration and metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from connix_provider.operators.base import ConnixAgentOperator

__all__ = ["DescribesAgent"]


class DescribesAgent(ConnixAgentOperator):
    """
    Describe an agent, as the reference's "Create Agent" and "Update Agent" do.

    ``system_prompt`` and ``environment_variables`` of the configuration hold secrets: once the templates are
    rendered, their values are given to Airflow's masker, so that neither logs nor the rendered fields that
    Airflow stores show them.

    :param name: the agent's name
    :param config: its configuration
    :param description: what it is for
    :param metadata: anything to keep with it
    """

    description_fields: ClassVar[tuple[str, ...]] = ("name", "description", "config", "metadata")
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

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """
        Render the templates, and have secrets masked before Airflow logs or stores anything of it.

        This is the one method that Airflow calls for plain and for mapped tasks alike. What is masked before
        it is for a template that fails: Airflow then logs the configuration as it was written.
        """
        self._mask(parent)
        super()._do_render_template_fields(parent, *args, **kwargs)
        self._mask(parent)

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
        Collect what was given.

        :return: the body of a request, in the reference's words
        """
        fields = {field: getattr(self, field) for field in self.description_fields}
        return {field: value for field, value in fields.items() if value is not None}

    def check(self) -> None:
        """
        Check the parameters, before anything is sent.

        :raises ValueError: for one that cannot be right
        """
        super().check()
        for field, text in (("name", self.name), ("description", self.description)):
            if text is not None and not isinstance(text, str):
                raise ValueError(f"{field} must be a string, not {type(text).__name__}")
        for field, mapping in (("config", self.config), ("metadata", self.metadata)):
            if mapping is not None and not isinstance(mapping, Mapping):
                raise ValueError(f"{field} must be a mapping, not {type(mapping).__name__}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
