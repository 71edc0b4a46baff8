"""Reads a log's bytes in order through all the files into which it is rotated.

Files are held open from the moment they are seen, so neither renaming, nor compressing, nor deleting takes away what
was not read yet. Where the follower stands is a `Place`: it says which file by what the file holds, and so leads back
to the same byte after a restart, whatever the file is called then, and whether it is compressed or a copy.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from joblog.uncounted import LOST_LINES, START_MISSING
from joblog.worker.following.chain import chain
from joblog.worker.following.files import HEAD_BYTES, TAIL_BYTES, FileKey, LogFile, NotAllowedError, head_of
from joblog.worker.following.left import LATE_SECONDS, LeftFile
from joblog.worker.following.place import DoneFile, Place, has_grown, is_at, is_whole

# Files that were read to their end, to be known again; more than rotation keeps.
_DONE_FILES = 8
_SNAPSHOT_TRIES = 20
# A file from which nothing came for so long, while there is a newer one, is not written to any more: a runtime goes
# over to the new file first, and then lets the old one have what it still has of it.
LINGER_SECONDS = 0.5


class Loss(NamedTuple):
    """Bytes that are not there, nobody knows how many. kind: START_MISSING or LOST_LINES, an event's."""

    kind: str
    message: str


class Block(NamedTuple):
    """Bytes from where the follower stands. last: the file has no more, and will not get any."""

    data: bytes
    last: bool


class Follower:
    """The log whose newest file is, or was, at `path`. Owns the files that it holds. Belongs to one thread.

    roots: see LogFile. losses: what was found missing, for the caller to take.
    """

    def __init__(
        self,
        path: str,
        roots: Sequence[str] = (),
        *,
        linger_seconds: float = LINGER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.files: list[LogFile] = []
        self.at = 0
        self.losses: list[Loss] = []
        self.refusal = ""
        self._roots = roots
        self._linger_seconds = linger_seconds
        self._clock = clock
        self._head = b""
        self._tail = b""
        self._done: deque[DoneFile] = deque(maxlen=_DONE_FILES)
        self._left: list[LeftFile] = []
        self._listed: list[tuple[str, FileKey]] = []
        # Since when the oldest file has had this size while there was a newer one.
        self._still: tuple[int, float] = (-1, 0.0)

    # Finding files

    def begin(self, max_files: int = 0) -> bool:
        """Takes up all files that are there, from the start of the oldest; False when there is none yet.

        max_files: so many are kept by who rotates: where there are as many, older ones may have been deleted.
        """
        self.files = self._snapshot([]) or []
        self.at = 0
        if max_files and len(self.files) >= max_files:
            message = (
                f"{len(self.files)} files of the log were there when it was first looked at, as many as are kept: what "
                f"was before {os.path.basename(self.files[0].path)}, if anything, is missing; nobody knows how much"
            )
            self.losses.append(Loss(START_MISSING, message))
        return bool(self.files)

    def resume(self, place: Place) -> bool:
        """Goes on where an earlier follower stood; what is gone since is a loss. False: try again."""
        files = self._snapshot([])
        if files is None:
            return False
        self._done = deque(place.done, maxlen=_DONE_FILES)
        if not place.at:
            # It stood at the start of a file, behind all that was read.
            behind = max(
                (number + 1 for number, file in enumerate(files) if self._done_of(file) is not None), default=0
            )
            self._sort(files[:behind], keep_unknown=False)
            self._sort(files[behind:], keep_unknown=True)
            self.at = 0
            return True
        matching = [number for number, file in enumerate(files) if is_at(file, place.head, place.at, place.tail)]
        same = [number for number in matching if files[number].key == place.key]
        if matching:
            first = (same or matching)[0]
            self.at = place.at
            self._tail = files[first].before(self.at)
            self._sort(files[:first], keep_unknown=False)
            self.files.append(files[first])
            self._sort(files[first + 1 :], keep_unknown=True)
            return True
        self._sort(files, keep_unknown=True)
        self.at = 0
        if not self.files and self._left:
            self._go_back(self._left.pop())
        self.losses.append(
            Loss(
                LOST_LINES,
                "the file that was being read is gone: it was rotated away or deleted while nobody followed it; what "
                "it still held, if anything, is missing; nobody knows how much",
            )
        )
        return True

    def _sort(self, files: list[LogFile], *, keep_unknown: bool) -> None:
        """Lets go of files that were read, keeps those that have grown since, for late(), and such as are not known."""
        for file in files:
            done = self._done_of(file)
            if done is not None and not is_whole(file, done):
                self._left.append(LeftFile(file, done, self._clock() + LATE_SECONDS))
            elif done is None and keep_unknown:
                self.files.append(file)
            else:
                file.close()

    def refresh(self) -> bool:
        """Looks for files that are newer than those held; True when there are."""
        added = self._snapshot(self.files) or []
        if added and len(self.files) == 1:
            self._still = (-1, 0.0)
        self.files += added
        return bool(added)

    def _snapshot(self, held: list[LogFile]) -> list[LogFile] | None:
        """Opens the files that are newer than those held, the oldest first. None: they were being renamed all the time.

        What is opened is what was listed, in that order: renaming in between shows in a second look.
        """
        for _ in range(_SNAPSHOT_TRIES):
            listed = self._list()
            if held and listed == self._listed:
                return []
            opened = self._open(listed, held)
            if opened is not None and self._list() == listed:
                self._listed = listed
                return opened
            for file in opened or []:
                file.close()
        return None

    def _list(self) -> list[tuple[str, FileKey]]:
        listed = []
        for path in chain(os.path.realpath(self.path)):
            try:
                status = os.stat(path)
            except OSError:
                continue
            listed.append((path, FileKey(status.st_dev, status.st_ino)))
        return listed

    def _open(self, listed: list[tuple[str, FileKey]], held: list[LogFile]) -> list[LogFile] | None:
        """None: what was listed is not there any more."""
        keys = {file.key for file in held}
        known = [number for number, (_, key) in enumerate(listed) if key in keys]
        newer = listed[known[-1] + 1 :] if known else listed
        opened: list[LogFile] = []
        for path, key in newer:
            try:
                file = LogFile(path, self._roots)
            except (NotAllowedError, PermissionError) as error:
                self.refusal = str(error)
                continue
            except OSError:
                break
            opened.append(file)
            if file.key != key:
                break
        else:
            if held and not known:
                # None of those held has a name here: whatever has their bytes is a copy of them.
                return self._without_copies(opened, held)
            return opened
        for file in opened:
            file.close()
        return None

    def _without_copies(self, opened: list[LogFile], held: list[LogFile]) -> list[LogFile]:
        new = []
        for file in opened:
            if self._done_of(file) is not None or any(file.begins_with(other.head()) for other in held):
                file.close()
            else:
                new.append(file)
        return new

    def _done_of(self, file: LogFile) -> DoneFile | None:
        """What is known of a file that was read, whatever has come to it since; None: it was not."""
        # The second look reads more, of a compressed file all.
        found = next((done for done in self._done if is_whole(file, done)), None)
        return found or next((done for done in self._done if has_grown(file, done)), None)

    # Reading

    def read(self, length: int, *, final: bool = False) -> Block:
        """Up to `length` bytes from here on. final: the log has ended, so that its newest file has, too."""
        if not self.files:
            return Block(b"", last=False)
        file = self.files[0]
        newest = len(self.files) == 1
        if newest and not file.compressed and self._was_truncated(file):
            return self.read(length, final=final)
        try:
            data = file.read(self.at, length)
        except OSError as error:
            message = f"{file.path}: {error}; what is missing of it nobody knows"
            self.losses.append(Loss(LOST_LINES, message))
            return Block(b"", last=True)
        at_end = len(data) < length and (file.compressed or self.at + len(data) >= file.size())
        if not at_end:
            self._still = (-1, 0.0)
            return Block(data, last=False)
        return Block(data, final if newest else self._is_still(file, self.at + len(data)))

    def _is_still(self, file: LogFile, size: int) -> bool:
        """Whether a file that has a newer one is not written to any more."""
        if file.compressed or len(self.files) > 2 or file.is_deleted():
            return True
        now = self._clock()
        if self._still[0] != size:
            self._still = (size, now)
        return now - self._still[1] >= self._linger_seconds

    def advance(self, data: bytes, consumed: int) -> None:
        """Stands behind the first `consumed` bytes of what was read."""
        if len(self._head) < HEAD_BYTES and self.at == len(self._head):
            self._head += data[: min(consumed, HEAD_BYTES - len(self._head))]
        self._tail = (self._tail + data[max(0, consumed - TAIL_BYTES) : consumed])[-TAIL_BYTES:]
        self.at += consumed

    def next_file(self) -> None:
        """Goes over to the next newer file, where there is one."""
        file = self.files.pop(0)
        done = DoneFile(file.head(), self.at, head_of(self._tail))
        self._done.append(done)
        if file.compressed:
            file.close()
        else:
            self._left.append(LeftFile(file, done, self._clock() + LATE_SECONDS))
        self._stand_at_start()

    def late(self) -> bytes:
        """What came to a file after it was left for the next one; empty for nothing. It is told once.

        Where nothing was read of the next one yet, the file is gone back to instead.
        """
        now = self._clock()
        for number, left in enumerate(self._left):
            try:
                data = left.more()
            except OSError as error:
                self.losses.append(Loss(LOST_LINES, f"{left.file.path}: {error}; what came to it late is missing"))
            else:
                if data and self.at == 0:
                    self._go_back(self._left.pop(number))
                    return b""
                if data:
                    self._left[number] = more = left.taken(len(data))
                    # A place that is noted from here on counts them as read.
                    self._done = deque((more.done if one == left.done else one for one in self._done), _DONE_FILES)
                    return data
                if not left.is_over(now):
                    continue
            left.file.close()
            del self._left[number]
            return b""
        return b""

    def _go_back(self, left: LeftFile) -> None:
        self.files.insert(0, left.file)
        if left.done in self._done:
            self._done.remove(left.done)
        self.at = left.done.size
        self._head = left.file.read(0, min(self.at, HEAD_BYTES))
        self._tail = left.file.before(self.at)
        self._still = (-1, 0.0)

    def _stand_at_start(self) -> None:
        self.at, self._head, self._tail = 0, b"", b""
        self._still = (-1, 0.0)

    def _was_truncated(self, file: LogFile) -> bool:
        """Looks whether what was read of the file is not in it any more, and if so where it is now.

        Who copies and truncates leaves a copy with what was not read yet; else that is lost.
        """
        if file.size() >= self.at and file.read(0, len(self._known_head(file))) == self._head:
            return False
        place = self.place()
        assert place is not None
        for path, key in reversed(self._list()):
            if key == file.key:
                continue
            try:
                copy = LogFile(path, self._roots)
            except (OSError, NotAllowedError):
                continue
            if is_at(copy, place.head, place.at, place.tail):
                self.files.insert(0, copy)
                return True
            copy.close()
        self.losses.append(
            Loss(
                LOST_LINES,
                f"{file.path} was truncated after {self.at} bytes of it had been read: what it had behind them, if "
                "anything, is missing; nobody knows how much",
            )
        )
        size = file.size()
        if self._head and len(self._head) <= size < self.at and file.begins_with(head_of(self._head)):
            # Only its end was cut off: what is left was read.
            self.at, self._tail = size, file.before(size)
        else:
            self._stand_at_start()
        return True

    def _known_head(self, file: LogFile) -> bytes:
        if not self._head and self.at:
            # After a restart, when the file was compared with its place already.
            self._head = file.read(0, min(self.at, HEAD_BYTES))
        return self._head

    # Where it stands

    def stand(self) -> tuple[int, bytes, bytes]:
        """What `stand_again` takes, to undo an `advance`."""
        return self.at, self._head, self._tail

    def stand_again(self, stand: tuple[int, bytes, bytes]) -> None:
        """Stands where it stood, in the same file."""
        self.at, self._head, self._tail = stand

    def pending_bytes(self) -> int:
        """Bytes of the file that is being read that were not read yet; of a compressed one, all of it."""
        return max(0, self.files[0].size() - (0 if self.files[0].compressed else self.at)) if self.files else 0

    def place(self) -> Place | None:
        """Where it stands now; None before anything was read."""
        if not self.files:
            return None
        file = self.files[0]
        head = self._known_head(file)
        return Place(
            file.key,
            head_of(head),
            self.at,
            head_of(self._tail),
            tuple(self._done),
        )

    def has_news(self) -> bool:
        """Whether there may be something to read: quick, for looking often."""
        if not self.files:
            return False
        if len(self.files) > 1 or self.files[0].compressed:
            return True
        return self.files[0].size() != self.at

    def is_gone(self) -> bool:
        """Whether nothing of the log has a name any more: nothing will come but what is held."""
        return all(file.is_deleted() for file in self.files) and not os.path.lexists(self.path)

    def held_bytes(self) -> int:
        """Bytes on the disk that are there only because they are held."""
        return sum(file.size() for file in self.files if file.is_deleted())

    def close(self) -> None:
        """Lets go of all files."""
        for file in (*self.files, *(left.file for left in self._left)):
            file.close()
        self.files, self._left = [], []
