"""Ships the spools of one task where no daemon runs: started beside the task, ends when the leader has all of it.

python -m joblog.worker.shipper.standalone --spool FOLDER ... --data-dir D --leader HOST:PORT
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from pathlib import Path

from joblog.dumps import refuse_dumps
from joblog.errors import Interrupted, JoblogError
from joblog.paths import DataFolder, config_file
from joblog.service import Service, serve
from joblog.settings import load
from joblog.telemetry import set_up_logging
from joblog.worker.renewal import Renewal
from joblog.worker.settings import WorkerSettings
from joblog.worker.shipper.keys import SpoolKeys
from joblog.worker.shipper.limits import shipper_limits
from joblog.worker.shipper.lives import LeaderLives
from joblog.worker.shipper.shipper import Shipper
from joblog.worker.source import join_source
from joblog.worker.standing import open_standing

log = logging.getLogger(__name__)

# Nobody tells this process of news: it looks for itself.
POLL_SECONDS = 0.01
# A task that is over, and no leader in reach for so long: the spool waits for the next worker on this machine.
GIVE_UP_SECONDS = 60.0


async def _until_shipped(shipper: Shipper, folders: list[Path], stopping: asyncio.Event) -> None:
    await asyncio.gather(*(shipper.wait_shipped(folder.name) for folder in folders))
    stopping.set()


async def _until_hopeless(shipper: Shipper, folders: list[Path], stopping: asyncio.Event) -> None:
    """Ends the process when its tasks are over and it has not reached a leader for GIVE_UP_SECONDS."""
    clock = asyncio.get_running_loop().time
    since = clock()
    while clock() - since < GIVE_UP_SECONDS:
        await asyncio.sleep(1.0)
        feeds = [feed for folder in folders if (feed := shipper.feed(folder.name)) is not None]
        if shipper.connected or any(feed.reader.alive() for feed in feeds):
            since = clock()
    log.warning("no leader was reached for %g s: what is left stays in the spool", GIVE_UP_SECONDS)
    stopping.set()


async def _run(shipper: Shipper, services: list[Service], folders: list[Path], drain_seconds: float) -> int:
    for folder in folders:
        shipper.adopt(folder.name)
    stopping = asyncio.Event()
    waits = [
        asyncio.create_task(_until_shipped(shipper, folders, stopping)),
        asyncio.create_task(_until_hopeless(shipper, folders, stopping)),
    ]
    try:
        code = await serve(services, drain_seconds=drain_seconds, stopping=stopping)
    finally:
        for wait in waits:
            wait.cancel()
    return code or (0 if waits[0].done() and not waits[0].cancelled() else Interrupted.exit_code)


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when the leader has everything, 10 when something is left."""
    parser = argparse.ArgumentParser(prog="joblog-ship")
    parser.add_argument("--spool", type=Path, action="append", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--leader", default="")
    given = parser.parse_args(arguments)
    set_up_logging()
    refuse_dumps()
    try:
        settings = load(
            WorkerSettings,
            file=config_file("worker", None, os.environ),
            environ=os.environ,
            flags={"data_dir": str(given.data_dir)},
        ).values
        folder = DataFolder(given.data_dir)
        source = join_source(given.leader, os.environ, plaintext=settings.plaintext)
        identity, membership = open_standing(folder, settings, source)
        keys = SpoolKeys([folder.spools, folder.refused], identity, membership.leader)

        def reached() -> None:
            membership.succeeded()
            keys.look_again()

        shipper = Shipper(
            folder.spools,
            identity,
            membership.leader,
            shipper_limits(settings, poll_seconds=POLL_SECONDS),
            keys=keys.find,
            lives=LeaderLives(str(folder.leader_lives)),
            reached=reached,
            failed=membership.failed,
        )
        keys.on_arrival(shipper.look_around)
        with asyncio.Runner() as runner:
            services: list[Service] = [keys, shipper, Renewal(membership, shipper.reconnect)]
            return runner.run(_run(shipper, services, given.spool, settings.drain_seconds))
    except JoblogError as error:
        log.critical("%s", error)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
