"""Events lie between bytes, also where a segment ends and the next one begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from joblog.worker.spool.format import EVENT
from tests.unit.spool.spool_building import append, make_writer, open_reader


@pytest.mark.parametrize("before", [0, 700])
def test_an_event_at_the_end_of_a_segment_comes_again_after_seek(tmp_path: Path, before: int) -> None:
    writer = make_writer(tmp_path, segment_bytes=1000, task_bytes=64_000)
    if before:
        append(writer, bytes(before))
    writer.append_event("kind", "said")
    append(writer, bytes(900))
    assert len(list(Path(writer.folder).glob("*.seg"))) == 2
    reader = open_reader(writer.folder)
    for _ in range(2):
        reader.seek(before)
        assert [(record.kind == EVENT, record.offset) for record in reader.read(1 << 20)] == [
            (True, before),
            (False, before),
        ]
    reader.close()
    writer.close()
