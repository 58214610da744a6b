"""Explain errors of the client: what they mean for a connection or a task, and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from connix_provider.client import errors

__all__ = [
    "NOT_CONNIX",
    "add_subject",
    "adding_subject",
    "as_sentence",
    "explain_connection_error",
    "remedy",
    "with_connection_hint",
]

#: For the connection test, and for a wait that received no other responses.
NOT_CONNIX = "The host responds, but not with Connix's API; check the host"


def explain_connection_error(error: Exception, project_id: str | None) -> str:
    """
    Explain the error of the connection test.

    :param project_id: the connection's project
    :return: one sentence
    """
    match error:
        case errors.ConnixAPIError(has_error_body=False, status_code=401 | 403):
            hint = (
                "A gateway in front of Connix refused the request, so the key is not tested; check the host"
            )
        case errors.ConnixAuthenticationError():
            hint = "The API key or token is refused"
        case errors.ConnixPermissionError():
            resource = "this project's agents" if project_id else "projects"
            hint = f"The key is valid but may not list {resource}"
        case errors.ConnixNotFoundError() if project_id:
            hint = f"There is no project {project_id!r} at this address, or the address is not Connix's API"
        case errors.ConnixNotFoundError():
            hint = (
                "The address is not Connix's API, or does not list projects; name a project_id to test with"
            )
        case errors.ConnixResponseError():
            hint = NOT_CONNIX
        case errors.ConnixRateLimitError():
            hint = "The rate limit is used up, so the key could not be tested; try again in a minute"
        case _:
            return as_sentence(error)
    return f"{hint}: {error}"


def remedy(error: Exception, connix_conn_id: str | None) -> str | None:
    """
    Return the remedy for an error that ended a task.

    :param connix_conn_id: the Airflow connection, if known
    :return: a sentence without a full stop, or ``None`` if the error's message has the remedy
    """
    conn = f"the Airflow connection {connix_conn_id!r}" if connix_conn_id else "the Airflow connection"
    match error:
        case errors.ConnixConflictError(has_response=False):
            return None
        case errors.ConnixAPIError(has_error_body=False, status_code=401 | 403):
            return (
                f"This is not Connix's own refusal, so check the host of {conn}, and gateways in front of it"
            )
        case errors.ConnixAuthenticationError():
            return f"Put a valid key or token into {conn}, then clear the task"
        case errors.ConnixPermissionError():
            return f"Give the key of {conn} access to the project, or use another key, then clear the task"
        case errors.ConnixNotFoundError(is_of_an_agent=True):
            return f"Check the agent's id or name, and the project (the task's, or that of {conn})"
        case errors.ConnixNotFoundError():
            return f"Check the project and the host of {conn}; whether the agent is gone is not known"
        case errors.ConnixConflictError():
            return "Change what Connix names as the reason, then clear the task"
        case errors.ConnixResponseError() | errors.ConnixAPIError() if error.may_be_misconfiguration:
            return f"{NOT_CONNIX} of {conn}"
        case errors.ConnixValidationError():
            return "Correct the task's parameters; a retry without this fails in the same way"
        case errors.ConnixRateLimitError():
            return (
                f"Other tasks or programs use up the rate limit of the key in {conn}: run fewer at a time, "
                "set a longer timeout, or use a key of its own"
            )
        case errors.ConnixServerError():
            return "Clear the task when Connix responds again; its support may want the request id"
        case errors.ConnixConnectionError(may_have_executed=False):
            return f"Correct {conn}, or clear the task when Connix can be reached"
        case errors.ConnixConnectionError() | errors.ConnixTimeoutError():
            return f"Clear the task when Connix can be reached; if it stays so, check {conn}"
        case _:
            return None


def add_subject(error: Exception, subject: str) -> Exception:
    """
    Add what could not be done to an error that does not say it.

    :param error: an error of the client, or of the connection: ``AirflowNotFoundException``, ``ValueError``
    :param subject: such as ``Could not start agent agent_1``
    :return: the same error, or a new one of its class
    """
    if isinstance(error, errors.ConnixError):
        error.subject = error.subject or subject
        return error
    kind = AirflowNotFoundException if isinstance(error, AirflowNotFoundException) else ValueError
    return kind(f"{subject}: {error}")


@contextmanager
def adding_subject(subject: str) -> Iterator[None]:
    """
    Add what could not be done to the error of a connection that is missing or has an invalid setting.

    :param subject: such as ``Could not start agent agent_1``
    """
    try:
        yield
    except (AirflowNotFoundException, ValueError) as error:
        raise add_subject(error, subject) from None


def with_connection_hint(error: Exception, connix_conn_id: str | None) -> str:
    """
    Add a hint to Airflow's error for a connection that is not defined.

    :return: its message with the hint
    """
    variable = f"AIRFLOW_CONN_{str(connix_conn_id or '<ID>').upper()}"
    return (
        f"{str(error).rstrip('.')}. Add it to Airflow, or set {variable}, which `airflow dags test` reads "
        "too; an unreachable secrets backend causes the same error"
    )


def as_sentence(error: Exception) -> str:
    """
    Return an error's message as a sentence.

    :return: the message with a capital letter
    """
    message = str(error)
    return message[:1].upper() + message[1:]
