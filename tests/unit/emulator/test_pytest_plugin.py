"""The fixture ``connix_emulator``, as pytest finds it in the installed package."""

import subprocess
import sys
from importlib.metadata import entry_points

from connix_provider.emulator import Emulator


def test_fixture_is_a_running_emulator_and_connection(connix_emulator):
    from connix_provider.hooks.connix import ConnixHook

    assert isinstance(connix_emulator, Emulator)
    hook = ConnixHook()
    assert hook.project_id == connix_emulator.project_id
    assert hook.test_connection()[0] is True


def test_each_test_has_its_own_emulator(connix_emulator):
    assert connix_emulator.journal.entries() == []


def test_plugin_loads_no_server():
    (entry,) = entry_points(group="pytest11", name="connix_emulator")
    code = (
        f"import sys, {entry.value}; sys.exit(bool({{'airflow', 'fastapi', 'uvicorn'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
