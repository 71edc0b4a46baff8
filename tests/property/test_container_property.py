"""Archive objects of any shape come back as written; damage of any kind is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joblog.errors import Corrupt, WrongVersion
from joblog.leader.archive import container
from joblog.leader.archive.container import FOOTER_BYTES, KIND_PACK, KIND_SEALED
from tests.chunks import ChunkMaker, values
from tests.examples import examples

Logs = list[tuple[bytes, list[tuple[int, bytes]]]]


@st.composite
def _logs(draw: st.DrawFn) -> Logs:
    found: Logs = []
    for _ in range(draw(st.integers(1, 4))):
        maker = ChunkMaker()
        maker.offset = draw(st.sampled_from([0, 1, 2**32, 2**63]))
        chunks = []
        for size in draw(st.lists(st.integers(1, 300), max_size=6)):
            maker.offset += draw(st.sampled_from([0, 0, 0, 1, 2**20]))
            is_gap = draw(st.integers(0, 5)) == 0
            chunks.append(maker.gap(size * 10**9, size) if is_gap else maker.data(os.urandom(size)))
        found.append((maker.uid, values(chunks)))
    return found


def read(data: bytes, size: int) -> Logs:
    """All that an object holds, every check made."""
    container.check_magic(data[:8])
    footer = container.read_footer(data[-FOOTER_BYTES:], size)
    index = container.read_index(data[footer.index_position :][: footer.index_length], footer)
    found: Logs = []
    for uid, log in index.logs.items():
        records = [container.entry_record(data, entry.position, entry) for entry in log]
        if records:
            place = container.log_range(log)
            assert list(container.walk_records(data[place.position : place.position + place.length])) == records
        found.append((uid, [(record.offset, record.value) for record in records]))
    return found


@given(_logs())
def test_round_trip(logs: Logs) -> None:
    data = b"".join(container.write_container(KIND_PACK, logs))
    assert read(data, len(data)) == logs


def _flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def test_any_flipped_bit_is_noticed() -> None:
    maker = ChunkMaker()
    logs: Logs = [(maker.uid, values([maker.data(b"one\n"), maker.gap(9, 2), maker.data(b"two\n")]))]
    data = b"".join(container.write_container(KIND_SEALED, logs))
    for at in range(len(data) * 8):
        with pytest.raises((Corrupt, WrongVersion)):
            read(_flip(data, at), len(data))


@settings(max_examples=examples(200))
@given(st.data())
def test_cut_inserted_and_swapped_bytes_are_noticed(chosen: st.DataObject) -> None:
    logs = chosen.draw(_logs())
    data = b"".join(container.write_container(KIND_PACK, logs))
    # Not a number of bytes: how many there are is not the same each time.
    places = st.floats(0, 1)
    start, end = sorted(round(chosen.draw(places) * len(data)) for _ in range(2))
    changes: list[Callable[[], bytes]] = [
        lambda: data[:end],
        lambda: data[start:],
        lambda: data[:start] + data[end:],
        lambda: data[:start] + data[start:end] + data[start:],
        lambda: data[:start] + os.urandom(end - start) + data[end:],
        lambda: data[:start] + bytes(end - start) + data[end:],
    ]
    changed = chosen.draw(st.sampled_from(changes))()
    if changed == data:
        return
    with pytest.raises((Corrupt, WrongVersion)):
        read(changed, len(changed))


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    readers: list[Callable[[], object]] = [
        lambda: list(container.walk_records(data)),
        lambda: container.read_footer(data, len(data)),
    ]
    for reader in readers:
        with pytest.raises((Corrupt, WrongVersion)):
            reader()
