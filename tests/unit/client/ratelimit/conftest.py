"""A caller of a rate limiter."""

import pytest
from limiter_caller import Caller


@pytest.fixture
def caller():
    return Caller()
