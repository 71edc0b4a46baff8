"""Files that were read to their end and left for the next one: a runtime may still have had lines for them."""

from __future__ import annotations

from typing import NamedTuple

from joblog.worker.following.files import LogFile, head_of
from joblog.worker.following.place import DoneFile

# For so long such a file is looked at: on a busy machine what usually takes no time may take some.
LATE_SECONDS = 30.0
# So much of what came late is taken at once.
_LATE_BYTES = 1 << 20


class LeftFile(NamedTuple):
    """A file that was read as far as `done` says, which is no longer looked at after `until`."""

    file: LogFile
    done: DoneFile
    until: float

    def more(self) -> bytes:
        """What came behind what was read of it; empty for nothing. Raises OSError."""
        if not self.file.compressed and self.file.size() <= self.done.size:
            return b""
        data = self.file.read(self.done.size, _LATE_BYTES)
        # Of more than is taken at once the last line goes on.
        return data if len(data) < _LATE_BYTES else data[: data.rfind(b"\n") + 1] or data

    def taken(self, length: int) -> LeftFile:
        """The same when so many bytes more of it were read."""
        size = self.done.size + length
        return self._replace(done=self.done._replace(size=size, tail=head_of(self.file.before(size))))

    def is_over(self, now: float) -> bool:
        """Whether nothing comes to it any more, as far as anybody waits for that."""
        return self.file.compressed or now > self.until
