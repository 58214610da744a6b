"""The errors of the service, in the reference's words: one function for each code."""

from dataclasses import dataclass

Detail = dict[str, str]


@dataclass(eq=False)
class ApiError(Exception):
    """
    Raised when the service refuses a request; nothing has changed then.

    :param details: ``{field, message}`` for each field that is wrong.
    :param retry_after: whole seconds until the client may send again.
    """

    status: int
    code: str
    message: str
    details: list[Detail] | None = None
    retry_after: int | None = None


def validation_error(details: list[Detail], message: str = "Invalid request parameters") -> ApiError:
    """Refuse a value that breaks a rule of the reference."""
    return ApiError(400, "validation_error", message, details)


def unauthorized() -> ApiError:
    """Refuse a request without a valid key or token."""
    return ApiError(401, "unauthorized", "Invalid API key or expired token")


def insufficient_permissions(what: str) -> ApiError:
    """Refuse a valid key that does not cover this agent or project."""
    return ApiError(403, "insufficient_permissions", f"You don't have permission to access this {what}")


def agent_not_found(agent_id: str) -> ApiError:
    """Refuse an agent that the project does not have."""
    return ApiError(404, "agent_not_found", f"Agent with ID '{agent_id}' not found")


def project_not_found(project_id: str) -> ApiError:
    """Refuse a project that does not exist."""
    return ApiError(404, "project_not_found", f"Project with ID '{project_id}' not found")


def agent_conflict(message: str) -> ApiError:
    """Refuse a change that the agent's present status, or another agent's name, does not allow."""
    return ApiError(409, "agent_conflict", message)


def rate_limit_exceeded(retry_after: int) -> ApiError:
    """Refuse a request over the rate limit."""
    message = f"Rate limit exceeded. Try again in {retry_after} seconds."
    return ApiError(429, "rate_limit_exceeded", message, retry_after=retry_after)
