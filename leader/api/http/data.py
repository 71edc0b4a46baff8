"""Routes for a log's bytes and lines, a page at a time."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from joblog.errors import InvalidInput
from joblog.leader.api.http.content import Chunk, Frames, Line, Lines
from joblog.leader.api.http.context import LOG_PATH, Context, NamedLog
from joblog.leader.api.http.facts import Event, Gap
from joblog.leader.api.http.paging import Page, await_page, read_lines, read_page
from joblog.leader.api.http.polling import Polling
from joblog.leader.api.http.words import STREAMS, StreamName, state_word, tier_word
from joblog.leader.reading.piece import FROM_THE_BEGINNING, MAX_OFFSET, ReadSpec, Start, StartKind
from joblog.leader.reading.selection import join_frames

router = APIRouter(prefix="/api/v1")

DEFAULT_LIMIT_BYTES = 1 << 20
MAX_LIMIT_BYTES = 8 << 20
MAX_WAIT_SECONDS = 60
MAX_LINES = 10_000
# A header that grows with the number of gaps would be refused by clients and proxies.
MAX_HEADER_GAPS = 50
# Smaller replies are not worth the work.
_PACKED_FROM_BYTES = 16 << 10
_PACKING_LEVEL = 1


def gap_headers(gaps: list[Gap]) -> dict[str, str]:
    """Joblog-Gaps (JSON, the first ones) and Joblog-Gap-Count."""
    if not gaps:
        return {}
    listed = json.dumps([gap.model_dump() for gap in gaps[:MAX_HEADER_GAPS]], separators=(",", ":"))
    return {"Joblog-Gaps": listed, "Joblog-Gap-Count": str(len(gaps))}


def _start(offset: int | None, line: int | None, tail: int | None, tail_bytes: int | None) -> Start:
    asked = {
        StartKind.OFFSET: offset,
        StartKind.LINE: line,
        StartKind.LAST_LINES: tail,
        StartKind.LAST_BYTES: tail_bytes,
    }
    given = [Start(kind, value) for kind, value in asked.items() if value is not None]
    if len(given) > 1:
        raise InvalidInput("offset, line, tail and tail_bytes: at most one of them may be given")
    return given[0] if given else FROM_THE_BEGINNING


def _polling(request: Request) -> Polling:
    """That of the application: made when the first one asks."""
    state = request.app.state
    if not hasattr(state, "polling"):
        state.polling = Polling()
    found: Polling = state.polling
    return found


def _chunk(page: Page, events_seen: str, *, with_frames: bool, with_text: bool, pause_seconds: float) -> Chunk:
    data = page.data()
    return Chunk(
        offset=page.offset,
        next_offset=page.next_offset,
        first_offset=page.first_offset,
        line=page.line,
        state=state_word(page.state),  # type: ignore[arg-type]
        tier=tier_word(page.tier),
        gaps=[Gap.of(gap) for gap in page.gaps],
        events=[Event.of(event) for event in page.events],
        events_seen=events_seen,
        poll_after_ms=round(pause_seconds * 1000),
        data_base64=base64.b64encode(data).decode(),
        text=_text(data) if with_text else None,
        frames=_frames(page) if with_frames else None,
    )


def _frames(page: Page) -> Frames:
    """All frames of the page, as columns."""
    columns = join_frames(page.frames)
    return Frames(
        streams=list(columns.streams),
        starts=[offset - page.offset for offset in columns.offsets],
        lengths=list(columns.lengths),
        times_us=[time_ns // 1000 for time_ns in columns.times_ns],
    )


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _octets(page: Page, events_seen: str) -> Response:
    headers = {
        "Joblog-Offset": str(page.offset),
        "Joblog-Next-Offset": str(page.next_offset),
        "Joblog-First-Offset": str(page.first_offset),
        "Joblog-Line": str(page.line),
        "Joblog-State": state_word(page.state),
        "Joblog-Tier": tier_word(page.tier),
        "Joblog-Events-Seen": events_seen,
        **gap_headers([Gap.of(gap) for gap in page.gaps]),
    }
    return Response(page.data(), media_type="application/octet-stream", headers=headers)


_BYTES_REPLY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Contiguous bytes from Joblog-Offset on; go on at Joblog-Next-Offset. Gaps between the offset "
        "asked for and the first byte are listed in Joblog-Gaps.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get(LOG_PATH + "/bytes", tags=["bytes"], response_model=Chunk, responses=_BYTES_REPLY)
async def get_bytes(
    *,
    request: Request,
    polling: Annotated[Polling, Depends(_polling)],
    context: Context,
    name: NamedLog,
    offset: Annotated[int | None, Query(ge=0, le=MAX_OFFSET, description="First byte; the default is 0")] = None,
    line: Annotated[int | None, Query(ge=1, le=MAX_OFFSET, description="Begin at this line, from 1")] = None,
    tail: Annotated[int | None, Query(ge=0, le=MAX_OFFSET, description="Begin at the last so many lines")] = None,
    tail_bytes: Annotated[int | None, Query(ge=0, le=MAX_OFFSET, description="Begin at the last so many bytes")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT_BYTES, description="Bytes at most")] = DEFAULT_LIMIT_BYTES,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_SECONDS, description="When nothing is there yet, wait for so many seconds")
    ] = 0,
    stream: Annotated[StreamName | None, Query(description="Only what this stream wrote")] = None,
    events_seen: Annotated[
        str, Query(pattern=r"^\d{0,19}$", description="events_seen of the page before: tells each event once")
    ] = "",
    frames: Annotated[bool, Query(description="With format=json: when and by which stream what was written")] = False,
    text: Annotated[bool, Query(description="With format=json: the data as text, too")] = True,
    format: Annotated[Literal["octets", "json"], Query(description="Bytes with headers, or JSON")] = "octets",  # noqa: A002
) -> Response:
    """A page of a log's bytes. It ends before a gap that follows a byte, so that the bytes in it are contiguous."""
    start = _start(offset, line, tail, tail_bytes)
    number = await context.reader.find(name)
    spec = ReadSpec(start, limit_bytes=limit, stream=STREAMS[stream] if stream else None, with_frames=frames)
    seen_ns = int(events_seen) if events_seen else None
    async with context.turns.turn():
        page = await read_page(context.reader, number, spec)
    page = await await_page(
        context.reader, number, spec, page, wait_seconds=wait, closing=context.closing, events_seen=seen_ns
    )
    seen = str(max([seen_ns or 0, *(event.time_ns for event in page.events)]))
    if format == "octets":
        return _octets(page, seen)
    pause_seconds = polling.pause_seconds(page.next_offset - page.offset) if wait > 0 else 0.0
    async with context.turns.turn():
        chunk = _chunk(page, seen, with_frames=frames, with_text=text, pause_seconds=pause_seconds)
        return await _json(request, chunk)


async def _json(request: Request, chunk: Chunk) -> Response:
    body = chunk.model_dump_json().encode()
    headers = {"Vary": "Accept-Encoding"}
    if len(body) >= _PACKED_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, _PACKING_LEVEL)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type="application/json", headers=headers)


@router.get(LOG_PATH + "/lines", tags=["bytes"])
async def get_lines(
    *,
    context: Context,
    name: NamedLog,
    first: Annotated[int, Query(alias="from", ge=1, le=MAX_OFFSET, description="First line, from 1")] = 1,
    count: Annotated[int, Query(ge=1, le=MAX_LINES, description="Lines at most")] = 100,
) -> Lines:
    """Lines of a log; fewer than asked for when they are long (4 MiB in a reply) or the log ends."""
    number = await context.reader.find(name)
    async with context.turns.turn():
        page = await read_lines(context.reader, number, first, count)
    lines = []
    for line in page.lines:
        text = _text(line.data)
        encoded = None if text is not None else base64.b64encode(line.data).decode()
        lines.append(Line(line=line.line, offset=line.offset, complete=line.complete, text=text, data_base64=encoded))
    return Lines(
        lines=lines,
        gaps=[Gap.of(gap) for gap in page.gaps],
        next_line=page.next_line,
        next_offset=page.next_offset,
        state=state_word(page.state),  # type: ignore[arg-type]
    )
