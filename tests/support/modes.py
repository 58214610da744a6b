"""The modes in which a task waits, and the stores of its record, for tests that cover all of them."""

from __future__ import annotations

import pytest

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
STORES = pytest.mark.parametrize("remembering", [False, True], ids=["Variable", "task_state_store"])
