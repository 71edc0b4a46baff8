"""The route for a whole log as one HTTP resource, with ranges.

Bytes in gaps are sent as NUL bytes, so that a byte's place in the body is its offset in the log; Joblog-Gaps lists
them. What turns out to be missing beyond them breaks the transfer off: a client never takes it for the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import zlib
from collections.abc import AsyncGenerator
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from joblog.errors import Corrupt
from joblog.identity import LogName
from joblog.leader.api.http.context import LOG_PATH, Context, NamedLog
from joblog.leader.api.http.data import gap_headers
from joblog.leader.api.http.facts import Gap
from joblog.leader.api.http.replies import ErrorReply, Problem
from joblog.leader.api.http.words import state_word
from joblog.leader.reading.piece import MAX_OFFSET, PIECE_BYTES, Piece, ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LogReader
from joblog.v1 import types_pb2

log = logging.getLogger(__name__)

router = APIRouter(prefix="/api/v1")

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})\Z", re.ASCII)
# Whatever a log holds, no browser is to take it for anything else (with `nosniff`, which every reply carries).
_TEXT = "text/plain; charset=utf-8"
_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_ZEROS = bytes(PIECE_BYTES)
_GZIP = "application/gzip"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_GZIP_LEVEL = 4
_GZIP_FORMAT = 31


class ByteRange(NamedTuple):
    """Bytes [start, end) of a representation."""

    start: int
    end: int


def parse_range(header: str | None, length: int) -> ByteRange | None:
    """The range that a Range header asks for of `length` bytes.

    None: all of it, as the header is missing, not understood, or asks for several. An empty range: not satisfiable.
    """
    match = _RANGE.match(header.replace(" ", "")) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        count = int(last)
        return ByteRange(max(0, length - count), length) if count and length else ByteRange(0, 0)
    start = int(first)
    if last and int(last) < start:
        return None
    end = min(int(last) + 1, length) if last else length
    return ByteRange(start, end) if start < end else ByteRange(0, 0)


def etag_of(record: types_pb2.LogRecord) -> str | None:
    """A strong entity tag of a completed log: what it is made of can't change. None for others."""
    if record.state != types_pb2.LOG_STATE_COMPLETED:
        return None
    seal = record.seal
    if seal.gaps or not seal.sha256:
        places = b"".join(gap.SerializeToString(deterministic=True) for gap in seal.gaps)
        return f'"{hashlib.sha256(record.uid + seal.sha256 + places).hexdigest()}-{seal.length}"'
    return f'"{seal.sha256.hex()}-{seal.length}"'


def file_name(name: LogName, attempt: int) -> str:
    """A name for a log as a file: letters, digits, `.`, `_` and `-` only, so that no system takes it for more."""
    return _NOT_IN_FILE_NAMES.sub("_", f"{name.run}-{name.task.lstrip('@')}-{attempt}.log")


def _lists(header: str, etag: str) -> bool:
    return header.strip() == "*" or etag in (part.strip().removeprefix("W/") for part in header.split(","))


@router.head(LOG_PATH + "/raw", include_in_schema=False)
@router.get(
    LOG_PATH + "/raw",
    tags=["bytes"],
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/plain": _BINARY, _GZIP: _BINARY}},
        206: {"description": "The range asked for"},
        304: {"description": "The client has it already"},
        416: {"description": "No byte of the range is there", "model": ErrorReply},
    },
)
async def get_raw(
    *,
    context: Context,
    name: NamedLog,
    request: Request,
    from_offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Only from this byte on")] = 0,
    until_offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Only up to this byte; 0: to the end")] = 0,
    gz: Annotated[bool, Query(description="As a gzip file")] = False,
    inline: Annotated[bool, Query(description="For a browser to show, not to save")] = False,
) -> Response:
    """All bytes of a log so far, or one range of them (Range, If-Range). Completed logs have a strong ETag.

    A part that from_offset and until_offset name, and a gzip file, have neither ranges nor an ETag.
    """
    record = (await context.reader.details(name)).record
    length = record.next_offset
    way = "inline" if inline and not gz else "attachment"
    if gz or from_offset or until_offset:
        end = min(until_offset or length, length)
        part = ByteRange(min(from_offset, end), end)
        return _part(context.reader, record, name, part, gz=gz, way=way)
    gaps = list(record.gaps or record.seal.gaps)
    etag = etag_of(record)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'{way}; filename="{file_name(name, record.id.attempt)}"',
        "Joblog-State": state_word(record.state),
        **gap_headers([Gap.of(gap) for gap in gaps]),
    }
    if etag is not None:
        headers["ETag"] = etag
        headers["Cache-Control"] = "private, no-cache"
        if (known := request.headers.get("if-none-match")) is not None and _lists(known, etag):
            return Response(status_code=304, headers=headers)
    asked = parse_range(request.headers.get("range"), length)
    condition = request.headers.get("if-range")
    if asked is not None and condition is not None and condition.strip() != etag:
        asked = None
    if asked is not None and asked.start == asked.end:
        problem = Problem(code="OUT_OF_RANGE", message=f"the log has {length} bytes: no byte of the range")
        return Response(
            ErrorReply(error=problem).model_dump_json(),
            status_code=416,
            media_type="application/json",
            headers={"Content-Range": f"bytes */{length}", "Accept-Ranges": "bytes"},
        )
    part = asked or ByteRange(0, length)
    headers["Content-Length"] = str(part.end - part.start)
    if asked is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{length}"
    status = 200 if asked is None else 206
    if request.method == "HEAD" or part.start == part.end:
        return Response(status_code=status, media_type=_TEXT, headers=headers)
    body = _body(context.reader, record.number, part, gaps)
    return StreamingResponse(body, status_code=status, media_type=_TEXT, headers=headers)


def _part(
    reader: LogReader, record: types_pb2.LogRecord, name: LogName, part: ByteRange, *, gz: bool, way: str
) -> Response:
    gaps = list(record.gaps or record.seal.gaps)
    file = file_name(name, record.id.attempt)
    if part != (0, record.next_offset):
        file = f"{file.removesuffix('.log')}-{part.start}-{part.end}.log"
    headers = {
        "Content-Disposition": f'{way}; filename="{file}{".gz" if gz else ""}"',
        "Joblog-State": state_word(record.state),
        **gap_headers([Gap.of(gap) for gap in gaps]),
    }
    body = _body(reader, record.number, part, gaps)
    if gz:
        return StreamingResponse(_packed(body), media_type=_GZIP, headers=headers)
    headers["Content-Length"] = str(part.end - part.start)
    return StreamingResponse(body, media_type=_TEXT, headers=headers)


async def _packed(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """As a gzip file; packed beside the event loop, a piece at a time."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    async with contextlib.aclosing(body):
        async for data in body:
            if packed := await asyncio.to_thread(packer.compress, data):
                yield packed
    yield packer.flush()


async def _body(
    reader: LogReader, number: int, part: ByteRange, gaps: list[types_pb2.Gap]
) -> AsyncGenerator[bytes, None]:
    """The bytes of a range, gaps filled with zeros."""
    if part.start == part.end:
        return
    spec = ReadSpec(Start(StartKind.OFFSET, part.start), limit_bytes=part.end - part.start)
    async with contextlib.aclosing(reader.read(number, spec)) as pieces:
        async for piece in pieces:
            left = part.end - piece.offset
            if left <= 0:
                break
            if piece.gap is None:
                if piece.data:
                    yield piece.data if len(piece.data) <= left else piece.data[:left]
                continue
            _check_declared(piece, gaps)
            size = min(piece.gap.length, left)
            while size > 0:
                yield _ZEROS[:size]
                size -= len(_ZEROS)


def _check_declared(piece: Piece, gaps: list[types_pb2.Gap]) -> None:
    """Raises Corrupt when the piece's gap is not one that the headers told of."""
    assert piece.gap is not None
    begin, end = piece.gap.offset, piece.gap.offset + piece.gap.length
    if not any(gap.offset <= begin and end <= gap.offset + gap.length for gap in gaps):
        raise Corrupt(f"offsets {begin} to {end} are missing: the transfer is broken off")
