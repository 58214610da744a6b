"""One page of a listing. An entry that cannot be read is left out alone, and not the page with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

from pydantic import Field, PrivateAttr, ValidationError
from pydantic_core import from_json

from connix_provider.client.modeling.fields import LARGEST, ConnixModel, OrElse

__all__ = ["Page", "Pagination"]

ItemT = TypeVar("ItemT")

log = logging.getLogger(__name__)


def _integral_float(value: Any) -> int | None:
    return int(value) if isinstance(value, float) and abs(value) <= LARGEST else None


LenientInt = Annotated[Annotated[int, Field(ge=-LARGEST, le=LARGEST)] | None, OrElse(_integral_float)]


class Pagination(ConnixModel):
    """
    Position of a page in its listing.

    If the service does not report ``has_more``, it follows from ``total``, or else from the size of the page.
    """

    total: LenientInt = None
    limit: LenientInt = None
    offset: LenientInt = None
    has_more: Annotated[bool, OrElse(lambda _: None)] = False


class Page(ConnixModel, Generic[ItemT]):
    """One page of a listing; iterating, ``len`` and indexing go to its items."""

    #: The service's name for the items, and their model.
    listed: ClassVar[str]
    kind: ClassVar[type[ConnixModel]]

    pagination: Annotated[Pagination, OrElse(lambda _: Pagination())] = Field(default_factory=Pagination)
    _left_out: int = PrivateAttr(default=0)

    @classmethod
    def read(cls, body: bytes, *, offset: int = 0, limit: int = 1) -> Self:
        """
        Read a page, and leave out the entries that cannot be read.

        :param body: the body of the response
        :param offset: entries that the request skipped
        :param limit: entries that it asked for
        :raises ValueError: if the body holds no page
        """
        page = cls._read(body)
        paging = page.pagination
        if not page._is_told:  # noqa: SLF001 - a class of this module
            has_more = page.has_next_page(offset)
            if has_more is None:
                # A service that gives more than was asked for has no pages, so this is everything.
                has_more = page.size == limit if paging.limit is None else page.size >= paging.limit
            paging.has_more = has_more
            # Unset, so that a paginator does not take a calculated value for the service's.
            paging.model_fields_set.discard("has_more")
        return page

    def has_next_page(self, offset: int) -> bool | None:
        """
        Return whether more pages follow.

        :param offset: entries that the request for this page skipped
        :return: whether they do, or ``None`` if only the next page shows it
        """
        if self._is_told:
            return self.pagination.has_more
        if self.pagination.total is not None:
            return offset + self.size < self.pagination.total
        return None if self.size else False

    @property
    def _is_told(self) -> bool:
        paging = self.pagination
        return "has_more" in paging.model_fields_set and isinstance(paging.has_more, bool)

    @classmethod
    def _read(cls, body: bytes) -> Self:
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
                raise
            whole = from_json(body)
            entries = whole.get(cls.listed, ...) if isinstance(whole, dict) else ...
            if not isinstance(entries, list | None):
                raise
        entries = entries or []
        items = [item for entry in entries if (item := cls._item(entry)) is not None]
        page = cls.model_validate({**whole, cls.listed: items})
        if left_out := len(entries) - len(items):
            page._left_out = left_out  # noqa: SLF001 - a class of this module
            log.warning(
                "Skipped %d of %d %s on a page, because they cannot be parsed",
                left_out,
                len(entries),
                cls.listed,
            )
        return page

    @classmethod
    def _item(cls, entry: object) -> ConnixModel | None:
        try:
            return cls.kind.model_validate(entry)
        except ValidationError:
            return None

    @property
    def size(self) -> int:
        """Return how many entries the service gave, including those that cannot be read."""
        return len(self) + self._left_out

    @property
    def items(self) -> list[ItemT]:
        """Return the page's items, whatever the service calls them."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[ItemT]:  # type: ignore[override]  # a page iterates over its items
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> ItemT:
        return self.items[index]
