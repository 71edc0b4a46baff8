"""Which runs a request is about: parameters that lists and searches share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BeforeValidator, Field

from joblog.errors import InvalidInput
from joblog.identity import check_name
from joblog.leader.api.http import names
from joblog.leader.api.http.words import RunStateName
from joblog.leader.buffer.store import RunFilter
from joblog.v1 import types_pb2


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f"label {text[:60]!r}: write KEY=VALUE")
    return check_name("label", key), value


def _is_written_out(value: Any) -> Any:
    """Refuses a mere number, which could be taken for seconds or for milliseconds."""
    if isinstance(value, str) and "-" not in value[1:]:
        raise ValueError("write a date and a time, as 2026-01-31T12:00:00Z")
    return value


_Label = Annotated[str, Field(json_schema_extra={"pattern": names.LABEL})]
_When = Annotated[datetime | None, BeforeValidator(_is_written_out)]


def _nanoseconds(when: datetime | None) -> int:
    if when is None:
        return 0
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    past = aware - datetime(1970, 1, 1, tzinfo=UTC)
    nanoseconds = (past.days * 86400 + past.seconds) * 10**9 + past.microseconds * 1000
    # Before 1970 is before everything, and 0 would be no bound; beyond the year 2262 is after everything.
    return min(max(1, nanoseconds), 2**63 - 1)


async def _runs_wanted(
    *,
    state: Annotated[list[RunStateName] | None, Query(description="Any of these")] = None,
    label: Annotated[list[_Label] | None, Query(description="KEY=VALUE; all of these")] = None,
    created_from: Annotated[_When, Query(description="Created at this time or later")] = None,
    created_before: Annotated[_When, Query(description="Created before this time")] = None,
    text: Annotated[str, Query(max_length=250, description="In the run's name or a label KEY=VALUE")] = "",
) -> RunFilter:
    return RunFilter(
        frozenset(types_pb2.RunState.Value(f"RUN_STATE_{name.upper()}") for name in state or ()),
        tuple(map(_label, label or ())),
        _nanoseconds(created_from),
        _nanoseconds(created_before),
        text,
    )


RunsWanted = Annotated[RunFilter, Depends(_runs_wanted)]
