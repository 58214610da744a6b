"""One error for several agents that failed."""

from __future__ import annotations

from collections.abc import Sequence

from connix_provider.exceptions import ConnixAgentError, ConnixAgentFailedError
from connix_provider.polling.messages import join_first

__all__ = ["combined_error", "short_text"]


def combined_error(errors: Sequence[Exception], headline: str) -> Exception:
    """
    Return the error of the agent that failed, or one for all that did.

    :param errors: the errors, one of each agent; at least one
    :param headline: what failed, as one sentence
    """
    if len(errors) == 1:
        return errors[0]
    kinds = {type(error) for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else ConnixAgentFailedError
    kind = kind if issubclass(kind, ConnixAgentError) else ConnixAgentFailedError
    return kind(f"{headline} {join_first([short_text(error) for error in errors], numbered=True)}")


def short_text(error: Exception) -> str:
    """
    Return the text of an error with the newest of the agent's log lines; the task's log has the others.

    :param error: the error of an agent
    """
    if not isinstance(error, ConnixAgentError):
        return str(error)
    return str(ConnixAgentError(error.summary, last_errors=error.last_errors[-1:]))
