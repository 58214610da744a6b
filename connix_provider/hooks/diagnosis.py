"""Say in one sentence what is wrong with a connection."""

from __future__ import annotations

__all__ = ["as_sentence", "plainly"]


def plainly(error: Exception, project_id: str | None) -> str:
    """
    Say what an error means for the connection.

    :param error: what the request ended with
    :param project_id: the connection's project
    :return: one sentence
    """
    from connix_provider.client import errors

    match error:
        case errors.ConnixAuthenticationError():
            hint = "The API key or token is refused"
        case errors.ConnixPermissionError():
            what = "this project's agents" if project_id else "projects"
            hint = f"The key is good but may not list {what}"
        case errors.ConnixNotFoundError() if project_id:
            hint = f"There is no project {project_id!r} at this address, or the address is not Connix's API"
        case errors.ConnixNotFoundError():
            hint = (
                "The address is not Connix's API, or does not list projects; name a project_id to test with"
            )
        case errors.ConnixResponseError():
            hint = "Something answers, but it does not speak Connix's API; check the host"
        case errors.ConnixRateLimitError():
            hint = "The key is good, but its budget for this minute is used up"
        case _:
            return as_sentence(error)
    return f"{hint}: {error}"


def as_sentence(error: Exception) -> str:
    """
    Write an error's message as a sentence.

    :param error: the error
    :return: its message with a capital
    """
    said = str(error)
    return said[:1].upper() + said[1:]
