"""What tells which files are to be followed, as what, and whether what writes them has ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from joblog.worker.kubernetes.pods import ContainerEnd, Excluded, LogTarget, NotYet


class ContainerRun(NamedTuple):
    """A container from one of its starts to its end, where all of these write the same files one after another.

    started_ns: names it, too. until_ns: its lines have no later times; 0: it goes on.
    """

    started_ns: int
    until_ns: int = 0


class Found(NamedTuple):
    """A log that lies in files here.

    key: names it, and no other one, for as long as its files are there. path: of the file that is written.
    format: a codec's name; empty: what the first byte tells. group: what shares a byte rate. folder: where its files
    come and go. roots: see LogFile. max_files: how many files are kept of it; 0: not known. superseded: what writes
    it has ended, and its successor writes another file.

    runs: who wrote the files, the oldest known first, where that was more than one: each run's lines are a log of its
    own. Only for lines with times, in Docker's format. run_ns, until_ns: the run that is meant, as `of` sets them.
    witness: a file that is written anew before another run begins; what is read of the log counts only while this is
    as it was when it was looked at (witness_state), and else waits until that is looked at again.
    """

    key: str
    path: str
    format: str
    group: str
    folder: str
    roots: Sequence[str] = ()
    max_files: int = 0
    superseded: bool = False
    runs: Sequence[ContainerRun] = ()
    run_ns: int = 0
    until_ns: int = 0
    witness: str = ""
    witness_state: tuple[int, ...] = ()

    def of(self, run_ns: int) -> Found:
        """The log of one of the runs. One that is not known any more ends where the next one begins."""
        if not run_ns:
            return self
        until_ns, superseded = 0, False
        for run in self.runs:
            if run.started_ns == run_ns:
                until_ns = run.until_ns
            elif run.started_ns > run_ns:
                until_ns, superseded = until_ns or run.started_ns, True
                break
        return self._replace(run_ns=run_ns, until_ns=until_ns, superseded=superseded)

    def run_after(self, run_ns: int) -> int:
        """The first run that began after this one; 0: none has."""
        return next((run.started_ns for run in self.runs if run.started_ns > run_ns), 0)


def state_of(witness: str) -> tuple[int, ...]:
    """What tells whether a file was written anew; () where it is not there."""
    try:
        status = os.stat(witness, follow_symlinks=False)
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


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
