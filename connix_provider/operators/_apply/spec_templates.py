"""Render the templates of a declaration of agents, inline or in a file, and register its secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from connix_provider.operators._agent.config import as_given, hidden_when_stored, is_text
from connix_provider.operators._apply.spec import AgentSpec, read_specs
from connix_provider.operators._apply.spec_file import read_spec_file
from connix_provider.operators._base.secret_masking import mask_secrets
from connix_provider.rendering import Renderer

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

__all__ = ["hidden", "read_declaration", "rendered"]

_TEXT = frozenset({"name", "description", "state"})


def rendered(spec: Any, renderer: Renderer) -> Any:
    """
    Render a declaration, or the path of one; what the reference documents as text stays text.

    :param spec: the value in the DAG file
    """
    if _is_declaration(spec):
        return _render(spec, (), renderer)
    return renderer.as_path(spec)


def hidden(spec: Any) -> Any:
    """
    Register the secrets of a declaration with Airflow's masker.

    :param spec: the declaration, or the path of one
    :return: an object that code reads like the declaration, and that Airflow stores without secrets; a path
        stays as it is
    """
    declared = as_given(spec)
    if _is_path(declared):
        return spec
    mask_secrets(declared)
    return hidden_when_stored(declared)


def read_declaration(task: BaseOperator, context: Context, spec: Any) -> list[AgentSpec]:
    """
    Read the declared agents of a task.

    :param task: the task, whose macros and filters the templates of a file may use
    :param spec: the rendered declaration, or the path of a file
    :raises ValueError: for a declaration that cannot be applied; it names the key, and the line of a file
    """
    declared = as_given(spec)
    if not _is_path(declared):
        return read_specs(declared)
    if not isinstance(declared, str | PathLike) and not hasattr(declared, "read_bytes"):
        raise ValueError(f"spec must be a declaration or the path of one, not {type(declared).__name__}")
    content, lines = read_spec_file(declared)
    mask_secrets(content)
    if _is_declaration(content):
        content = _render(content, (), Renderer(task, context, task.get_template_env(), set()))
        mask_secrets(content)
    return read_specs(content, file=str(declared), lines=lines)


def _is_declaration(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str | bytes))


def _is_path(value: Any) -> bool:
    """Return whether a value can be a path; the text of a declaration may hold secrets."""
    if isinstance(value, str):
        return "\n" not in value and not value.lstrip().startswith(("{", "["))
    return not _is_declaration(value)


def _render(value: Any, path: tuple[Any, ...], renderer: Renderer) -> Any:
    if renderer.is_done(value):
        return value
    if isinstance(value, Mapping):
        return {name: _render(item, (*path, name), renderer) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_render(item, (*path, number), renderer) for number, item in enumerate(value)]
    return renderer.as_text(value) if _is_text(path) else renderer.as_airflow(value)


def _is_text(path: tuple[Any, ...]) -> bool:
    if "config" in path:
        return is_text(path[path.index("config") + 1 :])
    return bool(path) and path[-1] in _TEXT and "metadata" not in path
