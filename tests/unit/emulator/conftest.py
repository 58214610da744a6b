import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from connix_provider.emulator import Clock, Durations, Emulator


@pytest.fixture
def clock():
    return Clock(frozen=True)


@pytest.fixture
def emulator(clock: Clock) -> Iterator[Emulator]:
    """An emulator whose time stands still until a test moves it."""
    with Emulator(clock=clock) as emulator:
        yield emulator


class Api:
    """The shortest way to a call: methods of the default project's agents."""

    def __init__(self, emulator: Emulator, headers: dict[str, str] | None = None):
        self.emulator = emulator
        self.http = httpx.Client(
            base_url=emulator.url,
            headers={"X-API-Key": emulator.api_key} if headers is None else headers,
            timeout=5,
            # Reading the certificate store takes longer than most tests.
            verify=False,
            trust_env=False,
        )
        self.agents = f"/projects/{emulator.project_id}/agents"

    def path(self, agent_id: str, *rest: str) -> str:
        return "/".join((self.agents, agent_id, *rest))

    def list(self, **params: Any) -> httpx.Response:
        return self.http.get(self.agents, params=params)

    def create(self, name: str = "one", **fields: Any) -> httpx.Response:
        return self.http.post(self.agents, json={"name": name, **fields})

    def get(self, agent_id: str) -> httpx.Response:
        return self.http.get(self.path(agent_id))

    def update(self, agent_id: str, **fields: Any) -> httpx.Response:
        return self.http.put(self.path(agent_id), json=fields)

    def delete(self, agent_id: str) -> httpx.Response:
        return self.http.delete(self.path(agent_id))

    def act(self, agent_id: str, verb: str) -> httpx.Response:
        return self.http.post(self.path(agent_id, verb))

    def logs(self, agent_id: str, **params: Any) -> httpx.Response:
        return self.http.get(self.path(agent_id, "logs"), params=params)

    def metrics(self, agent_id: str, **params: Any) -> httpx.Response:
        return self.http.get(self.path(agent_id, "metrics"), params=params)


@pytest.fixture
def connect() -> Iterator[Callable[..., Api]]:
    """Open clients that are closed with the test."""
    opened: list[Api] = []

    def open_one(emulator: Emulator, headers: dict[str, str] | None = None) -> Api:
        opened.append(Api(emulator, headers))
        return opened[-1]

    yield open_one
    for api in opened:
        api.http.close()


@pytest.fixture
def api(emulator: Emulator, connect: Callable[..., Api]) -> Api:
    return connect(emulator)


@pytest.fixture
def instant(clock: Clock) -> Iterator[Emulator]:
    """An emulator in which every change is there at once."""
    with Emulator(clock=clock, durations=Durations.instant()) as emulator:
        yield emulator


class Effort:
    """Count the calls of functions: what is done for a request, however busy the machine is."""

    def __init__(self) -> None:
        self.calls = 0
        self._is_on = False

    def note(self, frame: Any, event: str, argument: Any) -> None:
        self.calls += self._is_on and event in {"call", "c_call"}

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count from nothing on, in the block."""
        self.calls = 0
        self._is_on = True
        yield
        self._is_on = False


@pytest.fixture
def effort() -> Iterator[Effort]:
    """Watch all threads that the test starts: begin the emulator after it."""
    effort = Effort()
    threading.setprofile(effort.note)
    yield effort
    threading.setprofile(None)
