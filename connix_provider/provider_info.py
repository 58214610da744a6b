"""
The provider's metadata for Airflow: the connection type with its form, settings, and modules of classes.

Airflow reads it at the start of every component, so this module imports little. The form's fields are one
list, from which the newer ``conn-fields`` and the older form methods of the hook are made.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from connix_provider import __version__

__all__ = ["EXTRA_FIELDS", "ExtraField", "get_provider_info", "ui_field_behaviour"]


@dataclasses.dataclass(frozen=True, slots=True)
class ExtraField:
    """
    A field of the connection's extra.

    :param name: its name in the extra
    :param label: its label in the form
    :param description: its description in the form
    :param kind: its JSON type
    :param secret: whether the form hides its value
    :param placeholder: an example
    """

    name: str
    label: str
    description: str
    kind: str = "string"
    secret: bool = False
    placeholder: str = ""


EXTRA_FIELDS = (
    ExtraField(
        "project_id",
        "Project ID",
        "Project of operators that are given none.",
        placeholder="proj_1234567890abcdef",
    ),
    ExtraField("access_token", "OAuth2 access token", "Instead of an API key: a bearer token.", secret=True),
    ExtraField(
        "refresh_token",
        "OAuth2 refresh token",
        "Gets a new access token when the old one expires (RFC 6749, section 6).",
        secret=True,
    ),
    ExtraField(
        "client_id",
        "OAuth2 client ID",
        "The OAuth2 client that the refresh token belongs to, or that gets access tokens by its secret.",
    ),
    ExtraField("client_secret", "OAuth2 client secret", "The secret of that client.", secret=True),
    ExtraField(
        "token_url",
        "OAuth2 token URL",
        "Endpoint that issues access tokens.",
        placeholder="https://console.connix.io/oauth2/token",
    ),
    ExtraField(
        "scope",
        "OAuth2 scope",
        "Scopes to ask the token URL for, separated by spaces; default all of the grant.",
        placeholder="read write",
    ),
    ExtraField("timeout", "Timeout", "Seconds to wait for a response; default 30.", kind="number"),
    ExtraField(
        "verify",
        "Verify TLS",
        "true (default), false, or the path of a CA bundle on the workers and triggerers.",
        placeholder="true",
    ),
    ExtraField(
        "rate_limit_share",
        "Rate limit share",
        "Part of the key's limits that each process keeps to, more than 0 and at most 1; default 1.",
        kind="number",
    ),
    ExtraField(
        "console_url",
        "Console URL",
        "Address of the Connix console, for links to agents in messages.",
        placeholder="https://console.connix.io",
    ),
)


def ui_field_behaviour() -> dict[str, Any]:
    """
    Return how the form shows Airflow's own fields.

    :return: hidden fields, labels and placeholders, with the keys of the hook's form methods
    """
    return {
        "hidden_fields": ["schema", "login", "port", "extra"],
        "relabeling": {"password": "API key", "host": "Base URL"},
        "placeholders": {
            "password": "cx_ and 32 hexadecimal characters",
            "host": "https://api.connix.io/api/v1",
            **{field.name: field.placeholder for field in EXTRA_FIELDS if field.placeholder},
        },
    }


def get_provider_info() -> dict[str, Any]:
    """
    Return the provider's metadata.

    :return: metadata as Airflow's ``provider_info.schema.json`` describes it
    """
    integration = "Connix"
    behaviour = ui_field_behaviour()
    return {
        "package-name": "airflow-provider-connix",
        "name": integration,
        "description": "Run, watch and schedule Connix AI agents.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://connix.io/docs/",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": ["connix_provider.hooks.connix"]}],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": [
                    "connix_provider.operators.agent",
                    "connix_provider.operators.apply",
                    "connix_provider.operators.export",
                    "connix_provider.operators.fleet",
                    "connix_provider.operators.health",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": integration,
                "python-modules": ["connix_provider.sensors.agent", "connix_provider.sensors.health"],
            }
        ],
        "triggers": [
            {
                "integration-name": integration,
                "python-modules": [
                    "connix_provider.triggers.agent",
                    "connix_provider.triggers.fleet",
                    "connix_provider.triggers.health",
                    "connix_provider.triggers.rate_limit",
                ],
            }
        ],
        "config": {
            "connix": {
                "description": "Settings of the Connix provider.",
                "options": {
                    "deployment_id": {
                        "description": (
                            "Name of this Airflow deployment. Tasks write it to the metadata of the agents "
                            "that they create, so that deployments with the same DAGs on one Connix project "
                            "keep their agents apart. All components of a deployment need the same value. "
                            "Default: the address of [api] base_url (Airflow 2: [webserver] base_url)."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "production",
                        "default": "",
                    }
                },
            }
        },
        "connection-types": [
            {
                "connection-type": "connix",
                "hook-name": integration,
                "hook-class-name": "connix_provider.hooks.connix.ConnixHook",
                "ui-field-behaviour": {
                    "hidden-fields": behaviour["hidden_fields"],
                    "relabeling": behaviour["relabeling"],
                    "placeholders": behaviour["placeholders"],
                },
                "conn-fields": {field.name: _conn_field(field) for field in EXTRA_FIELDS},
            }
        ],
    }


def _conn_field(field: ExtraField) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": [field.kind, "null"]}
    if field.secret:
        schema["format"] = "password"
    return {"label": field.label, "description": field.description, "schema": schema}
