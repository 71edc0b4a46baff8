"""A shipper can be done with a spool before its writer is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.format import SpoolTask
from joblog.worker.spool.segments import Segments
from joblog.worker.spool.writer import SpoolWriter


def test_a_spool_that_is_shipped_and_removed_while_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "spool" / "a1"
    writer = SpoolWriter(folder, SpoolTask(writer_id=bytes(16), namespace="n", run="r", task="t"), SpoolBounds(1 << 20))
    sync = Segments.sync

    def removed_first(segments: Segments) -> None:
        shutil.rmtree(folder)
        sync(segments)

    monkeypatch.setattr(Segments, "sync", removed_first)
    assert writer.end({"kind": 1})
