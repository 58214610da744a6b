"""The emulator as tests use it."""

import copy
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

from connix_provider.emulator.app import build
from connix_provider.emulator.clock import Clock, moment_of
from connix_provider.emulator.errors import ApiError
from connix_provider.emulator.faults import Faults
from connix_provider.emulator.journal import Journal
from connix_provider.emulator.keys import SCOPES, Keyring, OAuthGrant
from connix_provider.emulator.limits import Limits, Meter
from connix_provider.emulator.server_thread import ServerThread, loopback
from connix_provider.emulator.service import AgentService
from connix_provider.emulator.state import EmulatorState
from connix_provider.emulator.store import AgentStore
from connix_provider.emulator.telemetry import LEVELS
from connix_provider.emulator.test_controls import TestControls
from connix_provider.emulator.transitions import Durations, Step

_APP: Final = build()


class Emulator:
    """
    Run a Connix service on loopback, for as long as a ``with`` block lasts or from start to stop.

    Its Python methods may be called from any thread, also while it is stopped: its state stays.

    :param port: where to listen; 0 picks a free port and keeps it over a stop and a start.
    :param host: a loopback address; any other is refused with :class:`ValueError`.
    :param clock: all of the emulator's time; real time by default.
    :param durations: how long changes take.
    :param limits: how often a key may call.
    :param project_id: of the default project; a random one of the documented shape by default.
    :param api_key: with full rights; a random one of the documented shape by default.
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
        self._host = loopback(host)
        self._port = port
        self._serving: ServerThread | None = None
        self._switch = Lock()
        self.clock: Final = clock or Clock()
        self.faults: Final = Faults()
        self.journal: Final = Journal()
        store = AgentStore(self.clock)
        self._service = AgentService(store, durations or Durations())
        self._controls = TestControls(store)
        self._keyring = Keyring(self.clock)
        self._state = EmulatorState(
            self.clock,
            self._service,
            self._controls,
            self._keyring,
            Meter(limits or Limits(), self.clock),
            self.faults,
            self.journal,
        )
        self.project_id: Final = self.add_project(project_id, "Default project")
        self.api_key: Final = self._keyring.add_key(key=api_key)

    # Running

    def start(self) -> Self:
        """Begin to serve; an emulator that serves already just goes on."""
        with self._switch:
            if self._serving is None:
                self._serving = ServerThread(_APP, {"emulator": self._state}, self._host, self._port)
                self._port = self._serving.port
        return self

    def stop(self) -> None:
        """Close every connection and stop serving; state and port stay for the next start."""
        with self._switch:
            if self._serving is not None:
                self._serving.stop()
                self._serving = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Return the base URL, as a connection's host."""
        return f"{self._root}/api/v1"

    @property
    def token_url(self) -> str:
        """Return the URL of the OAuth2 token endpoint."""
        return f"{self._root}/oauth2/token"

    @property
    def _root(self) -> str:
        if not self._port:
            raise RuntimeError("the emulator has no port before its first start")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    # Who may call

    def add_key(self, scopes: Iterable[str] = SCOPES, projects: Iterable[str] | None = None) -> str:
        """
        Let another key in and return it.

        :param scopes: ``read``, ``write`` or both.
        :param projects: the ids it may see; all by default.
        """
        return self._keyring.add_key(scopes, projects)

    def revoke_key(self, key: str) -> None:
        """
        Refuse a key from now on.

        :param key: a key that was let in.
        """
        self._keyring.revoke_key(key)

    def add_token(
        self,
        expires_in: int = 3600,
        scopes: Iterable[str] = SCOPES,
        projects: Iterable[str] | None = None,
    ) -> OAuthGrant:
        """
        Authorize a new OAuth2 client and return its tokens.

        :param expires_in: seconds of the emulator's clock each of its access tokens lives.
        :param scopes: ``read``, ``write`` or both.
        :param projects: the ids it may see; all by default.
        """
        return self._keyring.add_token(expires_in, scopes, projects)

    def revoke_token(self, access_token: str) -> None:
        """
        Refuse an access token from now on; its refresh token stays good.

        :param access_token: a token that was issued.
        """
        self._keyring.revoke_token(access_token)

    # Projects and agents

    def add_project(self, project_id: str | None = None, name: str | None = None) -> str:
        """
        Add an empty project and return its id.

        :param project_id: its id; a random one of the documented shape by default.
        :param name: its name; its id by default.
        """
        project_id = project_id or f"proj_{secrets.token_hex(8)}"
        self._controls.add_project(project_id, name or project_id)
        return project_id

    def seed(
        self,
        count: int = 1,
        status: str = "running",
        name: str = "agent-{n}",
        project_id: str | None = None,
        *,
        description: str | None = None,
        config: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> list[str]:
        """
        Put agents there without HTTP and return their ids.

        :param count: how many.
        :param status: their status; any string. They were created two seconds before.
        :param name: their names; ``{n}`` becomes 1, 2, 3 and so on, passing over names in use.
        :param project_id: where; the default project by default.
        :param description: of all of them.
        :param config: of all of them.
        :param metadata: of all of them.
        :param created_at: an aware datetime; the emulator's now by default.
        """
        return self._controls.seed(
            project_id or self.project_id,
            name,
            count,
            status,
            description=description,
            config=config or {},
            metadata=metadata or {},
            created_at=created_at,
        )

    def agent(self, agent_id: str) -> dict[str, Any]:
        """
        Return what Get would show now, without HTTP, limits or faults.

        :param agent_id: its id; :class:`KeyError` when there is no such agent.
        """
        with _absent_is_key_error():
            return copy.deepcopy(self._service.get(agent_id))

    def history(self, agent_id: str) -> list[tuple[datetime, str]]:
        """
        Return every status an agent has had with its beginning, also of an agent that is gone.

        :param agent_id: its id; :class:`KeyError` when there never was such an agent.
        """
        return [(moment_of(at), status) for at, status in self._controls.history(agent_id)]

    def set_status(self, agent_id: str, status: str, move_updated_at: bool = True) -> None:
        """
        Put an agent into a status at once and drop whatever was planned for it, its deletion too.

        :param agent_id: its id.
        :param status: any string.
        :param move_updated_at: whether ``updated_at`` shows it.
        """
        with _absent_is_key_error():
            self._controls.set_status(agent_id, status, move_updated_at)

    def script(self, agent_id: str, steps: Sequence[Step]) -> None:
        """
        Plan an agent's statuses in place of whatever was planned for it.

        :param agent_id: its id.
        :param steps: ``(seconds after the step before, status then)``; ``None`` as status: the agent is gone.
        """
        with _absent_is_key_error():
            self._controls.script(agent_id, steps)

    def remove(self, agent_id: str) -> None:
        """
        Make an agent disappear at once, as if someone else had deleted it.

        :param agent_id: its id.
        """
        with _absent_is_key_error():
            self._controls.remove(agent_id)

    def add_logs(self, agent_id: str, count: int, level: str = "info") -> None:
        """
        Let an agent log many lines now, on top of those its life makes.

        :param agent_id: its id.
        :param count: how many.
        :param level: debug, info, warn or error.
        """
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}")
        with _absent_is_key_error():
            self._controls.add_logs(agent_id, count, level)


@contextmanager
def _absent_is_key_error() -> Iterator[None]:
    """Say what Python says of a key that is not there."""
    try:
        yield
    except ApiError as refusal:
        raise KeyError(refusal.message) from None
