"""All parts of one emulated service, for the wire and for the Python methods alike."""

from dataclasses import dataclass

from connix_provider.emulator.clock import Clock
from connix_provider.emulator.faults import Faults
from connix_provider.emulator.journal import Journal
from connix_provider.emulator.keys import Keyring
from connix_provider.emulator.limits import Meter
from connix_provider.emulator.service import AgentService
from connix_provider.emulator.test_controls import TestControls


@dataclass(frozen=True)
class EmulatorState:
    """
    Hold the parts together.

    :param clock: tells the time to all of them.
    :param service: what the calls do.
    :param controls: what only a test can do.
    :param keyring: who may call.
    :param meter: how often.
    :param faults: what is to go wrong.
    :param journal: what was asked.
    """

    clock: Clock
    service: AgentService
    controls: TestControls
    keyring: Keyring
    meter: Meter
    faults: Faults
    journal: Journal
