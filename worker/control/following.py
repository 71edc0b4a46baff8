"""One spool read from an offset on, while it is written and shipped, for somebody who watches on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from joblog.batch import CODEC_ZSTD, inflate, unpack_frames
from joblog.worker.spool.format import DATA, GAP
from joblog.worker.spool.reader import Record, SpoolReader
from joblog.worker.spool.sealing import SpoolKey, no_keys

_SHORT_WAIT_SECONDS = 0.01
_LONG_WAIT_SECONDS = 0.1
_SUPERVISOR_DIED = 4


class Piece(NamedTuple):
    """kind "frame": bytes of one stream. "gap": length bytes that are not there. "end": nothing follows; see outcome"""

    kind: str
    offset: int
    stream: int = 0
    time_ns: int = 0
    data: bytes = b""
    length: int = 0
    reason: str = ""
    outcome: dict[str, Any] | None = None


class Follower:
    """Reads a spool without a trace: what is shipped and released does not depend on it."""

    def __init__(self, folder: str, offset: int, keys: Callable[[str], SpoolKey | None] = no_keys) -> None:
        self._reader = SpoolReader(Path(folder), keys)
        self._reader.seek(offset)
        self._wait_seconds = _SHORT_WAIT_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def read(self, max_bytes: int) -> list[Piece]:
        """The next pieces, about max_bytes of them; [] when there is nothing new. Ends with one of kind "end"."""
        alive = self._reader.alive()
        records = self._reader.read(max_bytes)
        if records:
            self._wait_seconds = _SHORT_WAIT_SECONDS
            return [piece for record in records for piece in _pieces(record)]
        if self._reader.ended is not None:
            return [Piece("end", self._reader.offset, outcome=dict(self._reader.ended.outcome))]
        if not alive:
            return [Piece("end", self._reader.offset, outcome={"kind": _SUPERVISOR_DIED})]
        return []

    async def wait(self, ending: asyncio.Task[bytes]) -> None:
        """Waits a moment before the next look, longer each time in vain; not beyond the end of `ending`."""
        await asyncio.wait([ending], timeout=self._wait_seconds)
        self._wait_seconds = min(_LONG_WAIT_SECONDS, 1.5 * self._wait_seconds)


def _pieces(record: Record) -> list[Piece]:
    if record.kind == GAP:
        reason = json.loads(record.body).get("reason", "")
        return [Piece("gap", record.offset, length=record.raw_length, reason=reason)]
    if record.kind != DATA:
        return []
    raw = inflate(record.payload, record.raw_length) if record.codec == CODEC_ZSTD else record.payload
    frames = unpack_frames(record.frames, record.raw_length)
    pieces: list[Piece] = []
    at = begin = first = 0
    for index, (stream, length) in enumerate(zip(frames.streams, frames.lengths, strict=True)):
        if index == 0 or stream != frames.streams[index - 1]:
            begin, first = at, index
        at += length
        # Neighbours of one stream go as one piece, with the time of the first.
        if index + 1 == len(frames.streams) or frames.streams[index + 1] != stream:
            time_ns = record.first_time_ns + 1000 * frames.times_us[first]
            pieces.append(Piece("frame", record.offset + begin, stream, time_ns, raw[begin:at], at - begin))
    return pieces
