"""
Keep secrets out of what httpcore logs.

At DEBUG, httpcore logs the headers of each answer. A service, or a redirect, may send a key back in one, and
not everything that a log line passes through on its way masks it.
"""

from __future__ import annotations

import logging
import weakref

from connix_provider.client.auth import Auth
from connix_provider.client.redaction import redact

__all__ = ["hide_secrets_of"]

_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
#: Copied, added to and taken from in one step each: no other thread, signal's handler or fork comes between.
_proofs: list[weakref.ref[Auth]] = []


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        secrets = [secret for proof in _in_use() for secret in proof.secrets()]
        record.msg, record.args = redact(record.getMessage(), secrets), ()
        return True


_filter = _Redacting()


def hide_secrets_of(proof: Auth) -> None:
    """
    Hide what a client proves itself with, for as long as the proof is in use.

    :param proof: the client's proof
    """
    # By what it is: a user's own may be equal to another.
    if not any(known is proof for known in _in_use()):
        _proofs.append(weakref.ref(proof, _proofs.remove))
    for name in _LOGGERS:
        # Adding the same filter again changes nothing.
        logging.getLogger(name).addFilter(_filter)


def _in_use() -> list[Auth]:
    return [proof for known in _proofs.copy() if (proof := known()) is not None]
