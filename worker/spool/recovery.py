"""Takes up a spool whose writer has ended without ending the log: what is in it, and where to go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from joblog.worker.spool.format import DATA, END, GAP, POSITION, segment_name
from joblog.worker.spool.record import record_at
from joblog.worker.spool.scan import EOF, WHOLE, SegmentScan, segment_numbers
from joblog.worker.spool.sealing import SpoolCipher


class Recovered(NamedTuple):
    """length, lines: of the log as far as it is there. last_time_ns: no frame of it is later, as far as that is known.

    position: what the writer noted last (empty: nothing), and the log's length then. ended: the log has its end.
    first_offsets: of each segment that is there.
    """

    length: int
    lines: int
    last_time_ns: int
    position: bytes
    position_offset: int
    ended: bool
    first_offsets: dict[int, int]


def recover(folder: str, cipher: SpoolCipher | None) -> Recovered:
    """Reads what is there, cuts off what is torn, and removes segments that tell nothing.

    For the one that holds the spool's lock. Raises Corrupt where a record with a position does not open.
    """
    state = Recovered(0, 0, 0, b"", 0, False, {})
    numbers = segment_numbers(Path(folder))
    first_offsets: dict[int, int] = {}
    found = False
    for number in reversed(numbers):
        scan = SegmentScan(Path(folder), number, sealed=cipher is not None)
        try:
            if scan.first_offset is None:
                # Torn before its first record.
                os.unlink(f"{folder}/{segment_name(number)}")
                continue
            first_offsets[number] = scan.first_offset
            if found:
                continue
            read = _read(scan, cipher, scan.first_offset)
            state = state._replace(
                length=max(state.length, read.length),
                lines=max(state.lines, read.lines),
                last_time_ns=max(state.last_time_ns, read.last_time_ns),
                position=state.position or read.position,
                position_offset=state.position_offset if state.position else read.position_offset,
                ended=state.ended or read.ended,
            )
            found = bool(state.position)
        finally:
            scan.close()
    return state._replace(first_offsets=first_offsets)


def _read(scan: SegmentScan, cipher: SpoolCipher | None, first_offset: int) -> Recovered:
    """What one segment tells; its torn end is cut off."""
    length, lines, last_ns, position, position_offset, ended = first_offset, 0, 0, b"", 0, False
    while (found := scan.look()) == WHOLE:
        header = scan.header
        if header.kind in (DATA, GAP):
            length = max(length, header.offset + header.raw_length)
            last_ns = max(last_ns, header.first_time_ns if header.kind == DATA else 0)
        lines = max(lines, header.lines_before + header.newlines)
        if header.kind == POSITION:
            position = record_at(header, scan.data, scan.at, cipher).body
            position_offset = header.offset
        ended = ended or header.kind == END
        scan.skip()
    if found != EOF:
        scan.cut()
    return Recovered(length, lines, last_ns, position, position_offset, ended, {})
