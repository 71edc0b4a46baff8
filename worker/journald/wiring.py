"""Puts the following of the journal together from a worker's settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from joblog.worker.following.finished import FinishedLogs
from joblog.worker.following.spools import FROM_JOURNAL, FollowedSpools
from joblog.worker.following.wiring import follow_secret, node_name
from joblog.worker.spool.bound import SharedBounds

if TYPE_CHECKING:
    from joblog.paths import DataFolder
    from joblog.worker.journald.recorder import Recorder
    from joblog.worker.journald.service import JournalService
    from joblog.worker.settings import WorkerSettings
    from joblog.worker.shipper.keys import SpoolKeys

_KEY_SECONDS = 5.0


def journal_service(
    settings: WorkerSettings, folder: DataFolder, keys: SpoolKeys, adopt: Callable[[str], None]
) -> JournalService | None:
    """The service; None where no units are wanted, and never were. Raises InvalidSettings, Denied."""
    journald, spool = settings.journald, settings.spool
    if not journald.units and not folder.journal.exists():
        return None
    from joblog.worker.journald.place import ReadPlace
    from joblog.worker.journald.reader import JournalPlace, journalctl_path
    from joblog.worker.journald.recorder import Recorder
    from joblog.worker.journald.service import JournalService

    bounds = SharedBounds(spool.max_task_bytes, spool.max_bytes, spool.segment_bytes)
    secret, host = follow_secret(folder), node_name(os.environ)

    def recorder() -> Recorder:
        spools = FollowedSpools(
            folder.spools, bounds, keys.find, secret, host=host, mine=lambda source: source.startswith(FROM_JOURNAL)
        )
        return Recorder(spools, FinishedLogs(folder.journaled), journald.wanted(host), adopt)

    return JournalService(
        journalctl_path() if journald.units else "",
        JournalPlace(str(journald.directory or ""), journald.since),
        ReadPlace(folder.journal),
        recorder,
        (lambda: keys.current(_KEY_SECONDS)) if spool.encryption == "on" else None,
        units_wanted=bool(journald.units),
    )
