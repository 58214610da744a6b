"""Say what an error of the client means for a connection or a task, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowNotFoundException

__all__ = [
    "NOT_CONNIX",
    "as_sentence",
    "naming_subject",
    "plainly",
    "remedy",
    "with_connection_hint",
    "with_subject",
]

#: Said by the connection test, and by a wait that only ever met such responses.
NOT_CONNIX = "Something answers, but it does not speak Connix's API; check the host"


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
            hint = NOT_CONNIX
        case errors.ConnixRateLimitError():
            hint = "The key is good, but its budget for this minute is used up"
        case _:
            return as_sentence(error)
    return f"{hint}: {error}"


def remedy(error: Exception, connix_conn_id: str | None) -> str | None:
    """
    Say what to do about an error that ended a task.

    :param error: the error
    :param connix_conn_id: the Airflow connection, where that is known
    :return: a sentence without a full stop, or ``None`` where the error's own text says it
    """
    from connix_provider.client import errors

    conn = f"the Airflow connection {connix_conn_id!r}" if connix_conn_id else "the Airflow connection"
    match error:
        case errors.ConnixConflictError(has_response=False):
            return None
        case errors.ConnixAPIError(has_error_body=False, status_code=401 | 403):
            return f"This is not Connix's own refusal, so check the host of {conn}, and gateways before it"
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
            return "Correct the task's parameters; a retry without that fails alike"
        case errors.ConnixRateLimitError():
            return (
                f"Other tasks or programs use up the key of {conn}: run fewer at a time, set a longer "
                "timeout, or use a key of its own"
            )
        case errors.ConnixServerError():
            return "Clear the task when Connix is well again; its support may want the request id"
        case errors.ConnixConnectionError(may_have_executed=False):
            return f"Correct {conn}, or clear the task when Connix can be reached"
        case errors.ConnixConnectionError() | errors.ConnixTimeoutError():
            return f"Clear the task when Connix can be reached; if it stays so, check {conn}"
        case _:
            return None


def with_subject(error: Exception, subject: str) -> Exception:
    """
    Say what could not be done, where an error's own text does not.

    :param error: an error of the client, or of the connection: ``AirflowNotFoundException``, ``ValueError``
    :param subject: such as ``Could not start agent agent_1``
    :return: the same error, or one of its class
    """
    from connix_provider.client.errors import ConnixError

    if isinstance(error, ConnixError):
        error.subject = error.subject or subject
        return error
    kind = AirflowNotFoundException if isinstance(error, AirflowNotFoundException) else ValueError
    return kind(f"{subject}: {error}")


@contextmanager
def naming_subject(subject: str) -> Iterator[None]:
    """
    Say what could not be done, where a connection cannot be read or its settings cannot be right.

    :param subject: such as ``Could not start agent agent_1``
    """
    try:
        yield
    except (AirflowNotFoundException, ValueError) as error:
        raise with_subject(error, subject) from None


def with_connection_hint(error: Exception, connix_conn_id: str | None) -> str:
    """
    Say where Airflow looks for a connection that it reports as not defined.

    :param error: Airflow's error
    :param connix_conn_id: the Airflow connection
    :return: its message and the hint
    """
    variable = f"AIRFLOW_CONN_{(connix_conn_id or '<ID>').upper()}"
    return (
        f"{str(error).rstrip('.')}. Add it to Airflow, or set {variable}, which `airflow dags test` reads "
        "too; a secrets backend that is down looks the same"
    )


def as_sentence(error: Exception) -> str:
    """
    Write an error's message as a sentence.

    :param error: the error
    :return: its message with a capital
    """
    said = str(error)
    return said[:1].upper() + said[1:]
