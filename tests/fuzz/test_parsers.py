"""Any bytes at all: an answer or an error of joblog's, soon, and in bounded memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblog.errors import JoblogError
from tests.fuzz.mutation import CORPUS, bounded, corpus_of, mutated
from tests.fuzz.targets import targets

TARGETS = targets()
# Beyond what the inputs themselves take.
MAX_BYTES = 64 << 20


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_is_good_is_taken(name: str) -> None:
    for data in TARGETS[name].good:
        if name not in ("writer", "spool_header", "leader_file"):
            TARGETS[name].read(data)


def test_the_corpus_has_no_folder_of_a_target_that_is_gone() -> None:
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} <= {*TARGETS, "grpc", "spool"}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_corpus(name: str) -> None:
    for data in corpus_of(name):
        _read(name, data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_any_bytes(name: str) -> None:
    seeds = [*TARGETS[name].good, *corpus_of(name)]

    @bounded()
    @given(st.data())
    def run(chosen: st.DataObject) -> None:
        _read(name, chosen.draw(mutated(seeds)))

    tracemalloc.start()
    try:
        run()
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()


def _read(name: str, data: bytes) -> None:
    try:
        TARGETS[name].read(data)
    except JoblogError as error:
        # A message goes to terminals and logs: short, whatever the input.
        assert len(str(error)) < 2000
