"""Joining over reconnects against a model: whatever is cut and rotated, no line comes twice, and none is left out."""

from __future__ import annotations

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from joblog.formats import rfc3339_nano
from joblog.worker.cluster.joining import Join
from joblog.worker.cluster.lines import PIECE_BYTES, LineReader

BASE_US = 1_767_000_000_000_000


class Container:
    """A log file as the kubelet serves it: lines with times, of which the first ones may be rotated away."""

    def __init__(self, seed: int, count: int, *, spread_us: int, alike: bool) -> None:
        rng = random.Random(seed)
        us = BASE_US
        self.lines: list[tuple[int, bytes]] = []
        for number in range(count):
            us += rng.randrange(spread_us + 1)
            # stdout and stderr may be out of order by a little.
            shown = us - rng.randrange(3) if spread_us > 3 and rng.random() < 0.1 else us
            text = b"." if alike and rng.random() < 0.7 else b"line %d" % number
            self.lines.append((shown, text + b"\n"))

    def serve(self, since_us: int, begin: int, end: int) -> bytes:
        floor = since_us // 10**6 * 10**6
        lines = [(us, text) for us, text in self.lines[begin:end] if us >= floor]
        return b"".join(rfc3339_nano(us * 1000).encode() + b" " + text for us, text in lines)

    def text(self, count: int) -> bytes:
        return b"".join(text for _, text in self.lines[:count])


def taken(join: Join, data: bytes, pieces: random.Random, *, whole: bool = False) -> bytes:
    """What one connection gives; cut anywhere unless it is whole."""
    join.begin()
    reader, found, at = LineReader(), b"", 0
    while at < len(data):
        size = pieces.randrange(1, 400)
        for line in reader.feed(data[at : at + size]):
            found += join.take(line)
        at += size
    return found + (b"".join(join.take(line) for line in reader.finish()) if whole else b"")


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 300),
    spread_us=st.sampled_from([0, 1, 5, 1000, 400_000, 3_000_000]),
    alike=st.booleans(),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    again=st.sampled_from(["same", "restarted", "elsewhere"]),
)
def test_a_log_is_the_same_however_often_its_connection_is_cut(
    *, seed: int, count: int, spread_us: int, alike: bool, cuts: list[float], again: str
) -> None:
    container, rng = Container(seed, count, spread_us=spread_us, alike=alike), random.Random(seed)
    join, log = Join(), b""
    stored: list[tuple[int, bytes]] = []
    for cut in [*sorted(cuts), 1.0]:
        data = container.serve(join.since_us, 0, count)
        is_last = cut == 1.0
        data = data if is_last else data[: int(len(data) * cut)]
        new = taken(join, data, rng, whole=is_last)
        log += new
        assert not join.lost
        assert container.text(count).startswith(log)
        stored = container.lines[: log.count(b"\n")]
        if again == "restarted":
            join = Join.decode(json.loads(json.dumps(join.encode())))
        elif again == "elsewhere":
            join = _from_leader(stored, rng)
    assert log == container.text(count)


def _from_leader(stored: list[tuple[int, bytes]], rng: random.Random) -> Join:
    """As another watcher finds it: bytes and frames, whose times never go back; and only the last of them."""
    times, last = [], 0
    for us, _ in stored:
        last = max(last, us)
        times.append(last)
    begin = rng.randrange(len(stored)) if len(stored) > 150 and rng.random() < 0.3 else 0
    if begin and len(stored) - begin < 130:
        begin = 0
    if begin:
        # A tail begins where it is cut, within a group of equal times too; that is asked for large enough.
        while begin and times[begin - 1] == times[begin]:
            begin -= 1
    data = b"".join(text for _, text in stored[begin:])
    return Join.of_tail(data, times[begin:], [len(text) for _, text in stored[begin:]], whole=begin == 0)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(10, 300), cut=st.floats(0, 1), rotated=st.floats(0, 1))
def test_a_rotation_leaves_the_head_and_what_is_missing_is_noticed(
    seed: int, count: int, cut: float, rotated: float
) -> None:
    container, rng = Container(seed, count, spread_us=1000, alike=False), random.Random(seed)
    join = Join()
    data = container.serve(0, 0, count)
    log = taken(join, data[: int(len(data) * cut)], rng)
    have, begin = log.count(b"\n"), int(count * rotated)
    more = taken(join, container.serve(join.since_us, begin, count), rng, whole=True)
    if begin <= have:
        assert log + more == container.text(count)
        assert not join.lost or begin == have
    else:
        # Lines between were never served: those are missing, nothing is twice, and it is known.
        assert log + more == log + b"".join(text for _, text in container.lines[begin:])
        assert join.lost == (have > 0 and begin < count)


def test_a_long_line_goes_on_where_it_was_cut() -> None:
    text = bytes(random.Random(1).randbytes(3 * PIECE_BYTES)).replace(b"\n", b" ") + b"\n"
    data = rfc3339_nano(BASE_US * 1000).encode() + b" " + text + rfc3339_nano(BASE_US * 1000 + 5000).encode() + b" end"
    for cut in range(100, len(data), 300_001):
        join = Join()
        join.begin()
        first = b"".join(join.take(line) for line in LineReader().feed(data[:cut]))
        join = Join.decode(json.loads(json.dumps(join.encode())))
        join.begin()
        reader = LineReader()
        second = b"".join(join.take(line) for line in [*reader.feed(data), *reader.finish()])
        assert first + second == text + b"end", cut


def test_where_nothing_is_known_again_what_may_have_been_taken_is_left_out() -> None:
    lines = [rfc3339_nano((BASE_US + number * 1000) * 1000).encode() + b" %d\n" % number for number in range(10)]
    assert not Join.of_tail(b"middle of a line", [BASE_US + 4000], [16], whole=False).is_known
    join = Join.after(BASE_US + 4000)
    join.begin()
    found = b"".join(join.take(line) for line in LineReader().feed(b"".join(lines)))
    assert (found, join.lost) == (b"5\n6\n7\n8\n9\n", True)


def test_lines_of_the_very_time_of_the_last_one_are_new_where_they_are_new() -> None:
    stamp = rfc3339_nano(BASE_US * 1000).encode()
    join = Join()
    join.begin()
    first = b"".join(join.take(line) for line in LineReader().feed(stamp + b" a\n" + stamp + b" a\n"))
    join.begin()
    # One of the two that were taken, and the kubelet has rotated the other one away.
    data = stamp + b" a\n" + stamp + b" b\n"
    assert first + b"".join(join.take(line) for line in LineReader().feed(data)) == b"a\na\nb\n"
    join.begin()
    assert b"".join(join.take(line) for line in LineReader().feed(stamp + b" c\n")) == b"c\n"
    assert join.lost
