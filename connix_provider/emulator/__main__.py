"""Run the emulator from a shell: ``python -m connix_provider.emulator --port 8765``."""

import argparse
import json
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from threading import Event

from connix_provider.emulator.limits import Limits
from connix_provider.emulator.server import Emulator


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Serve until a signal ends it, and return the exit code.

    :param arguments: of the command line; the process's own by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.agents < 0:
        parser.error("--agents must not be negative")
    if len(set(options.agent)) < len(options.agent):
        parser.error("--agent names the same agent twice; names are unique in a project")
    emulator = Emulator(
        port=options.port,
        project_id=options.project,
        api_key=options.key,
        limits=Limits.off() if options.no_limits else Limits(),
    )
    # Before anything is printed: whoever starts this may send the signal as soon as they read the line.
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        emulator.start()
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"cannot listen on port {options.port}: {error}\n")
        return 1
    with emulator:
        for name in options.agent:
            emulator.seed(name=name)
        emulator.seed(options.agents)
        sys.stdout.write(_as_json(emulator) if options.json else _as_prose(emulator))
        sys.stdout.flush()
        ended.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m connix_provider.emulator",
        description="A Connix service on loopback, for tests. Requests are logged to standard error.",
    )
    parser.add_argument("--port", type=int, default=0, help="where to listen (default: a free port)")
    parser.add_argument("--project", help="id of the default project (default: a random one)")
    parser.add_argument("--key", help="API key with full rights (default: a random one)")
    parser.add_argument("--agents", type=int, default=0, help="how many running agents are there already")
    parser.add_argument(
        "--agent",
        action="append",
        default=[],
        metavar="NAME",
        help="a running agent that is there already, by name; may be given several times",
    )
    parser.add_argument("--no-limits", action="store_true", help="do not limit requests")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of prose")
    return parser


def _as_json(emulator: Emulator) -> str:
    facts = {
        "url": emulator.url,
        "api_key": emulator.api_key,
        "project_id": emulator.project_id,
        "token_url": emulator.token_url,
    }
    return json.dumps(facts) + "\n"


def _as_prose(emulator: Emulator) -> str:
    connection = {
        "conn_type": "connix",
        "host": emulator.url,
        "password": emulator.api_key,
        "extra": {"project_id": emulator.project_id},
    }
    command = ["airflow", "connections", "add", "connix_default"]
    command += ["--conn-type", "connix", "--conn-host", emulator.url, "--conn-password", emulator.api_key]
    command += ["--conn-extra", json.dumps(connection["extra"])]
    return (
        f"Connix emulator\n"
        f"  URL      {emulator.url}\n"
        f"  API key  {emulator.api_key}\n"
        f"  Project  {emulator.project_id}\n"
        f"\nUse it from Airflow:\n"
        f"  {shlex.join(command)}\n"
        f"or, in one shell and for `airflow dags test`:\n"
        f"  export AIRFLOW_CONN_CONNIX_DEFAULT={shlex.quote(json.dumps(connection))}\n"
        f"\nPress Ctrl+C to end it.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
