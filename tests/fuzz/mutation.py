"""Inputs for parsers: what is known of a format, cut, changed, doubled and spliced in places that hypothesis picks.

FUZZ_EXAMPLES says how many each target gets; `make test` takes few, `make fuzz` many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
CORPUS = Path(__file__).parent / "corpus"
# Numbers at which lengths and counts go wrong, and what text formats trip over.
_EDGES = (
    b"\0", b"\xff", b"\x7f", b"\0" * 8, b"\xff" * 4, b"\xff" * 8, b"\x7f" + b"\xff" * 3, b"\x80" + b"\0" * 7,
    b'"', b"{", b"[", b"]}", b"null", b"-1", b"1e999", b"Infinity", b"NaN", b"9" * 30, b"\\ud800", b"[" * 3000,
    b'{"a":' * 3000, b"\xed\xa0\x80", b"\n", b"\r", b"..", b"/", b"%2e", "\u202e".encode(),
)  # fmt: skip

Mutation = Callable[[bytes, int, int, bytes], bytes]
_MUTATIONS: tuple[Mutation, ...] = (
    lambda data, start, end, more: data[:start] + bytes(byte ^ 1 << end % 8 for byte in data[start : start + 1])
    + data[start + 1 :],
    lambda data, start, end, more: data[:start],
    lambda data, start, end, more: data[:start] + data[end:],
    lambda data, start, end, more: data[:start] + more + data[start:],
    lambda data, start, end, more: data[:start] + more + data[start + len(more) :],
    lambda data, start, end, more: data[:end] + data[start:],
    lambda data, start, end, more: data[:start] + data[start:end][::-1] + data[end:],
)  # fmt: skip


def bounded(examples: int = EXAMPLES) -> settings:
    """Settings of a fuzz test."""
    return settings(max_examples=examples, deadline=5000, suppress_health_check=list(HealthCheck))


def corpus_of(target: str) -> list[bytes]:
    """What is kept for a target: inputs that once broke it among them."""
    return [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed, changed up to four times; now and then any bytes."""
    if draw(st.integers(0, 15)) == 0:
        return draw(st.binary(max_size=300))
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start, end = sorted(round(draw(st.floats(0, 1)) * len(data)) for _ in range(2))
        more = draw(st.one_of(st.sampled_from(_EDGES), st.binary(max_size=12)))
        data = draw(st.sampled_from(_MUTATIONS))(data, start, end, more)
    return data
