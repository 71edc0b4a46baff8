"""One log on its way from its files to its spool."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from joblog.batch import pack_frames, unpack_frames
from joblog.worker.following.follower import Block, Follower
from joblog.worker.following.place import decode_place
from joblog.worker.following.rates import Rates
from joblog.worker.following.source import Found, state_of
from joblog.worker.formats.decoded import Decoded, Format, Plain
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.record import frames_from

log = logging.getLogger(__name__)

# What is read at once. A line that is longer than that is no line of a container's log.
BLOCK_BYTES = 512 << 10
# What comes in smaller pieces is gathered, for at most so long after the piece before: each costs as much as some
# hundred lines. Somebody who watches the log waits less.
GATHER_BYTES = 256 << 10
GATHER_SECONDS = 0.5
WATCHED_GATHER_SECONDS = 0.1
_STUCK_SECONDS = 0.25
# A log of which something can't be taken until its source was looked at is tried again so soon.
_ASK_SECONDS = 0.05


def codec(name: str) -> Format:
    """The codec of that name. Raises KeyError."""
    if name == "plain":
        return Plain()
    # numpy is loaded where a container's log is.
    from joblog.worker.formats.cri import Cri
    from joblog.worker.formats.docker_json import DockerJson

    codecs: dict[str, Format] = {"cri": Cri(), "docker": DockerJson()}
    return codecs[name]


class Track:
    """Belongs to its lane's thread; what has no underscore may be looked at by others.

    quiet_since: when (monotonic) all that is there was read; 0: there is more. gone: nothing of the log has a name any
    more. stuck: the spool is full. outcome: how the log is to end, once all is read. is_watched: whether somebody tails
    the log of a spool.
    """

    def __init__(
        self,
        found: Found,
        follower: Follower,
        writer: FollowedWriter,
        rates: Rates,
        is_watched: Callable[[str], bool] = lambda _spool_id: False,
    ) -> None:
        self.found = found
        self.follower = follower
        self.writer = writer
        self.quiet_since = 0.0
        self.gone = False
        self.stuck = False
        self.outcome: Mapping[str, object] | None = None
        self.ended = False
        self._rates = rates
        self._is_watched = is_watched
        self._format: Format | None = codec(found.format) if found.format else None
        self._last_ns = 0
        self._skip = 0
        self._wrote_at = 0.0
        self._retry_at = 0.0
        self._torn_bytes = 0
        self._odd_lines_told = False
        self._limited_told = False
        self._at_limit = False

    def begin(self) -> bool:
        """Stands where the spool says, or at the start of a new log; False: its files can't be had now."""
        recovered = self.writer.recovered
        if recovered is None or not recovered.position:
            if not self.follower.files and not self.follower.begin(self.found.max_files):
                return False
            self._skip = self.writer.length
        else:
            said: dict[str, Any] = json.loads(recovered.position)
            self.follower.close()
            if not self.follower.resume(decode_place(said["place"])):
                return False
            self._format = codec(said["format"])
            self._last_ns = max(int(said["time"]), recovered.last_time_ns)
            self._skip = recovered.length - recovered.position_offset
        self._tell_losses()
        return True

    def tell(self, found: Found) -> None:
        """Goes by what its source says now."""
        if found.until_ns != self.found.until_ns:
            self.quiet_since = 0.0
        self.found = found

    def refresh(self) -> None:
        """Looks for newer files, and whether there are any left."""
        self.follower.refresh()
        self.gone = self.follower.is_gone()
        # Not before what is in the spool behind its last position: a position that is noted here counts that as read.
        if not self._skip and (late := self.follower.late()):
            self._take_late(late)

    def _take_late(self, data: bytes) -> None:
        """Lines that came to a file when its successor was being read already: they go in here, and it is said."""
        decoded = self._decoded(data, last=True)
        position = self._position(self._last_ns)
        if not self.writer.append_decoded(decoded.raw, decoded.frames, decoded.first_time_ns, position):
            self.writer.discard_decoded(decoded.raw, position)
        message = f"{len(decoded.raw)} bytes were written to a rotated file when its successor was being read already"
        log.warning("%s: %s", self.found.key, message)
        self.writer.append_event("late_lines", message)

    def is_due(self, now: float) -> bool:
        """Whether it is worth a step now."""
        if now < self._retry_at:
            return False
        if self.outcome is not None:
            return True
        if not self.follower.has_news():
            if not self.quiet_since:
                self.quiet_since = now
            return False
        since = now - self._wrote_at
        if since >= GATHER_SECONDS or len(self.follower.files) > 1 or self.follower.pending_bytes() >= GATHER_BYTES:
            return True
        return since >= WATCHED_GATHER_SECONDS and self._is_watched(self.writer.spool_id)

    def step(self, now: float, *, must_drop: bool = False) -> bool:
        """Takes one block along; True when there may be more at once.

        must_drop: what has no room becomes a gap, where it would be lost with its file otherwise.
        """
        room = self.writer.has_room(BLOCK_BYTES) and self._may_read()
        drop = must_drop and not room and bool(self.follower.files) and self.follower.files[0].is_deleted()
        if not room and not drop:
            self.stuck, self._retry_at = True, now + _STUCK_SECONDS
            return False
        self.stuck = False
        final = self.outcome is not None and len(self.follower.files) <= 1
        block = self.follower.read(min(BLOCK_BYTES, self.writer.record_bytes), final=final)
        self._tell_losses()
        # After reading: what another run wrote came after the witness was written anew.
        if self.found.witness and state_of(self.found.witness) not in ((), self.found.witness_state):
            self.quiet_since, self._retry_at = 0.0, now + _ASK_SECONDS
            return False
        block = self._within(block)
        decoded = self._decoded(block.data, last=block.last)
        if decoded.consumed:
            self.quiet_since = 0.0
            return self._take(block.data, decoded, now, drop=drop)
        if self._at_limit:
            self.quiet_since, self._retry_at = self.quiet_since or now, now + _STUCK_SECONDS
            return self._end()
        if not block.last:
            self._note_quiet(len(block.data), now)
            return self._end_where_nothing_is()
        if len(self.follower.files) > 1:
            self.follower.next_file()
            return True
        return self._end()

    def _within(self, block: Block) -> Block:
        """What of a block belongs to this run, and not to the one after it."""
        self._at_limit = False
        if self.found.until_ns and block.data:
            from joblog.worker.formats.docker_json import written_until

            length = written_until(block.data, self.found.until_ns)
            if length < len(block.data):
                self._at_limit = True
                return Block(block.data[:length], last=True)
        return block

    def _note_quiet(self, torn_bytes: int, now: float) -> None:
        """Nothing but the start of a line is there: quiet, unless it has grown."""
        if torn_bytes != self._torn_bytes or len(self.follower.files) > 1:
            self._torn_bytes, self.quiet_since = torn_bytes, 0.0
        elif not self.quiet_since:
            self.quiet_since = now

    def _may_read(self) -> bool:
        if self._rates.may_read(self.found.group):
            return True
        if not self._limited_told:
            self._limited_told = True
            message = (
                f"the byte rate of {self.found.group} is reached: its logs are read more slowly than they are written"
            )
            self.writer.append_event("rate_limited", message)
        return False

    def _decoded(self, data: bytes, *, last: bool) -> Decoded:
        if not data:
            return Decoded(0)
        if self._format is None:
            self._format = codec("docker" if data.startswith(b"{") else "cri")
        now_ns = time.time_ns()
        decoded = self._format.decode(data, whole=last, after_ns=self._last_ns, now_ns=now_ns)
        if not decoded.consumed and len(data) >= min(BLOCK_BYTES, self.writer.record_bytes):
            # No line at all: it is taken over as it is.
            decoded = self._format.decode(data, whole=True, after_ns=self._last_ns, now_ns=now_ns)
        return decoded

    def _take(self, data: bytes, decoded: Decoded, now: float, *, drop: bool) -> bool:
        stand = self.follower.stand()
        self.follower.advance(data, decoded.consumed)
        last_ns = max(self._last_ns, decoded.last_time_ns)
        skipped = min(self._skip, len(decoded.raw))
        kept = _without(decoded, skipped)
        position = self._position(last_ns)
        if drop:
            self.writer.discard_decoded(kept.raw, position)
        elif not self.writer.append_decoded(kept.raw, kept.frames, kept.first_time_ns, position):
            self.follower.stand_again(stand)
            self.stuck, self._retry_at = True, now + _STUCK_SECONDS
            return False
        self._rates.took(self.found.group, len(data))
        self._skip -= skipped
        self._last_ns = last_ns
        self._wrote_at = now
        if decoded.odd_lines and not self._odd_lines_told:
            self._odd_lines_told = True
            message = (
                f"lines that are not in the format {self._format.name if self._format else ''} are taken as they are"
            )
            self.writer.append_event("odd_lines", message)
        return True

    def _position(self, last_ns: int) -> bytes:
        place = self.follower.place()
        assert place is not None
        assert self._format is not None
        return json.dumps({"place": place.encode(), "format": self._format.name, "time": last_ns}).encode()

    def _tell_losses(self) -> None:
        for loss in self.follower.losses:
            log.warning("%s: %s", self.found.key, loss.message)
            self.writer.append_event(loss.kind, loss.message)
        self.follower.losses.clear()

    def _end_where_nothing_is(self) -> bool:
        if self.outcome is not None and not self.follower.files:
            return self._end()
        return False

    def _end(self) -> bool:
        if self.outcome is None or self.ended:
            return False
        if self.writer.end(self.outcome):
            self.ended = True
        else:
            self._retry_at = time.monotonic() + _STUCK_SECONDS
        return False

    def close(self) -> None:
        """Lets go of files and spool; the log goes on where it is taken up again."""
        self.follower.close()
        if not self.ended:
            self.writer.note()
            self.writer.close()


def _without(decoded: Decoded, skip: int) -> Decoded:
    """What is behind the first `skip` bytes of the log."""
    if not skip:
        return decoded
    raw = decoded.raw[skip:]
    if not raw:
        return decoded._replace(raw=b"", frames=b"")
    frames, later_us = frames_from(unpack_frames(decoded.frames, len(decoded.raw)), skip)
    return decoded._replace(raw=raw, frames=pack_frames(frames), first_time_ns=decoded.first_time_ns + later_us * 1000)
