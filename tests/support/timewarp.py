"""Let provider and emulator share a clock that jumps instead of sleeping."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import math
import pkgutil
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from dag_store import airflow_version

import connix_provider
from connix_provider.client import AsyncClient
from connix_provider.emulator import Clock
from connix_provider.hooks.connix import ConnixHook
from connix_provider.polling.watching.shared_client import SharedClient

#: Where Airflow's own loop of a sensor sleeps.
SENSOR_LOOP = "airflow.sdk.bases.sensor" if airflow_version() >= (3,) else "airflow.sensors.base"
#: The emulator moves the clock; what bounds sockets knows no time but theirs, the real one.
_REAL = ("connix_provider.emulator", "connix_provider.client.transport")
#: Milliseconds for which requests under way hold the clock, if none of them ends.
_PATIENCE = 2000
_ROUNDING = 1e-5


class Timewarp:
    """
    Stand in for the modules ``time`` and ``asyncio`` in the provider's rooms.

    All of them live by the emulator's clock. A sleep takes no time, but moves that clock on. Of several tasks
    that sleep in one event loop the one that is to wake first moves it, once no request is under way.

    :param clock: the emulator's
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.slept = 0.0
        self._sleepers: list[float] = []
        self._under_way = 0
        self._ended = 0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        # Rounded up, because a real sleep is never shorter than asked: a loop that sleeps until a time ends.
        self._clock.advance(math.ceil(seconds * 1e6) / 1e6)

    async def sleep_async(self, seconds: float) -> None:
        # Clocks round to microseconds: who wakes too early by less than one would sleep again and again.
        wake_at = self.time() + seconds + _ROUNDING
        self._sleepers.append(wake_at)
        try:
            while (left := wake_at - self.time()) > _ROUNDING / 2:
                if await self._is_quiet() and wake_at == min(self._sleepers):
                    self.sleep(left)
                await asyncio.sleep(0)
        finally:
            self._sleepers.remove(wake_at)

    async def _is_quiet(self) -> bool:
        """Tell whether nothing but time can make anything happen; a request that hangs does not count."""
        waited, ended = 0, self._ended
        while waited < _PATIENCE:
            for _ in range(20):
                await asyncio.sleep(0)
                if self._under_way:
                    break
            else:
                return True
            await asyncio.sleep(0.001)
            # A slow machine with many requests makes progress, and does not hang.
            waited = waited + 1 if ended == self._ended else 0
            ended = self._ended
        return True

    def _counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Hold the clock while this is under way."""

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self._under_way += 1
            try:
                return await work(*args, **kwargs)
            finally:
                self._under_way -= 1
                self._ended += 1

        return counted

    def time(self) -> float:
        return self._clock.timestamp()

    #: It only ever moves forward.
    monotonic = time

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make every room of the provider, and Airflow's loop of a sensor, live by this clock."""
        clock = _Standin(time, time=self.time, monotonic=self.monotonic, sleep=self.sleep)
        loop = _Standin(asyncio, sleep=self.sleep_async)
        # SharedClient.open: hundreds of waits take its lock one after another, a step of the event loop each.
        # A clock that moved meanwhile would let some of them begin later, how many being the speed of the
        # machine.
        for owner, name in ((AsyncClient, "_send"), (ConnixHook, "get_async_conn"), (SharedClient, "open")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))
        for module in (*_rooms(), importlib.import_module(SENSOR_LOOP)):
            if getattr(module, "time", None) is time:
                monkeypatch.setattr(module, "time", clock)
            if getattr(module, "asyncio", None) is asyncio:
                monkeypatch.setattr(module, "asyncio", loop)
        # A default such as ``clock=time.time`` was bound when its function was made.
        warped = {time.time: self.time, time.monotonic: self.monotonic}
        for function in _functions():
            for name, value in (function.__kwdefaults__ or {}).items():
                if isinstance(value, Callable) and value in warped:
                    monkeypatch.setitem(function.__kwdefaults__, name, warped[value])


class _Standin:
    def __init__(self, module: Any, **replaced: Any) -> None:
        self.__dict__.update(replaced)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@functools.cache
def _rooms() -> tuple[ModuleType, ...]:
    names = (found.name for found in pkgutil.walk_packages(connix_provider.__path__, "connix_provider."))
    return tuple(importlib.import_module(name) for name in names if not name.startswith(_REAL))


@functools.cache
def _functions() -> tuple[Any, ...]:
    def of(owner: Any) -> Iterator[Any]:
        for value in vars(owner).values():
            if inspect.isfunction(value):
                yield value
            elif inspect.isclass(value) and value.__module__ == getattr(owner, "__name__", None):
                yield from of(value)

    return tuple(
        function for room in _rooms() for function in of(room) if function.__module__ == room.__name__
    )
