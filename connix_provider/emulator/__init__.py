"""
A Connix service on loopback, for tests of DAGs and of this provider.

It needs the extra ``emulator`` (FastAPI and uvicorn), shares no code with the client and never imports
Airflow. Modules, from the outside in:

- ``server`` (:class:`Emulator`), ``server_thread``, ``app``, ``loopback``: a running service and its server;
- ``request_pipeline``, ``calls``, ``oauth``, ``schemas``, ``validation``, ``responses``, ``errors``,
  ``fault_responses``: the endpoints, and the steps from each request to its response;
- ``service``, ``state``, ``store``, ``agent``, ``agent_index``, ``transitions``, ``logs``, ``metrics``,
  ``views``: the agents, their data, and how they change over time;
- ``controls``, ``control_routes``, ``faults``, ``limits``, ``keys``, ``journal``, ``clock``: the settings and
  records of a test, in Python and over HTTP.
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
