"""Puts the services of `joblog watch` together from a worker's settings."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from joblog.worker.cluster.lease import Elector
from joblog.worker.cluster.tail import LeaderTails
from joblog.worker.cluster.watcher import SOURCE, Watcher, WatcherRules
from joblog.worker.following.spools import FollowedSpools
from joblog.worker.following.wiring import follow_secret
from joblog.worker.kubernetes.client import Connection
from joblog.worker.kubernetes.pods import Selection
from joblog.worker.kubernetes.watching import PodWatch, Watched
from joblog.worker.spool.bound import SharedBounds

if TYPE_CHECKING:
    from joblog.address import KnownLeader
    from joblog.paths import DataFolder
    from joblog.service import Service
    from joblog.worker.settings import WorkerSettings
    from joblog.worker.shipper.keys import SpoolKeys

_KEY_SECONDS = 5.0


def elector(settings: WorkerSettings, environ: Mapping[str, str]) -> Elector:
    """Who waits for the lease; comes before all other services."""
    api, watch = settings.kubernetes.api, settings.watch
    # In a pod this is its name.
    identity = f"{environ.get('POD_NAME') or socket.gethostname()}_{os.urandom(4).hex()}"
    connection = Connection(str(api.kubeconfig or ""), api.context)
    return Elector(connection, watch.place(), watch.lease_name, identity, lease_seconds=watch.lease_seconds)


def watcher_services(
    settings: WorkerSettings,
    folder: DataFolder,
    leader: Callable[[], KnownLeader],
    keys: SpoolKeys,
    adopt: Callable[[str], None],
) -> list[Service]:
    """Those that follow pods. Raises InvalidInput."""
    api, watch, spool = settings.kubernetes.api, settings.watch, settings.spool
    connection = Connection(str(api.kubeconfig or ""), api.context)
    bounds = SharedBounds(spool.max_task_bytes, spool.max_bytes, spool.segment_bytes)
    spools = FollowedSpools(
        folder.spools,
        bounds,
        keys.find,
        watch.secret.encode() or follow_secret(folder),
        host="",
        mine=lambda source: source.startswith(SOURCE),
    )
    identity = settings.kubernetes.identity
    rules = WatcherRules(
        identity.identity(),
        Selection(settings.kubernetes.include, settings.kubernetes.exclude),
        identity.labels(),
        watch.max_containers,
    )
    watches: list[PodWatch] = []
    watcher = Watcher(
        watches,
        connection,
        LeaderTails(leader),
        spools,
        rules,
        new_key=(lambda: keys.current(_KEY_SECONDS)) if spool.encryption == "on" else None,
        adopt=adopt,
    )
    watches += [
        PodWatch(connection, Watched(namespace=namespace, selector=watch.selector), changed=watcher.changed)
        for namespace in watch.namespaces or ("",)
    ]
    return [*watches, watcher]
