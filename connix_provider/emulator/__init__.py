"""
A Connix service on loopback, for tests of DAGs and of this provider.

It needs the extra ``emulator`` (FastAPI and uvicorn), shares no code with the client and never imports
Airflow.
"""

from connix_provider.emulator.clock import Clock
from connix_provider.emulator.faults import Fault
from connix_provider.emulator.keys import OAuthGrant
from connix_provider.emulator.limits import Limits
from connix_provider.emulator.server import Emulator
from connix_provider.emulator.transitions import Durations

__all__ = ["Clock", "Durations", "Emulator", "Fault", "Limits", "OAuthGrant"]
