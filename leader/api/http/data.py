"""Routes for a log's bytes and lines, a page at a time."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from typing import Annotated, Any, Literal, NamedTuple

import zstandard
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from joblog.errors import InvalidInput
from joblog.leader.api.http.content import Chunk, Frames, Line, Lines
from joblog.leader.api.http.context import LOG_PATH, ApiContext, Context, NamedLog
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
# The cheapest first.
_PACKERS = {
    "zstd": functools.partial(zstandard.compress, level=1),
    "gzip": functools.partial(gzip.compress, compresslevel=1),
}


class _Asked(NamedTuple):
    """All that a reply depends on: who asks for the same may have the same."""

    number: int
    spec: ReadSpec
    wait_seconds: float
    seen_ns: int | None
    as_json: bool
    with_text: bool
    packing: str


class _Reply(NamedTuple):
    """What is sent."""

    body: bytes
    media_type: str
    headers: dict[str, str]


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


async def _polling(request: Request) -> Polling:
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
        gap_follows=page.gap_follows,
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


def _octets(page: Page, events_seen: str) -> _Reply:
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
    return _Reply(page.data(), "application/octet-stream", headers)


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
    asked = _Asked(
        number,
        ReadSpec(start, limit_bytes=limit, stream=STREAMS[stream] if stream else None, with_frames=frames),
        wait_seconds=wait,
        seen_ns=int(events_seen) if events_seen else None,
        as_json=format == "json",
        with_text=text,
        packing=_packing(request),
    )
    read = functools.partial(_read_reply, context, polling, asked)
    reply = await context.turns.take(asked, read, following=wait > 0)
    if wait > 0:
        polling.count_reply()
    # Each has headers of its own: they are added to on the way out.
    return Response(reply.body, media_type=reply.media_type, headers=reply.headers)


async def _read_reply(context: ApiContext, polling: Polling, asked: _Asked) -> _Reply:
    page = await read_page(context.reader, asked.number, asked.spec)
    page = await await_page(
        context.reader,
        asked.number,
        asked.spec,
        page,
        wait_seconds=asked.wait_seconds,
        closing=context.closing,
        events_seen=asked.seen_ns,
    )
    seen = str(max([asked.seen_ns or 0, *(event.time_ns for event in page.events)]))
    if not asked.as_json:
        return _octets(page, seen)
    pause_seconds = 0.0
    if asked.wait_seconds > 0:
        polling.count_read(page.next_offset - page.offset)
        pause_seconds = polling.pause_seconds()
    chunk = _chunk(
        page, seen, with_frames=asked.spec.with_frames, with_text=asked.with_text, pause_seconds=pause_seconds
    )
    body, headers = chunk.model_dump_json().encode(), {"Vary": "Accept-Encoding"}
    if len(body) >= _PACKED_FROM_BYTES and asked.packing:
        body = await context.reader.run(functools.partial(_PACKERS[asked.packing], body))
        headers["Content-Encoding"] = asked.packing
    return _Reply(body, "application/json", headers)


def _packing(request: Request) -> str:
    """How replies are packed for who asks, the cheapest way; empty: not at all."""
    known = request.headers.get("accept-encoding", "")
    taken = {
        name.strip() for name, _, weight in (one.partition(";") for one in known.split(",")) if weight.strip() != "q=0"
    }
    return next((name for name in _PACKERS if name in taken), "")


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
    read = functools.partial(read_lines, context.reader, number, first, count)
    page = await context.turns.take(("lines", number, first, count), read)
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
