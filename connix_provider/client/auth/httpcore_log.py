"""
Hide secrets in httpcore's log.

At DEBUG, httpcore logs the headers of each response. A service or a redirect may echo a key in a header, and
not every log handler masks it.
"""

from __future__ import annotations

import logging
import weakref

from connix_provider.client.auth import Auth
from connix_provider.client.redaction import redact

__all__ = ["hide_secrets_of"]

_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
#: Each access is one atomic operation, because threads, signal handlers and forks may interrupt.
_auths: list[weakref.ref[Auth]] = []


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        secrets = [secret for auth in _in_use() for secret in auth.secrets()]
        record.msg, record.args = redact(record.getMessage(), secrets), ()
        return True


_filter = _Redacting()


def hide_secrets_of(auth: Auth) -> None:
    """Hide a client's credentials in httpcore's log, while its auth exists."""
    # By identity, because an auth of a user may be equal to another.
    if not any(known is auth for known in _in_use()):
        _auths.append(weakref.ref(auth, _auths.remove))
    for name in _LOGGERS:
        # Adding the same filter again changes nothing.
        logging.getLogger(name).addFilter(_filter)


def _in_use() -> list[Auth]:
    return [auth for known in _auths.copy() if (auth := known()) is not None]
