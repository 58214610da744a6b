"""Let provider and emulator share a clock that jumps instead of sleeping."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import pkgutil
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from dag_store import airflow_version

import connix_provider
from connix_provider.emulator import Clock

#: Where Airflow's own loop of a sensor sleeps.
SENSOR_LOOP = "airflow.sdk.bases.sensor" if airflow_version() >= (3,) else "airflow.sensors.base"
#: The emulator moves the clock; the transport bounds sockets, which know no time but the real one.
_REAL = ("connix_provider.emulator", "connix_provider.client.transport")


class Timewarp:
    """
    Stand in for the modules ``time`` and ``asyncio`` in the provider's rooms.

    All of them live by the emulator's clock. A sleep takes no time, but moves that clock on.

    :param clock: the emulator's
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self._clock.advance(seconds)

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)

    def time(self) -> float:
        return self._clock.timestamp()

    #: It only ever moves forward.
    monotonic = time

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make every room of the provider, and Airflow's loop of a sensor, live by this clock."""
        clock = _Standin(time, time=self.time, monotonic=self.monotonic, sleep=self.sleep)
        loop = _Standin(asyncio, sleep=self.sleep_async)
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
