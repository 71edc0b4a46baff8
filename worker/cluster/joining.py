"""Joins what the log API sends after a reconnect to what is there: no line twice, none left out.

The API gives lines from a time on, to the second, and what the kubelet has not rotated away. So some come again. Known
again they are by time and content: the last ones that were taken are kept, whole groups of equal times, as many equal
lines as there were. Of a log that another watcher has written, they come from the leader.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from joblog.worker.cluster.lines import Line

KEEP_LINES = 64
MAX_KEPT = 4096
_DIGEST_BYTES = 8
# A line is known by its beginning, so that one that came in pieces is known again.
_DIGESTED_BYTES = 64 << 10
_ENTRY = struct.Struct(f"<Q{_DIGEST_BYTES}sI")
# Lines of both streams of a container may be written in another order than their times have.
_DISORDER_US = 2_000_000


class Key(NamedTuple):
    """By what a line is known again."""

    us: int
    digest: bytes


def key_of(us: int, text: bytes) -> Key:
    """The key of a line, or of one that begins with this piece."""
    return Key(us, hashlib.blake2b(text[:_DIGESTED_BYTES].removesuffix(b"\n"), digest_size=_DIGEST_BYTES).digest())


class Join:
    """What was taken of one container's log, as far as it takes to know it again."""

    def __init__(self) -> None:
        # Equal lines in a row count as one entry.
        self._last: deque[tuple[Key, int]] = deque()
        self._open: tuple[Key, int] | None = None
        self._pending: Counter[Key] = Counter()
        # Of the leader's frames, which never go back in time: lines that may have been written earlier than they say.
        self._later: Counter[bytes] = Counter()
        self._joining = False
        self._hit = False
        self._max_us = 0
        self._skip_bytes = 0
        self._skip_line = False
        self._key = Key(0, b"")
        self._written = 0
        # Nothing of what was taken last came again: lines between may be missing.
        self.lost = False

    @property
    def is_known(self) -> bool:
        """Whether there is anything to know lines again by."""
        return bool(self._last) or self._open is not None

    @property
    def since_us(self) -> int:
        """From when on the API is to send; 0: from the beginning."""
        if self._last:
            return self._last[0][0].us
        return self._open[0].us if self._open is not None else 0

    def begin(self) -> None:
        """A connection begins: what comes may be there already."""
        self._pending = Counter()
        for key, count in self._last:
            self._pending[key] += count
        self._max_us = max((key.us for key, _ in self._last), default=0)
        self._joining = bool(self._last)
        self._hit = self.lost = False
        self._skip_bytes, self._skip_line = 0, False

    def take(self, line: Line) -> bytes:
        """What of the line is new."""
        if line.begins:
            self._enter(key_of(line.us, line.text))
        if self._skip_line:
            return b""
        text = line.text[self._skip_bytes :]
        self._skip_bytes -= min(self._skip_bytes, len(line.text))
        self._written += len(text)
        if line.ends:
            self._open = None
            self._keep(self._key)
        else:
            self._open = self._key, self._written
        return text

    def _enter(self, key: Key) -> None:
        self._key, self._written, self._skip_bytes = key, 0, 0
        self._skip_line = self._joining and self._was_taken(key)
        if self._open is not None and key == self._open[0] and not self._skip_line:
            # Of this line a part was taken.
            self._skip_bytes = self._written = self._open[1]
            self._hit = True

    def _was_taken(self, key: Key) -> bool:
        if self._pending.get(key):
            self._pending[key] -= 1
            self._hit = True
            return True
        if self._open is not None and key == self._open[0]:
            return False
        if not self._hit:
            if key.us < self._max_us:
                # Before what is kept.
                return True
            self.lost = True
        elif self._later.get(key.digest) and key.us < self._max_us:
            self._later[key.digest] -= 1
            return True
        if key.us > self._max_us + _DISORDER_US or self.lost:
            self._joining = False
        return False

    def _keep(self, key: Key) -> None:
        if self._last and self._last[-1][0] == key:
            self._last[-1] = key, self._last[-1][1] + 1
            return
        self._last.append((key, 1))
        while len(self._last) > KEEP_LINES:
            # Whole groups of equal times go, so that the first line that is kept is the first of its time.
            group = 0
            while group < len(self._last) and self._last[group][0].us == self._last[0][0].us:
                group += 1
            if len(self._last) - group < KEEP_LINES and len(self._last) <= MAX_KEPT:
                return
            for _ in range(group):
                self._last.popleft()

    def encode(self) -> dict[str, Any]:
        """As JSON values."""
        packed = b"".join(_ENTRY.pack(*key, count) for key, count in self._last)
        found: dict[str, Any] = {"last": base64.b64encode(packed).decode()}
        if self._open is not None:
            (us, digest), written = self._open
            found["open"] = [us, digest.hex(), written]
        return found

    @classmethod
    def decode(cls, said: dict[str, Any]) -> Join:
        """The reverse. Raises ValueError, KeyError, TypeError, struct.error."""
        join = cls()
        for us, digest, count in _ENTRY.iter_unpack(base64.b64decode(said["last"])):
            join._last.append((Key(us, digest), count))
        if "open" in said:
            us, digest, written = said["open"]
            join._open = Key(int(us), bytes.fromhex(digest)), int(written)
        return join

    @classmethod
    def of_tail(cls, data: bytes, times_us: Sequence[int], lengths: Iterable[int], *, whole: bool) -> Join:
        """From a log's last bytes and their frames, each of which is a line or a piece of one.

        whole: the data begins with the log.
        """
        join, at, begun = cls(), 0, bytearray()
        begun_us = 0
        # What the tail begins with may be the rest of a line.
        known = whole
        for us, length in zip(times_us, lengths, strict=False):
            if not begun:
                begun_us = us
            begun += data[at : at + length]
            at += length
            if begun.endswith(b"\n"):
                if known:
                    key = key_of(begun_us, bytes(begun))
                    if join._last and join._last[-1][0].us == key.us:
                        join._later[key.digest] += 1
                    join._keep(key)
                known = True
                begun.clear()
        if begun and known:
            join._open = key_of(begun_us, bytes(begun)), len(begun)
        return join

    @classmethod
    def after(cls, us: int) -> Join:
        """Where no line is known to have been taken, and those up to this time may have been: they are left out."""
        join = cls()
        join._last.append((Key(us + 1, b""), 1))
        return join
