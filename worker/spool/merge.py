"""Joins consecutive small data records into one batch for the wire."""

from __future__ import annotations

from collections.abc import Sequence

from joblog.v1 import types_pb2
from joblog.worker.spool.reader import Record


def merge(records: Sequence[Record]) -> types_pb2.Batch:
    """One batch of DATA records that follow each other without a gap; the offset is records[0].offset.

    A single compressed record with a CRC passes through untouched. The caller keeps their raw lengths together within
    the batch limit.
    """
    raise NotImplementedError
