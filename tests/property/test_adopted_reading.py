"""Reads of adopted logs, plain and packed, from any place, held against the plain bytes in the object."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joblog.leader.adoption import writing
from joblog.leader.archive import foreign_gzip, foreign_reader
from joblog.leader.archive.foreign_folder import ForeignFolder
from joblog.leader.archive.foreign_reader import ForeignReader
from joblog.leader.reading.piece import ReadSpec, Start, StartKind
from joblog.v1.archive_pb2 import ForeignRange
from tests.adopting import AdoptingSite, OldFolder
from tests.archiving import CountedPuts
from tests.examples import examples

LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=60)


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Ranges, windows and steps of some bytes, so that short texts have many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "RANGE_BYTES", 16)
        patch.setattr(foreign_reader, "_FIRST_BYTES", 16)
        patch.setattr(foreign_reader, "_MOST_BYTES", 64)
        patch.setattr(foreign_reader, "_STEP_BYTES", 24)
        patch.setattr(foreign_reader, "_PLACES", 3)
        patch.setattr(foreign_gzip, "_READ_BYTES", 7)
        patch.setattr(foreign_gzip, "_OUT_BYTES", 9)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, small: None) -> Iterator[tuple[AdoptingSite, OldFolder]]:
    old = OldFolder(tmp_path_factory.mktemp("old"))
    leader = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp()))
    site = AdoptingSite(leader / "leader", CountedPuts(leader / "archive"), ForeignFolder(old.root))
    yield site, old
    site.close()


@settings(max_examples=examples(40), deadline=None)
@given(
    LINES,
    st.booleans(),
    st.lists(st.integers(0, 700), max_size=3),
    st.lists(st.tuples(st.sampled_from(StartKind), st.integers(0, 800), st.none() | st.integers(1, 300)), max_size=8),
)
def test_reads_are_those_of_the_plain_bytes(
    place: tuple[AdoptingSite, OldFolder],
    lines: list[bytes],
    last_newline: bool,
    cuts: list[int],
    reads: list[tuple[StartKind, int, int | None]],
) -> None:
    site, old = place
    text = b"\n".join(lines) + (b"\n" if last_newline else b"")
    number = site.store.next_number()
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    members = [gzip.compress(text[begin:end]) for begin, end in pairwise(places)]
    packed = b"".join(members) or gzip.compress(b"")
    old.put(f"n/b/plain/j{number}/logs.txt", text)
    old.put(f"n/b/packed/j{number}/logs.txt.gz", packed)
    totals, found = site.adopt(url=f"{old.url}/n", rule="{jobType}/{task}/{run}/logs.txt", namespace="n")
    assert totals.adopted == 2, found
    reader = site.new_reader()
    site.reader = reader
    for task in ("plain", "packed"):
        log = site.record("n", f"j{number}", task)
        assert asyncio.run(site.text(log.number)) == text
        for kind, value, limit in reads:
            begin = where(text, kind, value)
            if begin is None:
                continue
            spec = ReadSpec(Start(kind, value), limit_bytes=limit)
            assert asyncio.run(site.text(log.number, spec)) == text[begin:][:limit]
        assert asyncio.run(site.verify(log.number)).unchanged


def where(text: bytes, kind: StartKind, value: int) -> int | None:
    """Where a read begins; None where it lies beyond the end."""
    if kind is StartKind.OFFSET:
        return value if value <= len(text) else None
    if kind is StartKind.LAST_BYTES:
        return max(0, len(text) - value)
    starts = [0, *(at + 1 for at, byte in enumerate(text) if byte == 10)]
    if kind is StartKind.LINE:
        return starts[value - 1] if 1 <= value <= len(starts) else None
    if not value:
        return len(text)
    ends_open = bool(text) and not text.endswith(b"\n")
    first = len(starts) - (0 if ends_open else 1) - value
    return starts[max(0, first)]


def test_places_to_go_on_from_are_bounded(tmp_path: Path) -> None:
    old = OldFolder(tmp_path / "old")
    text = bytes(range(256)) * 20_000
    old.put("logs.txt.gz", gzip.compress(text))
    source = ForeignFolder(old.root)
    info = source.look("logs.txt.gz")
    reader = ForeignReader([source])
    for at in (*range(0, len(text) - 1000, 40_000), 17, len(text) - 1000):
        wanted = ForeignRange(
            url=f"{old.url}/logs.txt.gz", object_bytes=info.size, etag=info.etag, gzip=True, position=at
        ).SerializeToString()
        part = text[at : at + 1000]
        assert reader.text(wanted, 1000, google_crc32c.value(part)) == part
    kept = next(iter(reader._kept.values()))
    assert len(kept.places) <= 64
    assert kept.size_bytes <= foreign_reader.DEFAULT_CACHE_BYTES
