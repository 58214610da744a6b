"""What the service says no to, in the reference's words; one function for each code."""

from dataclasses import dataclass

Detail = dict[str, str]


@dataclass(eq=False)
class ApiError(Exception):
    """
    Say no to a request; nothing has been changed.

    :param code: the reference's error code.
    :param message: the text for people.
    :param details: ``{field, message}`` for each field that is wrong.
    :param retry_after: whole seconds after which to come again.
    """

    code: str
    message: str
    details: list[Detail] | None = None
    retry_after: int | None = None


def invalid(details: list[Detail], message: str = "Invalid request parameters") -> ApiError:
    """
    Refuse values that break the reference's rules.

    :param details: ``{field, message}`` for each of them.
    :param message: what was wrong on the whole.
    """
    return ApiError("validation_error", message, details)


def unauthorized() -> ApiError:
    """Refuse a request with no valid key and no valid token."""
    return ApiError("unauthorized", "Invalid API key or expired token")


def forbidden(thing: str) -> ApiError:
    """
    Refuse a valid key what it may not do.

    :param thing: what was asked for: ``agent`` or ``project``.
    """
    return ApiError("insufficient_permissions", f"You don't have permission to access this {thing}")


def agent_not_found(agent_id: str) -> ApiError:
    """
    Refuse an agent that is not in the project.

    :param agent_id: the id asked for.
    """
    return ApiError("agent_not_found", f"Agent with ID '{agent_id}' not found")


def project_not_found(project_id: str) -> ApiError:
    """
    Refuse a project that does not exist.

    :param project_id: the id asked for.
    """
    return ApiError("project_not_found", f"Project with ID '{project_id}' not found")


def conflict(message: str) -> ApiError:
    """
    Refuse what the present state does not allow.

    :param message: what stands in the way.
    """
    return ApiError("agent_conflict", message)


def rate_limited(retry_after: int) -> ApiError:
    """
    Refuse a request over the limit.

    :param retry_after: whole seconds until the window ends.
    """
    message = f"Rate limit exceeded. Try again in {retry_after} seconds."
    return ApiError("rate_limit_exceeded", message, retry_after=retry_after)
