"""
The emulator's only source of time.

Inside the emulator times are whole microseconds since the epoch: they compare, add and divide without
rounding.
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# A year. More is a mistake in the unit.
_LONGEST_ADVANCE: Final = 366 * 24 * 3600


def micros_of(moment: datetime) -> int:
    """Return an aware datetime in microseconds since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(micros: int) -> datetime:
    """Return microseconds since the epoch as a UTC datetime, clamped to the years that Python knows."""
    return _EPOCH + timedelta(microseconds=min(max(micros, micros_of(_FIRST)), micros_of(_LAST)))


def iso(micros: int) -> str:
    """Return a time as the service writes it: ISO 8601 with ``Z``, and a fraction only if there is one."""
    return moment_of(micros).replace(tzinfo=None).isoformat() + "Z"


class Clock:
    """
    Tell the emulator's time: real time plus what was advanced, or a time that stands still.

    :param frozen: stand still, so that only :meth:`advance` moves the time.
    :param start: the aware datetime to start at; the present by default.
    """

    def __init__(self, frozen: bool = False, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("start must be an aware datetime")
        self._frozen = frozen
        self._lock = threading.Lock()
        self._base = micros_of(start or datetime.now(UTC))
        # Monotonic, because otherwise a change of the machine's clock would move agents back in time.
        self._origin = time.monotonic_ns()

    def micros(self) -> int:
        """Return the time in whole microseconds since the epoch."""
        with self._lock:
            return self._base + (0 if self._frozen else (time.monotonic_ns() - self._origin) // 1000)

    def now(self) -> datetime:
        """Return the time as an aware UTC datetime."""
        return moment_of(self.micros())

    def timestamp(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.micros() / 1_000_000

    def advance(self, seconds: float) -> None:
        """
        Move the time forward; each planned change that falls due happens at its own time.

        :param seconds: from 0 to 366 days.
        :raises ValueError: for any other number, NaN and infinity among them.
        """
        # Written so that NaN, which compares false with everything, is refused, too.
        if not 0 <= seconds <= _LONGEST_ADVANCE:
            raise ValueError(
                f"time only moves forward, by 0 to {_LONGEST_ADVANCE} seconds: advance must not be {seconds}"
            )
        with self._lock:
            self._base += round(seconds * 1_000_000)
