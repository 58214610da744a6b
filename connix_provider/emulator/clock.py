"""The emulator's only source of time."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


def micros_of(moment: datetime) -> int:
    """
    Turn an aware datetime into whole microseconds since the epoch.

    Times are kept as integers inside the emulator: they compare, add and divide without rounding.

    :param moment: an aware datetime.
    """
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(micros: int) -> datetime:
    """
    Turn microseconds since the epoch into an aware UTC datetime, held within the years Python knows.

    :param micros: whole microseconds since the epoch.
    """
    held = min(max(micros, micros_of(_FIRST)), micros_of(_LAST))
    return _EPOCH + timedelta(microseconds=held)


def iso(micros: int) -> str:
    """
    Write a time as the service does: ISO 8601 with ``Z``, with a fraction only when there is one.

    :param micros: whole microseconds since the epoch.
    """
    return moment_of(micros).replace(tzinfo=None).isoformat() + "Z"


#: The most seconds that one call moves the time: a year. More is a mistake in the unit.
LONGEST_ADVANCE: Final = 366 * 24 * 3600


class Clock:
    """
    Tell the emulator's time: real time plus whatever was advanced, or a time that stands still.

    :param frozen: stand still, so that only :meth:`advance` moves the time.
    :param start: the aware datetime to start at; the present by default.
    """

    def __init__(self, frozen: bool = False, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("start must be an aware datetime")
        self._frozen = frozen
        self._lock = threading.Lock()
        self._base = micros_of(start or datetime.now(UTC))
        # A monotonic origin: agents must not travel back when somebody sets the machine's clock.
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
        Move the time forward; whatever falls due on the way happens at its own moment.

        :param seconds: how far, from 0 to 366 days.
        :raises ValueError: for any other number, NaN and infinity among them.
        """
        # Written so that NaN, which compares false with everything, is refused, too.
        if not 0 <= seconds <= LONGEST_ADVANCE:
            raise ValueError(
                f"time only moves forward, by 0 to {LONGEST_ADVANCE} seconds: advance must not be {seconds}"
            )
        with self._lock:
            self._base += round(seconds * 1_000_000)
