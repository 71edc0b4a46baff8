"""Requests tried again: how long, which ones, and what a write of unknown outcome leads to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from joblog.errors import Corrupt, Denied, InvalidInput, NotFound, OutOfSpace, Unavailable
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.objects import PreconditionFailed, checksum_of
from joblog.leader.archive.retrying import RetryingStore
from tests.faulty_store import FaultyStore


class Scripted(FaultyStore):
    """Fails as the script says: what request, with which error, and whether it was done all the same."""

    def __init__(self, folder: Path) -> None:
        super().__init__(FolderStore(folder, create=True))
        self.inner.check(create=True)
        self.script: list[tuple[str, Exception, bool]] = []
        self.before_failure: Callable[[], object] = lambda: None

    def request(self, what, key, work):  # type: ignore[no-untyped-def]
        self.requests[what] += 1
        if self.script and self.script[0][0] == what:
            _, error, done = self.script.pop(0)
            if done:
                work()
            self.before_failure()
            raise error
        return work()


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def inner(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path / "objects")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(inner: Scripted, clock: Clock) -> RetryingStore:
    return RetryingStore(inner, 10.0, clock=lambda: clock.now, sleep=clock.sleep, jitter=lambda: 1.0)


TIMEOUT = Unavailable("no answer")


def test_what_fails_in_passing_is_tried_again(store: RetryingStore, inner: Scripted, clock: Clock) -> None:
    inner.script = [("put", TIMEOUT, False)] * 3
    info = store.put("a", b"data", if_absent=True)
    assert info.checksum == checksum_of(b"data")
    assert inner.requests["put"] == 4
    assert clock.pauses == [0.1, 0.2, 0.4]
    inner.script = [("get", TIMEOUT, False)] * 2
    assert store.get("a") == b"data"
    inner.script = [("head", TIMEOUT, False)]
    assert store.head("a") == info


@pytest.mark.parametrize("error", [TIMEOUT, Unavailable("SlowDown")])
def test_a_put_that_happened_is_not_repeated(store: RetryingStore, inner: Scripted, error: Exception) -> None:
    inner.script = [("put", error, True)]
    info = store.put("a", b"data", if_absent=True, metadata={"x": "1"})
    assert inner.requests["put"] == 1
    assert info == inner.inner.head("a")


def test_a_conditional_put_that_happened_is_done_though_its_condition_fails_now(
    store: RetryingStore, inner: Scripted
) -> None:
    first = store.put("claim", b"1", if_absent=True)
    inner.script = [("put", TIMEOUT, True)]
    second = store.put("claim", b"2", if_match=first.etag)
    assert second.etag == inner.inner.head("claim").etag  # type: ignore[union-attr]
    assert store.get("claim") == b"2"


def test_one_that_becomes_visible_late_is_found(store: RetryingStore, inner: Scripted) -> None:
    """Nothing is there when it is looked up, and the repeated put is refused by what came through meanwhile."""
    inner.script = [("put", TIMEOUT, False)]
    real_head, seen = inner.head, 0

    def head(key: str):  # type: ignore[no-untyped-def]
        nonlocal seen
        seen += 1
        found = real_head(key)
        if seen == 1:
            inner.inner.put("a", b"data")
        return found

    inner.head = head  # type: ignore[method-assign]
    assert store.put("a", b"data", if_absent=True).checksum == checksum_of(b"data")
    assert (seen, inner.requests["put"]) == (2, 2)


@pytest.mark.parametrize(("other", "metadata"), [(b"theirs", None), (b"data", {"x": "2"}), (b"longer than ours", None)])
def test_someone_elses_object_is_no_success(
    store: RetryingStore, inner: Scripted, other: bytes, metadata: dict[str, str] | None
) -> None:
    inner.script = [("put", TIMEOUT, False)]
    inner.before_failure = lambda: inner.inner.put("a", other, metadata=metadata)
    with pytest.raises(PreconditionFailed):
        store.put("a", b"data", if_absent=True)
    assert store.get("a") == other


@pytest.mark.parametrize("error", [Denied("403"), NotFound("bucket"), InvalidInput("bad"), Corrupt("md5"),
                                   PreconditionFailed("there")])  # fmt: skip
def test_what_is_permanent_is_not_repeated(
    store: RetryingStore, inner: Scripted, clock: Clock, error: Exception
) -> None:
    for what, work in (("put", lambda: store.put("a", b"x")), ("get", lambda: store.get("a"))):
        inner.script = [(what, error, False)]
        with pytest.raises(type(error)):
            work()
        assert inner.requests[what] == 1
    assert clock.pauses == []


def test_a_full_store_is_not_repeated_though_its_outcome_is_unknown(store: RetryingStore, inner: Scripted) -> None:
    inner.script = [("put", OutOfSpace("full"), False)]
    with pytest.raises(OutOfSpace):
        store.put("a", b"x")
    assert inner.requests["put"] == 1


def test_it_ends_by_its_deadline(store: RetryingStore, inner: Scripted, clock: Clock) -> None:
    inner.down = True
    inner.script = [("put", TIMEOUT, False)] * 1000
    with pytest.raises(Unavailable):
        store.put("a", b"x")
    assert 5.0 < clock.now <= 10.0
    assert max(clock.pauses) <= 5.0
    once = RetryingStore(inner, 0.0, clock=lambda: clock.now, sleep=clock.sleep)
    before = inner.requests["put"]
    with pytest.raises(Unavailable):
        once.put("a", b"x")
    assert inner.requests["put"] == before + 1


def test_parts_are_sent_again(store: RetryingStore, inner: Scripted) -> None:
    upload = store.start_multipart("whole")
    inner.script = [("part", TIMEOUT, True), ("part", TIMEOUT, False)]
    upload.upload(1, b"data")
    assert inner.requests["part"] == 3


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("if_absent", [True, False])
def test_a_completion_without_an_answer_is_looked_up_and_else_repeated(
    store: RetryingStore, inner: Scripted, done: bool, if_absent: bool
) -> None:
    upload = store.start_multipart("whole")
    upload.upload(1, b"data")
    inner.script = [("complete", TIMEOUT, done), ("complete", TIMEOUT, False)]
    info = upload.complete(if_absent=if_absent)
    assert info == inner.inner.head("whole")
    assert info.checksum == checksum_of(b"data")
    assert inner.requests["complete"] == 3


def test_a_completion_does_not_take_someone_elses_object_for_its_own(store: RetryingStore, inner: Scripted) -> None:
    upload = store.start_multipart("whole")
    upload.upload(1, b"data")
    inner.script = [("complete", TIMEOUT, False)]
    inner.before_failure = lambda: inner.inner.put("whole", b"data")
    with pytest.raises(PreconditionFailed):
        upload.complete(if_absent=True)


def test_what_fails_only_after_all_the_time_is_tried_once_more(inner: Scripted, clock: Clock) -> None:
    """A server that is silent for longer than the retries last: what became of the put is found out."""
    inner.script = [("put", TIMEOUT, True)]
    inner.before_failure = lambda: clock.sleep(60.0)
    store = RetryingStore(inner, 10.0, clock=lambda: clock.now, sleep=clock.sleep)
    assert store.put("a", b"data", if_absent=True) == inner.inner.head("a")
    assert inner.requests["put"] == 1
