"""
Field types of the models, which read values of undocumented types without an error.

Each type is a pydantic union. Its first member is the documented type, so a response as documented is read at
full speed. Its last member decides what becomes of any other value:

- ``OrRaw`` passes the value on as it came.
- ``OrElse(replace)`` calls a function with it. ``Count`` and ``Number`` become ``None``, and ``Text`` becomes
  the JSON of the value, for example.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from connix_provider.client.modeling.timestamps import ISO_PATTERN, aware, read_timestamp
from connix_provider.client.redaction import SECRET_FIELDS
from connix_provider.statuses import AgentStatus

__all__ = [
    "LARGEST",
    "ConnixModel",
    "Count",
    "Id",
    "JsonObject",
    "Number",
    "OrElse",
    "OrRaw",
    "Status",
    "Text",
    "Timestamp",
]


#: The largest number that is read. Larger ones cannot be calculated with: a float overflows, or is infinite.
LARGEST = 10**18
#: Levels of nested values that a repr shows. A bound, because recursion could overflow the stack.
_MAX_DEPTH = 20


class OrElse:
    """
    Annotation that replaces a value which the field's type does not allow.

    :param replace: makes the replacement from the value
    """

    def __init__(self, replace: Callable[[Any], Any]) -> None:
        self._replace = replace

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a union of the field's type and the replacement."""
        otherwise = core_schema.no_info_after_validator_function(self._replace, core_schema.any_schema())
        return core_schema.union_schema([handler(source), otherwise], mode="left_to_right")


class _IsoDatetime:
    """Annotation that restricts a time to ISO 8601 text, because pydantic takes any number for a time."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that checks the text before pydantic reads it."""
        return core_schema.chain_schema([core_schema.str_schema(pattern=ISO_PATTERN), handler(source)])


def _opaque(value: Any) -> Any:
    # Ids are opaque text; List Projects returns integers.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _number(value: Any) -> Any:
    # Fractions are kept, because a limit can still be compared with them.
    return value if isinstance(value, int | float) and abs(value) <= LARGEST else None


def _as_text(value: Any) -> str:
    # A service may write a name of digits as a number, and a level as one.
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


#: Passes a value of an undocumented type on to the caller.
OrRaw = OrElse(lambda value: value)
Id = Annotated[str, BeforeValidator(_opaque)]
Text = Annotated[str, OrElse(_as_text)]
Timestamp = Annotated[
    Annotated[datetime, _IsoDatetime(), AfterValidator(aware)] | None, OrElse(read_timestamp)
]
JsonObject = Annotated[dict[str, Any], OrElse(lambda _: {})]
#: Numbers for calculation: any other value is ``None``.
Count = Annotated[Annotated[int, Field(ge=-LARGEST, le=LARGEST)] | None, OrElse(_number)]
Number = Annotated[Annotated[float, Field(ge=-LARGEST, le=LARGEST)] | None, OrElse(_number)]
#: A status of the reference, or the text of a new one.
Status = Annotated[AgentStatus | str, Field(union_mode="left_to_right")]


class ConnixModel(BaseModel):
    """Base class of the models: keeps unknown fields, and shows no secret in its repr."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    #: Names of fields that no repr shows, at any depth.
    hidden: ClassVar[frozenset[str]] = SECRET_FIELDS

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, "***" if name in self.hidden and value is not None else self._shown(value)

    @classmethod
    def _shown(cls, value: Any, depth: int = 0) -> Any:
        """Return a value with the hidden fields masked at any depth."""
        if isinstance(value, list | dict) and depth >= _MAX_DEPTH:
            return "…"
        if isinstance(value, list):
            return [cls._shown(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {
                name: "***" if name in cls.hidden and item is not None else cls._shown(item, depth + 1)
                for name, item in value.items()
            }
        return value
