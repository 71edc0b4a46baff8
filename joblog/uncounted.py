"""Losses of which nobody knows how many bytes they are: events tell of them, as no gap could say its length."""

from __future__ import annotations

from collections.abc import Iterable

from joblog.v1 import types_pb2

# Of a log that is read from files of others: the start was gone before the first look; files went away unread.
START_MISSING = "start_missing"
LOST_LINES = "lost_lines"
KINDS = frozenset({START_MISSING, LOST_LINES})


def uncounted(events: Iterable[types_pb2.Event]) -> list[types_pb2.Event]:
    """The events that tell of bytes which are missing, nobody knows how many: with one of them no log is complete."""
    return [event for event in events if event.kind in KINDS]
