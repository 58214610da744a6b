"""One error for several agents that failed."""

from __future__ import annotations

from collections.abc import Sequence

from connix_provider.exceptions import ConnixAgentError, ConnixAgentFailedError

__all__ = ["combined_error", "without_log_lines"]

#: Failed agents that an exception names.
_NAMED = 10


def combined_error(errors: Sequence[Exception], headline: str) -> Exception:
    """
    Return the error of the agent that failed, or one for all that did.

    :param errors: the errors, one of each agent; at least one
    :param headline: what failed, as one sentence
    :return: the error to raise
    """
    if len(errors) == 1:
        return errors[0]
    kinds = {type(error) for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else ConnixAgentFailedError
    kind = kind if issubclass(kind, ConnixAgentError) else ConnixAgentFailedError
    texts = [without_log_lines(error) for error in errors[:_NAMED]]
    said = " ".join(f"({number}) {text}" for number, text in enumerate(texts, start=1))
    more = f" And {len(errors) - _NAMED} more." if len(errors) > _NAMED else ""
    return kind(f"{headline} {said}{more}")


def without_log_lines(error: Exception) -> str:
    """
    Return the text of an error without the agent's log lines, which the task's log has.

    :param error: the error of an agent
    :return: the text
    """
    return error.summary if isinstance(error, ConnixAgentError) else str(error)
