"""`joblog worker`: ships every spool of this machine, and takes tasks to run over its control socket."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from joblog.dumps import refuse_dumps
from joblog.errors import Conflict, JoblogError
from joblog.paths import DataFolder, config_file, data_dir, make_folder
from joblog.service import Service, run_loop, serve
from joblog.settings import load
from joblog.telemetry import set_up_logging
from joblog.worker.control.server import ControlServer
from joblog.worker.following.wiring import following_service, node_pods
from joblog.worker.journald.wiring import journal_service
from joblog.worker.launch import launcher
from joblog.worker.otlp.wiring import otlp_server
from joblog.worker.renewal import Renewal
from joblog.worker.settings import WorkerSettings
from joblog.worker.shipper.keys import SpoolKeys
from joblog.worker.shipper.limits import shipper_limits
from joblog.worker.shipper.lives import LeaderLives
from joblog.worker.shipper.notify import NotifyListener
from joblog.worker.shipper.shipper import Shipper
from joblog.worker.source import JoinSource, join_source
from joblog.worker.standing import open_standing

log = logging.getLogger(__name__)


def main(flags: dict[str, str], config: Path | None, *, join: str = "", watch: bool = False) -> int:
    """Runs a worker; returns the process's exit code.

    flags: settings by their dotted names. join: a token's text. watch: it follows pods through the Kubernetes API, once
    it holds the lease for that, instead of this machine's files.
    """
    try:
        file = config_file("worker", config, os.environ)
        settings = load(WorkerSettings, file=file, environ=os.environ, flags=flags).values
    except JoblogError as error:
        set_up_logging()
        log.critical("%s", error)
        return error.exit_code
    set_up_logging(settings.log.level, settings.log.format)
    refuse_dumps()
    try:
        folder = DataFolder(make_folder(data_dir(settings.data_dir, os.environ)))
        make_folder(folder.worker)
        make_folder(folder.spools)
        lock = _lock(folder.worker_lock)
        try:
            source = join_source(settings.leader, os.environ, join=join, plaintext=settings.plaintext)
            return run_loop(lambda: _run(settings, folder, source, watch=watch))
        finally:
            os.close(lock)
    except JoblogError as error:
        log.critical("%s", error)
        return error.exit_code


def _lock(path: Path) -> int:
    """Holds the data folder for this worker as long as the returned descriptor is open; raises Conflict."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise Conflict(f"{path}: another worker runs on this data folder; stop it, or use another --data-dir") from None
    return fd


async def _run(settings: WorkerSettings, folder: DataFolder, source: JoinSource, *, watch: bool) -> int:
    identity, membership = open_standing(folder, settings, source)
    control: ControlServer | None = None
    keys = SpoolKeys([folder.spools, folder.refused], identity, membership.leader)

    def reached() -> None:
        membership.succeeded()
        keys.look_again()

    shipper = Shipper(
        folder.spools,
        identity,
        membership.leader,
        shipper_limits(settings),
        holds=lambda spool_id: control is not None and control.holds(spool_id),
        keys=keys.find,
        lives=LeaderLives(str(folder.leader_lives)),
        reached=reached,
        failed=membership.failed,
    )
    keys.on_arrival(shipper.look_around)
    if settings.spool.encryption == "on":
        keys.prepare()
    control = ControlServer(
        str(folder.worker_socket),
        str(folder.spools),
        worker_id=identity,
        adopt=shipper.adopt,
        waits=shipper.waits,
        launch=launcher(settings, folder.root, keys.current),
        keys=keys,
    )
    log.info("worker %s ships what is in %s", identity, folder.spools)
    notify = NotifyListener(folder.notify_socket, shipper.notified)
    renewal = Renewal(membership, shipper.reconnect)
    services: list[Service] = [keys, shipper, renewal, notify, control]
    if watch:
        from joblog.worker.cluster.wiring import elector, watcher_services

        following_pods = watcher_services(settings, folder, membership.leader, keys, shipper.adopt)
        services = [elector(settings, os.environ), *services, *following_pods]
        return await serve(services, drain_seconds=settings.drain_seconds)
    pods = node_pods(settings.kubernetes, os.environ)
    if pods is not None:
        services.append(pods)
    otlp = otlp_server(settings, folder, keys, shipper.adopt)
    if otlp is not None:
        services.append(otlp)
    journal = journal_service(settings, folder, keys, shipper.adopt)
    if journal is not None:
        services.append(journal)
    following = following_service(settings, folder, keys, shipper, pods)
    if following is not None:
        # The last to start and the first to stop: what it wrote is still shipped.
        services.append(following)
    return await serve(services, drain_seconds=settings.drain_seconds)
