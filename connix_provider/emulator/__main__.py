"""Run the emulator from a shell: ``python -m connix_provider.emulator --port 8765``."""

import argparse
import json
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from threading import Event
from typing import Any, Final

from connix_provider.emulator.limits import Limits
from connix_provider.emulator.server import Emulator

#: The fields of a JSON object in --agent.
_AGENT_FIELDS: Final[dict[str, type]] = {
    "name": str,
    "status": str,
    "description": str,
    "config": dict,
    "metadata": dict,
}
_KINDS: Final[dict[type, str]] = {str: "text", dict: "an object"}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Serve until SIGINT or SIGTERM, and return the exit code.

    :param arguments: the command line's; those of the process by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.agents < 0:
        parser.error("--agents must not be negative")
    names = [agent["name"] for agent in options.agent]
    if len(set(names)) < len(names):
        parser.error("--agent names the same agent twice; names are unique in a project")
    metadata = dict(options.metadata)
    emulator = Emulator(
        port=options.port,
        project_id=options.project,
        api_key=options.key,
        limits=Limits.off() if options.no_limits else Limits(),
    )
    # Before anything is printed, because the starting process may send a signal as soon as it reads the line.
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        emulator.start()
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"cannot listen on port {options.port}: {error}\n")
        return 1
    with emulator:
        for agent in options.agent:
            emulator.seed(**{**agent, "metadata": {**metadata, **agent.get("metadata", {})}})
        emulator.seed(options.agents, metadata=metadata)
        sys.stdout.write(_as_json(emulator) if options.json else _as_prose(emulator))
        sys.stdout.flush()
        stopped.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m connix_provider.emulator",
        description="A Connix service on loopback, for tests. Requests are logged to standard error.",
    )
    parser.add_argument("--port", type=int, default=0, help="the port (default: a free one)")
    parser.add_argument("--project", help="id of the default project (default: a random one)")
    parser.add_argument("--key", help="API key with full rights (default: a random one)")
    parser.add_argument("--agents", type=int, default=0, help="number of running agents to add")
    parser.add_argument(
        "--agent",
        action="append",
        default=[],
        type=_agent,
        metavar="NAME",
        help="add a running agent, by name, or as a JSON object with name, status, description, config and"
        " metadata; may be given several times",
    )
    parser.add_argument(
        "--metadata",
        action="append",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="metadata of all these agents; may be given several times",
    )
    parser.add_argument("--no-limits", action="store_true", help="do not limit requests")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of prose")
    return parser


def _agent(text: str) -> dict[str, Any]:
    """Parse an agent's name, or a JSON object that describes it."""
    if not text.lstrip().startswith("{"):
        return {"name": text}
    try:
        agent = json.loads(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {problem}") from None
    if unknown := agent.keys() - _AGENT_FIELDS.keys():
        raise argparse.ArgumentTypeError(
            f"an agent has no {', '.join(sorted(unknown))}; it has {', '.join(_AGENT_FIELDS)}"
        )
    for field, value in agent.items():
        if not isinstance(value, _AGENT_FIELDS[field]):
            raise argparse.ArgumentTypeError(f"{field} must be {_KINDS[_AGENT_FIELDS[field]]}, not {value!r}")
    if not agent.get("name"):
        raise argparse.ArgumentTypeError("an agent needs a name")
    return dict(agent)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _as_json(emulator: Emulator) -> str:
    facts = {
        "url": emulator.url,
        "api_key": emulator.api_key,
        "project_id": emulator.project_id,
        "token_url": emulator.token_url,
    }
    return json.dumps(facts) + "\n"


def _as_prose(emulator: Emulator) -> str:
    command = ["airflow", "connections", "add", "connix_default"]
    command += ["--conn-type", "connix", "--conn-host", emulator.url, "--conn-password", emulator.api_key]
    # Without a port, the Test button of Airflow's form fails with 400.
    command += ["--conn-port", "0", "--conn-extra", json.dumps({"project_id": emulator.project_id})]
    return (
        f"Connix emulator\n"
        f"  URL      {emulator.url}\n"
        f"  API key  {emulator.api_key}\n"
        f"  Project  {emulator.project_id}\n"
        f"\nUse it from Airflow:\n"
        f"  {shlex.join(command)}\n"
        f"or, in one shell and for `airflow dags test`:\n"
        f"  export AIRFLOW_CONN_CONNIX_DEFAULT={shlex.quote(emulator.airflow_connection)}\n"
        f"\nPress Ctrl+C to end it.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
