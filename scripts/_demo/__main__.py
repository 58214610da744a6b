"""Parse the demo's command line; ``scripts/demo`` makes the environment and then runs this."""

from __future__ import annotations

import argparse
import signal
import sys

import lifecycle
import ui
from processes import Stopped, stopped_by_signals


def main() -> int:
    """
    Run the lifecycle DAG, or serve Airflow's UI.

    :return: the exit code
    """
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Run the example DAGs in real Airflow against an emulated Connix, all on this machine.",
    )
    parser.add_argument("--ui", action="store_true", help="serve Airflow's UI instead of running one DAG")
    parser.add_argument("--port", type=int, default=0, help="of the UI (default: a free one)")
    parser.add_argument("--fail", action="store_true", help="let the agent fail, to see what that looks like")
    options = parser.parse_args()
    with stopped_by_signals():
        try:
            return ui.serve(options.port) if options.ui else lifecycle.run(options.fail)
        except Stopped as stopped:
            print("Stopped; nothing is left running.")
            # Ctrl-C is how the UI is meant to end.
            return 0 if options.ui and stopped.number == signal.SIGINT else 128 + stopped.number


if __name__ == "__main__":
    sys.exit(main())
