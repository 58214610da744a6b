"""
A Connix service on loopback, for tests of DAGs and of this provider.

It needs the extra ``emulator`` (FastAPI and uvicorn), shares no code with the client and never imports
Airflow. Modules, from the outside in:

- ``server`` (:class:`Emulator`), ``server_thread``, ``app``: a running service and its HTTP server;
- ``request_pipeline``, ``calls``, ``oauth``, ``control``: the endpoints and what each request passes first;
- ``service``, ``store``, ``agent_index``, ``transitions``: the agents and how they change over time;
- ``faults``, ``limits``, ``keys``, ``journal``, ``clock``: what a test sets and inspects.
"""

try:
    from connix_provider.emulator.clock import Clock
    from connix_provider.emulator.faults import Fault
    from connix_provider.emulator.keys import OAuthGrant
    from connix_provider.emulator.limits import Limits
    from connix_provider.emulator.server import Emulator
    from connix_provider.emulator.transitions import Durations
except ModuleNotFoundError as missing:
    if (missing.name or "").startswith("connix_provider"):
        raise
    raise ModuleNotFoundError(
        f"the emulator needs {missing.name}: pip install 'airflow-provider-connix[emulator]'",
        name=missing.name,
    ) from None

__all__ = ["Clock", "Durations", "Emulator", "Fault", "Limits", "OAuthGrant"]
