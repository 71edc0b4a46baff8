"""Which of the chunks' files compactions leave alone, as they are damaged; kept in a file beside the store's.

A compaction that meets damage fails, and RocksDB takes no write from then on until it is opened again, when the next
compaction fails too. It reads the tables that it compacts, and the blobs that it moves out of old files.
"""

from __future__ import annotations

import threading
from pathlib import Path

from rocksdict import RdictIter

from joblog.leader.buffer.options import Spared

_MARK = "damaged.joblog"


class Sparing:
    """What is spared in the store in folder `path`. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._mark = path / _MARK
        self._lock = threading.Lock()
        self.spared = self._read()

    def _read(self) -> Spared:
        try:
            text = self._mark.read_text().strip()
        except FileNotFoundError:
            return Spared.NOTHING
        return Spared.BLOBS if text == Spared.BLOBS.value else Spared.TABLES

    def more(self, wanted: Spared) -> bool:
        """Spares that much at least, from now on; False when it was so already."""
        with self._lock:
            if self.spared in (wanted, Spared.TABLES):
                return False
            self._mark.write_text(wanted.value)
            self.spared = wanted
            return True

    def copy_to(self, folder: Path) -> None:
        """Notes the same for a copy of the store in `folder`."""
        with self._lock:
            if self.spared is not Spared.NOTHING:
                (folder / _MARK).write_text(self.spared.value)

    def nothing(self) -> None:
        """Nothing is damaged any more."""
        with self._lock:
            self._mark.unlink(missing_ok=True)
            self.spared = Spared.NOTHING


def fault_of(checking: RdictIter) -> Spared | None:
    """What RocksDB, which checks what it reads here, finds damaged where the iterator was moved to; None: nothing."""
    try:
        checking.status()
    except Exception as error:  # noqa: BLE001 - rocksdict raises nothing finer
        text = str(error)
        return Spared.BLOBS if "blob" in text.lower() and "block checksum" not in text else Spared.TABLES
    return None
