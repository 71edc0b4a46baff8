"""The spool key for a task where no daemon runs: asked for, or made and left with the leader; printed for its parent.

python -m joblog.worker.shipper.deposit --data-dir D --leader HOST:PORT

The parent reads it from a pipe: 64 hexadecimal digits, exit code 0. Else standard error says why there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from joblog.errors import JoblogError
from joblog.paths import DataFolder, config_file
from joblog.settings import load
from joblog.worker.settings import WorkerSettings
from joblog.worker.shipper.keys import SpoolKeys, waiting_for
from joblog.worker.source import join_source
from joblog.worker.standing import open_standing


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when a key was printed."""
    parser = argparse.ArgumentParser(prog="joblog-deposit")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--leader", default="")
    given = parser.parse_args(arguments)
    try:
        folder = DataFolder(given.data_dir)
        settings = load(
            WorkerSettings,
            file=config_file("worker", None, os.environ),
            environ=os.environ,
            flags={"data_dir": str(given.data_dir)},
        ).values
        identity, membership = open_standing(folder, settings, join_source(given.leader, os.environ))
        keys = SpoolKeys([folder.spools, folder.refused], identity, membership.leader)
        key = asyncio.run(keys.fetch_current())
    except JoblogError as error:
        sys.stderr.write(f"{waiting_for(str(error))}\n")
        return error.exit_code
    os.write(1, key.key.hex().encode())
    return 0
