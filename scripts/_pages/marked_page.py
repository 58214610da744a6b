"""Replace the part of a page between two marker lines, which a script writes."""

from __future__ import annotations

__all__ = ["END", "begin", "put"]

END = "<!-- end of table -->"
_BEGIN = "<!-- table: "


def begin(script: str) -> str:
    """
    Return the marker line before a script's part.

    :param script: the script's name, such as ``scripts/reliability``
    """
    return f"{_BEGIN}{script} writes what stands between these lines -->"


def put(page: str, new: str, script: str) -> str:
    """
    Return the page with a script's part replaced.

    :param page: the page, which may have parts of other scripts too
    :param new: the new part
    :param script: the script's name, which is in its marker line
    :raises ValueError: for a page without exactly one such part
    """
    first = begin(script)
    before, _, rest = page.partition(first)
    old, end, after = rest.partition(END)
    if page.count(first) != 1 or not end or _BEGIN in old:
        raise ValueError(f"the page needs one line {first!r} and after it a line {END!r} of its own")
    return f"{before}{first}\n\n{new}\n\n{END}{after}"
