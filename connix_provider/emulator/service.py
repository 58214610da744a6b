"""All parts of one emulated service, for the wire and for the Python methods alike."""

from dataclasses import dataclass

from connix_provider.emulator.clock import Clock
from connix_provider.emulator.faults import Faults
from connix_provider.emulator.hand import Hand
from connix_provider.emulator.journal import Journal
from connix_provider.emulator.keys import Keyring
from connix_provider.emulator.limits import Meter
from connix_provider.emulator.world import World


@dataclass(frozen=True)
class Service:
    """
    Hold the parts together.

    :param clock: tells the time to all of them.
    :param world: what the calls do.
    :param hand: what only a test can do.
    :param keyring: who may call.
    :param meter: how often.
    :param faults: what is to go wrong.
    :param journal: what was asked.
    """

    clock: Clock
    world: World
    hand: Hand
    keyring: Keyring
    meter: Meter
    faults: Faults
    journal: Journal
