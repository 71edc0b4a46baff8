"""What tells which files are to be followed, as what, and whether what writes them has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from joblog.worker.kubernetes.pods import ContainerEnd, Excluded, LogTarget, NotYet


class Found(NamedTuple):
    """A log that lies in files here.

    key: names it, and no other one, for as long as its files are there. path: of the file that is written.
    format: a codec's name; empty: what the first byte tells. group: what shares a byte rate. folder: where its files
    come and go. roots: see LogFile. max_files: how many files are kept of it; 0: not known. superseded: what writes
    it has ended, and its successor writes another file.
    """

    key: str
    path: str
    format: str
    group: str
    folder: str
    roots: Sequence[str] = ()
    max_files: int = 0
    superseded: bool = False


class Source(Protocol):
    """Where logs are found. `scan` and `folders` may be called from any thread.

    recurring: a key may come again, for a new log, when the one before is over.
    """

    name: str
    recurring: bool

    def scan(self) -> list[Found]:
        """All logs that are there now."""

    def folders(self) -> list[str]:
        """Folders in which files or folders of logs come and go."""

    async def target(self, found: Found) -> LogTarget | Excluded | NotYet:
        """See Pods."""

    async def ended(self, found: Found) -> ContainerEnd | None:
        """See Pods."""

    async def alive(self, found: Found) -> bool | None:
        """See Pods."""

    def is_mine(self, key: str) -> bool:
        """Whether a log with this key was found by this source, now or earlier."""
