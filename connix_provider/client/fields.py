"""
Read single fields of what Connix answers, whatever the service put into them.

A field that nothing rests on never costs the answer it stands in. What has another type than the reference
documents is handed on as it came, or is ``None`` where no use can be made of it. All of that is decided by
pydantic's own unions: an answer as the reference documents it is read as fast as if nothing could go wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from connix_provider.client.moments import USUAL, aware, read_moment
from connix_provider.client.redaction import SECRET_FIELDS
from connix_provider.lifecycle import AgentStatus

__all__ = [
    "ConnixModel",
    "Count",
    "Id",
    "JsonObject",
    "Moment",
    "Number",
    "OrElse",
    "OrRaw",
    "Status",
    "Text",
]


#: What lies deeper than this is not shown: printing it could overflow the stack.
_DEEPEST = 20


class OrElse:
    """
    Take something else for a value that the field's own type does not allow.

    :param instead: makes it from the value
    """

    def __init__(self, instead: Callable[[Any], Any]) -> None:
        self._instead = instead

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Put the field's own type first: the other way is only gone where that one fails."""
        otherwise = core_schema.no_info_after_validator_function(self._instead, core_schema.any_schema())
        return core_schema.union_schema([handler(source), otherwise], mode="left_to_right")


class _UsualMoment:
    """Read a time as the reference writes it, and leave all others to what comes next in the union."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Look at the text first, because pydantic takes any number for a time."""
        return core_schema.chain_schema([core_schema.str_schema(pattern=USUAL), handler(source)])


def _opaque(value: Any) -> Any:
    # The projects page shows integers where the reference shows strings: an id is opaque to us.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _number(value: Any) -> Any:
    # Half a task is odd, but can be compared; a word cannot.
    return value if isinstance(value, int | float) and math.isfinite(value) else None


#: Hand on what has an unexpected type: it is the user's to look at.
OrRaw = OrElse(lambda value: value)
Id = Annotated[str, BeforeValidator(_opaque)]
Text = Annotated[str, OrElse(lambda value: "" if value is None else value)]
Moment = Annotated[Annotated[datetime, _UsualMoment(), AfterValidator(aware)] | None, OrElse(read_moment)]
JsonObject = Annotated[dict[str, Any], OrElse(lambda _: {})]
#: Numbers that are compared and added up: ``None`` where they are none.
Count = Annotated[int | None, OrElse(_number)]
Number = Annotated[float | None, OrElse(_number)]
#: A status of the reference, or the service's own word where it is a new one.
Status = Annotated[AgentStatus | str, Field(union_mode="left_to_right")]


class ConnixModel(BaseModel):
    """Keep what the service sends, known or not, and show no secret when printed."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    #: Fields that no repr shows, wherever the service sends them.
    hidden: ClassVar[frozenset[str]] = SECRET_FIELDS

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, "***" if name in self.hidden and value is not None else self._shown(value)

    @classmethod
    def _shown(cls, value: Any, depth: int = 0) -> Any:
        """Hide the same fields wherever they lie in what the service sent beside them."""
        if isinstance(value, list | dict) and depth >= _DEEPEST:
            return "…"
        if isinstance(value, list):
            return [cls._shown(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {
                name: "***" if name in cls.hidden and item is not None else cls._shown(item, depth + 1)
                for name, item in value.items()
            }
        return value
