"""Write what was measured into a page that people write: into the place between two marker lines."""

from __future__ import annotations

__all__ = ["END", "begin", "put"]

END = "<!-- end of table -->"
_BEGIN = "<!-- table: "


def begin(script: str) -> str:
    """
    Return the line after which a script writes.

    :param script: its name, such as ``scripts/reliability``
    :return: the line
    """
    return f"{_BEGIN}{script} writes what stands between these lines -->"


def put(page: str, new: str, script: str) -> str:
    """
    Put something new into a page, in the place of what stood there before.

    :param page: the page, with a line that begins the place and one that ends it; there may be other places
    :param new: what stands there from now on
    :param script: the script that writes it; its name is in the first line
    :return: the page with it
    :raises ValueError: for a page without such a place, or with several of them
    """
    first = begin(script)
    before, _, rest = page.partition(first)
    old, end, after = rest.partition(END)
    if page.count(first) != 1 or not end or _BEGIN in old:
        raise ValueError(f"the page needs one line {first!r} and after it a line {END!r} of its own")
    return f"{before}{first}\n\n{new}\n\n{END}{after}"
