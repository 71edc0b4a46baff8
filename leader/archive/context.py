"""What the parts of the archiver share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from joblog.leader.archive.busy import Busy
from joblog.leader.archive.claim import Claim
from joblog.leader.archive.describing import Describer
from joblog.leader.archive.putting import Putter
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher


@dataclass(frozen=True, slots=True)
class ArchiveContext:
    """busy: logs and objects that somebody works on. open_cipher: the cipher of a log by its number.

    pool: for requests side by side; nothing that waits for others runs in it.
    """

    store: Store
    putter: Putter
    claim: Claim
    describer: Describer
    open_cipher: Callable[[int], LogCipher]
    pool: ThreadPoolExecutor
    busy: Busy
