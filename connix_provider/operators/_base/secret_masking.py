"""Register the secrets of agents with Airflow's masker, which hides them in logs and rendered fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from connix_provider import compat
from connix_provider.client.redaction import secrets_of

__all__ = ["mask_secrets"]


def mask_secrets(config: Any) -> None:
    """
    Register ``system_prompt`` and ``environment_variables`` of a configuration, at any depth.

    :param config: the configuration, or a mapping or list with configurations in it. Text in its place is a
        secret as a whole, because it may hold one anywhere
    """
    secrets: tuple[str, ...] = ()
    if isinstance(config, str):
        secrets = (config,)
        config = _json(config)
    if isinstance(config, Mapping | Sequence):
        secrets = (*secrets, *secrets_of({"config": config}))
    for secret in secrets:
        compat.mask_secret(secret)
        # Airflow stores a long configuration as its repr, with escaped line breaks.
        compat.mask_secret(repr(secret)[1:-1])
        compat.mask_secret(json.dumps(secret)[1:-1])


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
