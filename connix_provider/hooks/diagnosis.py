"""Say in one sentence what is wrong with a connection."""

from __future__ import annotations

__all__ = ["NOT_CONNIX", "as_sentence", "plainly", "with_connection_hint"]

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
