"""All parts of one emulator, as each request finds them in its state."""

from dataclasses import dataclass

from connix_provider.emulator.clock import Clock
from connix_provider.emulator.controls import EmulatorControls
from connix_provider.emulator.faults import Faults
from connix_provider.emulator.journal import Journal
from connix_provider.emulator.keys import Keyring
from connix_provider.emulator.limits import RateLimiter
from connix_provider.emulator.service import AgentService


@dataclass(frozen=True)
class EmulatorState:
    """Hold the parts together."""

    clock: Clock
    service: AgentService
    controls: EmulatorControls
    keyring: Keyring
    limiter: RateLimiter
    faults: Faults
    journal: Journal
