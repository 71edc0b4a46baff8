"""Puts the OTLP endpoint together from a worker's settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from joblog.errors import InvalidSettings, JoblogError
from joblog.reread import Reread
from joblog.worker.following.spools import RECEIVED, FollowedSpools
from joblog.worker.following.wiring import follow_secret, node_name
from joblog.worker.own_certificate import OwnFiles
from joblog.worker.spool.bound import SharedBounds

if TYPE_CHECKING:
    from joblog.paths import DataFolder
    from joblog.worker.otlp.server import OtlpServer
    from joblog.worker.settings import WorkerSettings
    from joblog.worker.shipper.keys import SpoolKeys

_KEY_SECONDS = 5.0


def _is_missing(package: str, part: str) -> bool:
    return find_spec(package) is None or find_spec(f"{package}.{part}") is None


def otlp_server(
    settings: WorkerSettings, folder: DataFolder, keys: SpoolKeys, adopt: Callable[[str], None]
) -> OtlpServer | None:
    """The endpoint; None where there is none. Raises InvalidSettings, Denied."""
    otlp, spool = settings.otlp, settings.spool
    if not otlp.listen:
        return None
    if _is_missing("opentelemetry", "proto") or _is_missing("google", "rpc"):
        raise InvalidSettings("otlp.listen needs packages that are not installed: pip install 'joblog[otlp]'")
    from joblog.worker.otlp.receiver import ReceiveLimits, Receiver
    from joblog.worker.otlp.server import OtlpOptions, OtlpServer

    certificate = None
    if otlp.certificate is not None and otlp.key is not None:
        files = OwnFiles(otlp.certificate, otlp.key)
        try:
            certificate = Reread((files.certificate, files.key), files.read, what="otlp.certificate")
        except JoblogError as error:
            raise InvalidSettings(f"otlp.certificate, otlp.key: {error}") from None
    options = OtlpOptions(
        otlp.listen,
        otlp.token,
        certificate,
        otlp.namespace,
        otlp.may_choose,
        otlp.format == "json",
        otlp.max_request_bytes,
    )
    bounds = SharedBounds(spool.max_task_bytes, spool.max_bytes, spool.segment_bytes)
    secret, host = follow_secret(folder), node_name(os.environ)

    def receiver() -> Receiver:
        spools = FollowedSpools(
            folder.spools, bounds, keys.find, secret, host=host, mine=lambda source: source.startswith(RECEIVED)
        )
        return Receiver(spools, ReceiveLimits(otlp.max_logs, otlp.quiet_seconds), adopt)

    spool_key = (lambda: keys.current(_KEY_SECONDS)) if spool.encryption == "on" else None
    return OtlpServer(options, receiver, spool_key)
