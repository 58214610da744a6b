"""A token that can be refreshed, and clients that use it."""

import pytest
from tokens import renewable

from connix_provider.emulator.keys import OAuthGrant


@pytest.fixture
def grant(emulator) -> OAuthGrant:
    return emulator.add_token()


@pytest.fixture
def tokens(emulator, grant):
    return renewable(emulator, grant)


@pytest.fixture
def refreshing(driver, emulator, tokens):
    def refreshing(**options):
        return driver.to(emulator, **{**tokens, **options})

    return refreshing
