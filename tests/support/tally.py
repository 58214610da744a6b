"""Count the cases of the reliability tests and their outcomes, for the table of ``scripts/reliability``."""

from __future__ import annotations

import json
import os


def record(
    kind: str,
    outcome: str,
    *,
    creates_lost: int = 0,
    creates_doubled: int = 0,
    unsafe_repeats: int = 0,
    secrets_found: int = 0,
    tried: int = 1,
) -> None:
    """
    Append one line to the file named by ``CONNIX_TALLY``; do nothing without it.

    Call it before the assertions: a table that only knows of what passed would prove nothing.

    :param kind: what was tried, such as ``operator, worker: reset_after``; one row of the table
    :param outcome: how it ended, such as ``succeeded``
    :param creates_lost: agents that should exist at the end and do not
    :param creates_doubled: agents beyond the one that should exist
    :param unsafe_repeats: creates and restarts that the service carried out again
    :param secrets_found: places in which a secret was found
    :param tried: how many cases this line stands for
    """
    path = os.environ.get("CONNIX_TALLY")
    if not path:
        return
    line = {
        "kind": kind,
        "outcome": outcome,
        "tried": tried,
        "creates_lost": creates_lost,
        "creates_doubled": creates_doubled,
        "unsafe_repeats": unsafe_repeats,
        "secrets_found": secrets_found,
    }
    # One write of one short line to a file opened for appending: several test processes may share it.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)
