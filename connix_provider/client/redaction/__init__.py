"""Hide secrets in text of a service, and quote the rest within bounds."""

from connix_provider.client.redaction.redactor import (
    SECRET_FIELDS,
    Redactor,
    encoded_forms,
    redact,
    secrets_of,
)

__all__ = ["SECRET_FIELDS", "Redactor", "encoded_forms", "redact", "secrets_of"]
