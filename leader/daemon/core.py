"""What everything else in a leader works with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from joblog.leader.admission import Admission
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.ingest import Ingest
from joblog.leader.ingest.spool_keys import SpoolKeys
from joblog.leader.key_service import KeyService
from joblog.leader.metrics import Metrics
from joblog.leader.settings import LeaderSettings
from joblog.leader.transport import Transport
from joblog.paths import DataFolder


class Core(NamedTuple):
    """What everything else in a leader works with."""

    settings: LeaderSettings
    folder: DataFolder
    store: Store
    keyring: Keyring
    keys: KeyService
    readers: ThreadPoolExecutor
    metrics: Metrics
    ingest: Ingest
    admission: Admission
    transport: Transport
    spool_keys: SpoolKeys
