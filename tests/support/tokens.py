"""Credentials that refresh their token at an emulator."""

from __future__ import annotations

from connix_provider.emulator import Emulator
from connix_provider.emulator.keys import OAuthGrant


def renewable(emulator: Emulator, grant: OAuthGrant) -> dict[str, str]:
    """Return a grant's tokens and client credentials under the names of a client's parameters."""
    return {
        "access_token": grant.access_token,
        "refresh_token": grant.refresh_token,
        "client_id": grant.client_id,
        "client_secret": grant.client_secret,
        "token_url": emulator.token_url,
    }
