"""All parts of one emulated service, for the wire and for the Python methods alike."""

from dataclasses import dataclass

from connix_provider.emulator.clock import Clock
from connix_provider.emulator.faults import Faults
from connix_provider.emulator.journal import Journal
from connix_provider.emulator.keys import Keyring
from connix_provider.emulator.limits import Meter
from connix_provider.emulator.state import World


@dataclass(frozen=True)
class Service:
    """
    Hold the parts together.

    :param clock: tells the time to all of them.
    :param world: projects and agents.
    :param keyring: who may call.
    :param meter: how often.
    :param faults: what is to go wrong.
    :param journal: what was asked.
    """

    clock: Clock
    world: World
    keyring: Keyring
    meter: Meter
    faults: Faults
    journal: Journal
