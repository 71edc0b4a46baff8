"""Lists of namespaces, runs and logs: order, filters, pages and hostile tokens."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from joblog.errors import InvalidInput
from joblog.leader.buffer import catalog
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import RunFilter, Store
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import LogRecord

Opener = Callable[..., LogRecord]


def pages(store: Store, where: RunFilter, limit: int) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        runs, token = store.list_runs("default", where, token, limit)
        found += [run.run for run in runs]
        if not token:
            return found


@pytest.fixture
def filled(store: Store, opener: Opener) -> Store:
    for index in range(30):
        labels = {"even": str(index % 2 == 0), "third": str(index % 3)}
        # Pairs of runs share their time: the name decides then.
        record = opener(store, run=f"r{index:02}", created_ns=1000 + index // 2, labels=labels)
        if index % 5 == 0:
            record.state = types_pb2.LOG_STATE_COMPLETED
            changes = Changes()
            changes.put_log(record)
            store.write(changes)
    opener(store, namespace="default.2", run="other", created_ns=5)
    return store


def wanted(keep: Callable[[int], bool]) -> list[str]:
    return [f"r{index:02}" for index in sorted(range(30), key=lambda i: (-(i // 2), i)) if keep(index)]


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_runs_come_newest_first_page_by_page(filled: Store, limit: int) -> None:
    live, failed = types_pb2.RUN_STATE_LIVE, types_pb2.RUN_STATE_FAILED
    assert pages(filled, RunFilter(), limit) == wanted(lambda _: True)
    assert pages(filled, RunFilter(frozenset({failed})), limit) == wanted(lambda i: i % 5 == 0)
    assert pages(filled, RunFilter(frozenset({live, failed})), limit) == wanted(lambda _: True)
    labels = (("even", "True"), ("third", "1"))
    assert pages(filled, RunFilter(labels=labels), limit) == wanted(lambda i: i % 2 == 0 and i % 3 == 1)
    both = RunFilter(frozenset({live}), (("even", "False"),), 1003, 1010)
    assert pages(filled, both, limit) == wanted(lambda i: i % 5 != 0 and i % 2 == 1 and 3 <= i // 2 < 10)
    assert pages(filled, RunFilter(labels=(("even", ""),)), limit) == []
    assert pages(filled, RunFilter(created_from_ns=1014), limit) == ["r28", "r29"]


def test_text_is_looked_for_in_names_and_labels(filled: Store) -> None:
    assert pages(filled, RunFilter(text="R1"), 7) == wanted(lambda i: 10 <= i < 20)
    assert pages(filled, RunFilter(text="third=2"), 100) == wanted(lambda i: i % 3 == 2)
    assert pages(filled, RunFilter(frozenset({types_pb2.RUN_STATE_FAILED}), text="=TRUE"), 100) == wanted(
        lambda i: i % 10 == 0
    )
    assert pages(filled, RunFilter(text="nothing"), 3) == []


def test_a_page_looks_at_a_bounded_number_of_runs(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "MAX_LOOKED", 4)
    first, token = filled.list_runs("default", RunFilter(text="r00"))
    assert (first, bool(token)) == ([], True)
    assert pages(filled, RunFilter(text="r00"), 100) == ["r00"]
    assert pages(filled, RunFilter(), 100) == wanted(lambda _: True)


def test_paging_goes_on_where_it_was_when_runs_are_added(filled: Store, opener: Opener) -> None:
    first, token = filled.list_runs("default", limit=10)
    opener(filled, run="newest", created_ns=9999)
    second, _ = filled.list_runs("default", page_token=token, limit=10)
    assert [run.run for run in first + second] == wanted(lambda _: True)[:20]


def test_namespaces(filled: Store, opener: Opener) -> None:
    for namespace in ("a", "a.b", "a-b", "z" * 250):
        opener(filled, namespace=namespace)
    every = sorted(["a", "a-b", "a.b", "default", "default.2", "z" * 250])
    assert filled.list_namespaces() == every
    assert filled.list_namespaces("a.b", 2) == ["default", "default.2"]
    assert filled.list_namespaces("z" * 250) == []


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_logs_of_a_run(store: Store, opener: Opener, limit: int) -> None:
    names = [(task, attempt) for task in ("@run", "b", "b.c", "bb") for attempt in (1, 2, 300)]
    for task, attempt in reversed(names):
        opener(store, task=task, attempt=attempt)
    opener(store, run="run2")
    for task in ("", "b"):
        found: list[tuple[str, int]] = []
        token = ""
        while True:
            logs, token = store.list_logs("default", "run", task, token, limit)
            found += [(log.id.task, log.id.attempt) for log in logs]
            if not token:
                break
        assert found == [name for name in names if task in ("", name[0])]


HOSTILE = ["x", "AA", "AQ", "é", "A" * 3000, "=", "AQ==", "\0", "AQAAAAAAAAAAAA", " AQ"]
HOSTILE += [base64.urlsafe_b64encode(raw).decode() for raw in (b"\1" + bytes(8) + b"\xff", b"\1" + bytes(8) + b"a\0b")]
HOSTILE += [base64.urlsafe_b64encode(b"\1adefault\0other\0task\0\0\0\0\1").decode()]


@pytest.mark.parametrize("token", HOSTILE)
def test_hostile_tokens_are_refused(filled: Store, token: str) -> None:
    with pytest.raises(InvalidInput, match="page token"):
        filled.list_runs("default", page_token=token)
    with pytest.raises(InvalidInput, match="page token"):
        filled.list_logs("default", "r00", page_token=token)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_page_sizes_are_bounded(store: Store, limit: int) -> None:
    for call in (store.list_runs, store.list_namespaces):
        with pytest.raises(InvalidInput, match="page size"):
            call("default", limit=limit)
    with pytest.raises(InvalidInput, match="run state 77"):
        store.list_runs("default", RunFilter(frozenset({77})))
