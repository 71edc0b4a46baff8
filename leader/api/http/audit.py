"""The audit log for the admin UI: a page of it, newest first."""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from joblog.errors import Corrupt, InvalidInput
from joblog.identity import AUDIT_NAMESPACE, AUDIT_TASK
from joblog.leader.access.audit_line import parse_line
from joblog.leader.api.http.catalog import Cursor, Limit
from joblog.leader.api.http.context import ApiContext, Context
from joblog.leader.api.http.paging import read_lines
from joblog.leader.buffer.every import logs_of_run, runs_of
from joblog.leader.buffer.store import Store
from joblog.v1 import types_pb2

router = APIRouter(prefix="/api/v1", tags=["access"])

_BLOCK = 500
# Of those that a filter leaves out, so many are looked at for one page.
_MAX_LOOKED_AT = 20_000
_CURSOR = re.compile(r"([0-9a-f\-]{1,40})/([1-9][0-9]{0,9})/([1-9][0-9]{0,17})")

Text = Annotated[str, Query(max_length=400)]


class Who(BaseModel):
    """Whom the leader took the caller for; empty texts: for nobody."""

    kind: str = ""
    name: str = ""
    id: str = ""


class AuditLine(BaseModel):
    """What somebody did. count: so many acts alike."""

    time: str
    sequence: int
    action: str
    outcome: str
    who: Who
    peer: str
    subject: str
    detail: dict[str, str]
    count: int


class AuditPage(BaseModel):
    """Lines of the audit log, newest first."""

    lines: list[AuditLine]
    damaged: int = Field(description="Lines that are not as they were written; `joblog audit verify` says more")
    next_cursor: str = Field(description="Give it as `cursor` for the next page; empty on the last one")


@router.get("/audit")
async def read_audit(
    *,
    context: Context,
    action: Annotated[Text, Query(description="As `log.delete` or `token.*`")] = "*",
    outcome: Text = "",
    who: Annotated[Text, Query(description="A name or an id")] = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> AuditPage:
    """Who did what, newest first. A page may hold fewer than `limit`, or none, and still have a next one."""
    page = AuditPage(lines=[], damaged=0, next_cursor="")
    looked_at = 0
    for record in await context.reader.run(functools.partial(_logs_before, context.store, cursor)):
        end = record.newlines
        while end:
            first = max(0, end - min(_BLOCK, 2 * limit))
            for number, line in reversed(await _lines(context, record, first, end)):
                found = _parse(line)
                page.damaged += found is None
                if found is not None and _fits(found, action, outcome, who):
                    page.lines.append(found)
                looked_at += 1
                if len(page.lines) == limit or looked_at == _MAX_LOOKED_AT:
                    page.next_cursor = f"{record.id.run}/{record.id.attempt}/{number}"
                    return page
            end = first
    return page


def _logs_before(store: Store, cursor: str) -> list[types_pb2.LogRecord]:
    """The logs of the chain up to where the cursor is, newest first, `newlines` being the lines that are to be read."""
    match = _CURSOR.fullmatch(cursor)
    if cursor and match is None:
        raise InvalidInput(f"cursor {cursor[:40]!r} is not one that this leader gave: begin again without one")
    found: list[types_pb2.LogRecord] = []
    for run in sorted((run.run for run in runs_of(store, AUDIT_NAMESPACE)), reverse=True):
        if match is not None and run > match[1]:
            continue
        for record in reversed(list(logs_of_run(store, AUDIT_NAMESPACE, run, AUDIT_TASK))):
            if match is not None and run == match[1] and record.id.attempt >= int(match[2]):
                if record.id.attempt > int(match[2]):
                    continue
                record.newlines = min(record.newlines, int(match[3]) - 1)
            found.append(record)
    return found


async def _lines(context: ApiContext, record: types_pb2.LogRecord, first: int, end: int) -> list[tuple[int, bytes]]:
    """Lines (from 1) beyond `first`, up to `end`, with their numbers."""
    found: list[tuple[int, bytes]] = []
    at = first + 1
    while at <= end:
        page = await read_lines(context.reader, record.number, at, end - at + 1)
        found += [(line.line, line.data) for line in page.lines if line.line <= end]
        if page.next_line <= at:
            break
        at = page.next_line
    return found


def _parse(line: bytes) -> AuditLine | None:
    try:
        return AuditLine.model_validate(parse_line(line))
    except (Corrupt, ValueError):
        return None


def _fits(line: AuditLine, action: str, outcome: str, who: str) -> bool:
    return (
        fnmatch.fnmatchcase(line.action, action)
        and outcome in ("", line.outcome)
        and who in ("", line.who.name, line.who.id)
    )
