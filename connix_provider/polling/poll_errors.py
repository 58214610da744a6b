"""
Decide which failed poll ends a wait.

Most failures are transient and end nothing before the deadline. Four kinds end it earlier:

- a refusal that Connix itself states (401, 403, 400, …): at once;
- a redirect, a refusal without Connix's error body, or a 404 that is not the agent's own: as the third in a
  row over at least 15 s, because a restarting gateway returns them;
- an Airflow connection that is not defined, as it also looks while a secrets backend is down: after 5
  minutes;
- failures that a mistake in the connection explains, such as an unknown host: after 10 minutes without any
  other response.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from connix_provider.client.attempts.gateway_refusals import GatewayRefusals
from connix_provider.client.errors import ConnixAPIError, ConnixError, ConnixNotFoundError
from connix_provider.client.transient import is_transient

__all__ = ["MISCONFIGURED_AFTER", "UNDEFINED_AFTER", "PollErrors"]

#: Seconds after which an undefined connection ends the wait.
UNDEFINED_AFTER = 300.0
#: Seconds after which a connection without any response of Connix ends the wait.
MISCONFIGURED_AFTER = 600.0


class PollErrors:
    """
    Count the failed polls of one wait.

    :param began_at: seconds at which the wait began, of the clock that :meth:`record` is given
    :param had_response: whether a response showed before that the connection is right
    :param earlier: the failed polls of another process, as :meth:`to_json` makes it
    """

    def __init__(
        self, began_at: float, *, had_response: bool = False, earlier: Mapping[str, Any] | None = None
    ) -> None:
        known = earlier or {}
        self.had_response = had_response or bool(known.get("had_response"))
        self._began_at = began_at
        self._gateway_refusals = GatewayRefusals(
            known.get("gateway_refusals", 0), known.get("gateway_refused_since") or 0.0
        )
        self._undefined_since: float | None = known.get("undefined_since")
        self._is_misconfigured = bool(known.get("is_misconfigured"))

    def to_json(self, to_system: Callable[[float], float]) -> dict[str, Any]:
        """
        Serialize the count for the process that continues the wait.

        :param to_system: turns a moment of this wait's clock into epoch seconds of the system's clock
        """
        undefined_since = self._undefined_since
        return {
            "had_response": self.had_response,
            "gateway_refusals": self._gateway_refusals.count,
            "gateway_refused_since": to_system(self._gateway_refusals.first_at)
            if self._gateway_refusals.count
            else None,
            "undefined_since": None if undefined_since is None else to_system(undefined_since),
            "is_misconfigured": self._is_misconfigured,
        }

    @property
    def is_misconfigured(self) -> bool:
        """Whether a mistake in the connection explains every failure so far."""
        return self._is_misconfigured

    @property
    def is_undecided(self) -> bool:
        """Whether the last poll failed in a way that ends the wait if the next polls fail alike."""
        return (
            bool(self._gateway_refusals.count) or self._undefined_since is not None or self._is_misconfigured
        )

    def reset(self) -> None:
        """Record a poll that showed the agent."""
        self._gateway_refusals.reset()
        self._undefined_since, self._is_misconfigured = None, False
        self.had_response = True

    def record(self, error: Exception, now: float) -> bool:
        """
        Record a failed poll.

        :param error: what it failed with
        :param now: seconds
        :return: whether it ends the wait
        """
        if isinstance(error, AirflowNotFoundException):
            if self._undefined_since is None:
                self._undefined_since = now
            return now - self._undefined_since >= UNDEFINED_AFTER
        self._undefined_since = None
        if not isinstance(error, ConnixError):
            return True
        if not error.may_be_misconfiguration:
            self.had_response = True
        self._is_misconfigured = not self.had_response
        if _says_nothing_of_the_agent(error):
            return self._gateway_refusals.add(now)
        self._gateway_refusals.reset()
        if self._is_misconfigured and now - self._began_at >= MISCONFIGURED_AFTER:
            return True
        return not is_transient(error)


def _says_nothing_of_the_agent(error: ConnixError) -> bool:
    """Return whether a gateway may have refused the poll; a 404 of Connix may be the project's."""
    if not isinstance(error, ConnixAPIError) or is_transient(error) or error.status_code >= 500:
        return False
    return not error.has_error_body or isinstance(error, ConnixNotFoundError)
