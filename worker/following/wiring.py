"""Puts the following of files together from a worker's settings."""

from __future__ import annotations

import logging
import os
import resource
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from joblog.errors import InvalidSettings, NotFound
from joblog.private_file import read_private, write_private
from joblog.worker.following.settings import rates, rules
from joblog.worker.spool.bound import SharedBounds

if TYPE_CHECKING:
    from joblog.paths import DataFolder
    from joblog.worker.following.service import FollowingService
    from joblog.worker.following.settings import KubernetesSettings
    from joblog.worker.following.source import Source
    from joblog.worker.kubernetes.api_pods import ApiPods
    from joblog.worker.kubernetes.pods import Pods
    from joblog.worker.settings import WorkerSettings
    from joblog.worker.shipper.keys import SpoolKeys
    from joblog.worker.shipper.shipper import Shipper

log = logging.getLogger(__name__)

_SECRET_BYTES = 32
_KEY_SECONDS = 5.0


def following_service(
    settings: WorkerSettings,
    folder: DataFolder,
    keys: SpoolKeys,
    shipper: Shipper,
    pods: Pods | None = None,
) -> FollowingService | None:
    """The service that follows what the settings say; None where that is nothing, and there never was anything.

    pods: who knows the containers; None: nobody does. Raises InvalidSettings, Denied, Corrupt.
    """
    here = settings.kubernetes.enabled or settings.docker.enabled or settings.files.follow
    if not (here or folder.follow_secret.exists()):
        return None
    if settings.kubernetes.enabled:
        _check_libraries("kubernetes.enabled")
    elif settings.docker.enabled:
        _check_libraries("docker.enabled")
    elif any(rule.format != "plain" for rule in rules(settings.files)):
        _check_libraries("files.follow with a format")
    from joblog.worker.following.service import FollowingService, FollowLimits

    def is_watched(spool_id: str) -> bool:
        feed = shipper.feed(spool_id)
        return feed is not None and feed.watched

    _raise_file_limit()
    spool = settings.spool
    host = node_name(os.environ)
    limits = FollowLimits(
        SharedBounds(spool.max_task_bytes, spool.max_bytes, spool.segment_bytes),
        held_bytes=settings.kubernetes.held_bytes,
        quiet_seconds=settings.kubernetes.quiet_seconds,
        rates=rates(settings.kubernetes),
        host=host,
    )
    return FollowingService(
        _sources(settings, host, pods),
        folder.spools,
        folder.followed,
        limits,
        spool_key=(lambda: keys.current(_KEY_SECONDS)) if spool.encryption == "on" else None,
        keys=keys.find,
        adopt=shipper.adopt,
        is_watched=is_watched,
        secret=follow_secret(folder),
    )


def node_name(environ: Mapping[str, str]) -> str:
    """What this node is called in Kubernetes, as far as it can be known here."""
    return environ.get("NODE_NAME") or socket.gethostname()


def node_pods(settings: KubernetesSettings, environ: Mapping[str, str]) -> ApiPods | None:
    """Who asks the Kubernetes API about this node's pods; None where nobody does."""
    if not settings.enabled or not settings.api.is_on(environ):
        return None
    from joblog.worker.kubernetes.api_pods import ApiPods
    from joblog.worker.kubernetes.client import Connection
    from joblog.worker.kubernetes.pods import Selection
    from joblog.worker.kubernetes.watching import Watched

    api = settings.api
    return ApiPods(
        Connection(str(api.kubeconfig or ""), api.context),
        Watched(node=node_name(environ)),
        settings.identity.identity(),
        Selection(settings.include, settings.exclude),
        settings.identity.labels(),
        wait_seconds=api.wait_seconds,
    )


def _check_libraries(what: str) -> None:
    if find_spec("numpy") is None:
        raise InvalidSettings(f"{what} needs numpy, which is not installed: pip install 'joblog[kubernetes]'")


def _sources(settings: WorkerSettings, host: str, pods: Pods | None) -> list[Source]:
    sources: list[Source] = []
    kubernetes = settings.kubernetes
    if kubernetes.enabled:
        from joblog.worker.kubernetes.container_source import ContainerSource
        from joblog.worker.kubernetes.pods import Selection, WithoutApi

        if pods is None:
            pods = WithoutApi(Selection(kubernetes.include, kubernetes.exclude), host=host)
        root = str(kubernetes.pod_log_dir)
        sources.append(ContainerSource(pods, root, linked=kubernetes.linked_dirs, max_files=kubernetes.max_files))
    if settings.docker.enabled:
        from joblog.worker.docker.container_source import DockerSource

        sources.append(DockerSource(str(settings.docker.containers_dir), settings.docker.naming(host)))
    if settings.files.follow:
        from joblog.worker.following.file_source import FileSource

        sources.append(FileSource(rules(settings.files), host=host, linked=settings.files.linked_dirs))
    return sources


def follow_secret(folder: DataFolder) -> bytes:
    """What writer ids are made from: who knows it could write these logs."""
    try:
        return read_private(folder.follow_secret)
    except NotFound:
        secret = os.urandom(_SECRET_BYTES)
        write_private(folder.follow_secret, secret)
        return secret


def _raise_file_limit() -> None:
    """Each log takes a handful of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            log.warning("at most %d files can be open at once: raise the limit for many containers", soft)
