"""The emulator as tests use it."""

import json
from collections.abc import Iterable
from threading import Lock
from types import TracebackType
from typing import Final, Self

from connix_provider.emulator.app import build
from connix_provider.emulator.clock import Clock
from connix_provider.emulator.controls import EmulatorControls
from connix_provider.emulator.faults import Faults
from connix_provider.emulator.journal import Journal
from connix_provider.emulator.keys import SCOPES, Keyring, OAuthGrant
from connix_provider.emulator.limits import Limits, RateLimiter
from connix_provider.emulator.loopback import listen_address
from connix_provider.emulator.server_thread import ServerThread
from connix_provider.emulator.service import AgentService
from connix_provider.emulator.state import EmulatorState
from connix_provider.emulator.store import AgentStore
from connix_provider.emulator.transitions import Durations

_APP: Final = build()


class Emulator(EmulatorControls):
    """
    Run a Connix service on loopback, within a ``with`` block or from :meth:`start` to :meth:`stop`.

    Its methods may be called from any thread, also while it is stopped: its state stays.

    :param port: the port; 0 picks a free one, and keeps it over a stop and a start.
    :param host: a loopback address or ``localhost``.
    :param clock: the source of all of the emulator's time; real time by default.
    :param durations: how long changes take.
    :param limits: how many requests a key may send.
    :param project_id: the id of the default project; a random one of the documented shape by default.
    :param api_key: a key with full rights; a random one of the documented shape by default.
    :raises ValueError: ``host`` is no loopback address.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        clock: Clock | None = None,
        durations: Durations | None = None,
        limits: Limits | None = None,
        project_id: str | None = None,
        api_key: str | None = None,
    ) -> None:
        self._host = listen_address(host)
        self._port = port
        self._thread: ServerThread | None = None
        self._lock = Lock()
        self.clock: Final = clock or Clock()
        self.faults: Final = Faults()
        self.journal: Final = Journal()
        store = AgentStore(self.clock)
        super().__init__(store, project_id)
        self._keyring = Keyring(self.clock)
        self._state = EmulatorState(
            clock=self.clock,
            service=AgentService(store, durations or Durations()),
            controls=self,
            keyring=self._keyring,
            limiter=RateLimiter(limits or Limits(), self.clock),
            faults=self.faults,
            journal=self.journal,
        )
        self.api_key: Final = self._keyring.add_key(key=api_key)

    def start(self) -> Self:
        """
        Begin to serve. An emulator that serves already continues.

        :raises OSError: the port is in use.
        """
        with self._lock:
            if self._thread is None:
                self._thread = ServerThread(_APP, {"emulator": self._state}, self._host, self._port)
                self._port = self._thread.port
        return self

    def stop(self) -> None:
        """Close every connection and stop serving. State and port stay for the next start."""
        with self._lock:
            if self._thread is not None:
                self._thread.stop()
                self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Return the base URL, as the host of an Airflow connection."""
        return f"{self._root}/api/v1"

    @property
    def token_url(self) -> str:
        """Return the URL of the OAuth2 token endpoint."""
        return f"{self._root}/oauth2/token"

    @property
    def airflow_connection(self) -> str:
        """Return the Airflow connection to this emulator, as the JSON of an ``AIRFLOW_CONN_…`` variable."""
        return json.dumps(
            {
                "conn_type": "connix",
                "host": self.url,
                "password": self.api_key,
                # Without a port, the Test button of Airflow's form fails with 400.
                "port": 0,
                "extra": {"project_id": self.project_id},
            }
        )

    @property
    def _root(self) -> str:
        if not self._port:
            raise RuntimeError("the emulator has no port before its first start")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def add_key(self, scopes: Iterable[str] = SCOPES, projects: Iterable[str] | None = None) -> str:
        """
        Accept another key from now on, and return it.

        :param scopes: ``read``, ``write`` or both.
        :param projects: the ids of the projects that it may see; all by default.
        """
        return self._keyring.add_key(scopes, projects)

    def revoke_key(self, key: str) -> None:
        """Refuse a key from now on."""
        self._keyring.revoke_key(key)

    def add_token(
        self,
        expires_in: int = 3600,
        scopes: Iterable[str] = SCOPES,
        projects: Iterable[str] | None = None,
    ) -> OAuthGrant:
        """
        Authorize a new OAuth2 client, and return its credentials.

        :param expires_in: seconds on the emulator's clock for which each of its access tokens is valid.
        :param scopes: ``read``, ``write`` or both.
        :param projects: the ids of the projects that it may see; all by default.
        """
        return self._keyring.add_token(expires_in, scopes, projects)

    def revoke_token(self, access_token: str) -> None:
        """Refuse an access token from now on; its refresh token stays valid."""
        self._keyring.revoke_token(access_token)
