"""Key codecs of the store: reversible, ordered as what they stand for, and never running into each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joblog.leader.buffer import keys
from joblog.leader.buffer.chunk import ChunkHeader, gap_header, pack_gap, unpack_chunk

U64 = st.integers(0, 2**64 - 1)
NAMES = st.from_regex(r"@?[A-Za-z0-9_\-:+=~][A-Za-z0-9._\-:+=~]{0,8}", fullmatch=True)
ATTEMPTS = st.integers(1, 2**31 - 1)
LOG_NAMES = st.tuples(NAMES, NAMES, NAMES, ATTEMPTS)


@given(st.tuples(U64, U64), st.tuples(U64, U64))
def test_chunk_keys(one: tuple[int, int], two: tuple[int, int]) -> None:
    assert keys.parse_chunk_key(keys.chunk_key(*one)) == one
    assert keys.number_of(keys.chunk_key(*one)) == one[1]
    assert (keys.chunk_key(*one) < keys.chunk_key(*two)) == (one < two)


def name_order(name: tuple[str, str, str, int]) -> tuple[bytes, bytes, bytes, int]:
    namespace, run, task, attempt = name
    return namespace.encode(), run.encode(), task.encode(), attempt


@given(LOG_NAMES, LOG_NAMES)
def test_attempt_keys(one: tuple[str, str, str, int], two: tuple[str, str, str, int]) -> None:
    assert keys.parse_attempt_key(keys.attempt_key(*one)) == one
    assert (keys.attempt_key(*one) < keys.attempt_key(*two)) == (name_order(one) < name_order(two))
    within = keys.attempt_prefix(*one[:2]) <= keys.attempt_key(*two) < keys.after(keys.attempt_prefix(*one[:2]))
    assert within == (one[:2] == two[:2])
    within = keys.attempt_prefix(*one[:3]) <= keys.attempt_key(*two) < keys.after(keys.attempt_prefix(*one[:3]))
    assert within == (one[:3] == two[:3])


@given(st.tuples(U64, NAMES), st.tuples(U64, NAMES))
def test_positions_put_the_newest_first(one: tuple[int, str], two: tuple[int, str]) -> None:
    assert keys.parse_position(keys.position(*one)) == one
    order = [(-created, run.encode()) for created, run in (one, two)]
    assert (keys.position(*one) < keys.position(*two)) == (order[0] < order[1])


@given(NAMES, NAMES, NAMES, NAMES)
def test_run_keys(namespace: str, run: str, other: str, other_run: str) -> None:
    key = keys.run_key(namespace, run)
    assert keys.namespace_of(key) == namespace
    assert (key < keys.namespace_end(other)) == (namespace.encode() <= other.encode())
    assert (key == keys.run_key(other, other_run)) == ((namespace, run) == (other, other_run))


@given(U64, U64, U64, st.text(max_size=5), U64)
def test_a_logs_prefixes_hold_its_keys_only(number: int, offset: int, time_ns: int, kind: str, other: int) -> None:
    for prefix, key in (
        (keys.event_prefix, keys.event_key(number, offset, time_ns, kind)),
        (keys.gap_prefix, keys.gap_key(number, offset)),
        (keys.u64, keys.chunk_key(number, offset)),
    ):
        assert key.startswith(prefix(number))
        assert key.startswith(prefix(other)) == (number == other)


@given(st.binary(min_size=1, max_size=9).filter(lambda prefix: prefix.strip(b"\xff")), st.binary(max_size=9))
def test_after_is_beyond_the_prefix_and_no_further(prefix: bytes, more: bytes) -> None:
    assert prefix + more < keys.after(prefix)
    assert not (prefix + b"\xff" * 20 < more < keys.after(prefix) and not more.startswith(prefix))


@given(U64, st.booleans())
def test_writer_values(number: int, deleted: bool) -> None:
    assert keys.unpack_writer(keys.pack_writer(number, deleted=deleted)) == (number, deleted)


U32 = st.integers(0, 2**32 - 1)
HEADERS = st.builds(ChunkHeader, st.just(1), st.integers(0, 2**16 - 1), U32, U64, U64, U64, U32, U32, st.just(0))


@given(HEADERS, st.binary(max_size=50))
def test_chunk_headers(header: ChunkHeader, sealed: bytes) -> None:
    assert unpack_chunk(header.pack() + sealed) == (header, sealed)


@given(U64, st.integers(0, 255), U64, U64, U64)
def test_gap_chunks(raw: int, reason: int, newlines: int, before: int, time_ns: int) -> None:
    header = gap_header(raw, reason, newlines, before, time_ns)
    assert unpack_chunk(pack_gap(header)) == (header, b"")
