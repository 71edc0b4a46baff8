"""Adopting: objects of a source are looked at page by page, and those that a rule names taken into the catalog.

What was adopted stays when it ends in the middle; the same again goes on with the rest. Objects are put and committed
as sealing does it: announced before, so that what a crash leaves over is known and deleted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import NamedTuple

from joblog.errors import Conflict, Corrupt, Interrupted, InvalidInput, NotFound, WrongVersion
from joblog.identity import LogName
from joblog.leader.adoption.facts import MAX_METADATA_BYTES, Facts, NotOver
from joblog.leader.adoption.order import Order, Told
from joblog.leader.adoption.rule import Matched
from joblog.leader.adoption.writing import Wanted, Written, write
from joblog.leader.archive import failpoints
from joblog.leader.archive.census import load_metadata
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.foreign import ForeignInfo, ForeignSource
from joblog.leader.archive.foreign_gzip import read_pieces
from joblog.leader.archive.foreign_reader import ForeignReader
from joblog.leader.archive.layout import metadata_key, sealed_key
from joblog.leader.archive.objects import ObjectInfo
from joblog.leader.archive.retrying import retried
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.opening import SourceChanged
from joblog.leader.crypto.keyring import Keyring
from joblog.v1.adoption_pb2 import (
    ADOPT_RESULT_ADOPTED,
    ADOPT_RESULT_CHANGED,
    ADOPT_RESULT_KNOWN,
    ADOPT_RESULT_LATER,
    ADOPT_RESULT_REFUSED,
    AdoptedLog,
    AdoptResponse,
    AdoptResult,
)

_PAGE = 1000
# One write for so many, and as many are read side by side as there are threads.
BATCH = 64
THREADS = 8
_PIECE_BYTES = 4 << 20
# What concerns one log alone.
_REFUSALS = (Corrupt, NotFound, InvalidInput, Conflict)


class Candidate(NamedTuple):
    """An object that the rule names. key: in the source; metadata_key: there, or ""."""

    key: str
    url: str
    listed: ObjectInfo
    matched: Matched
    metadata_key: str


class Adopter:
    """Adopts. Blocks; one call at a time. ready: raises unless this leader may write to the archive."""

    def __init__(
        self,
        context: ArchiveContext,
        keyring: Keyring,
        foreign: ForeignReader,
        *,
        ready: Callable[[], object],
        stopped: Callable[[], None],
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """stopped: raises Interrupted when it is to end."""
        self._context = context
        self._store = context.store
        self._keyring = keyring
        self._foreign = foreign
        self._ready = ready
        self._stopped = stopped
        self._clock_ns = clock_ns

    def run(self, order: Order) -> Generator[AdoptResponse]:
        """Adopts what is new, and tells of it as it goes. Raises what the stores raise; then it may be run again."""
        if not order.dry_run:
            self._ready()
        told = Told()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="adoption") as pool:
            for page in self._pages(order):
                found = filter(None, (self._candidate(order, info, told) for info in page))
                while batch := list(islice(found, self._batch_size(order, told))):
                    if order.dry_run:
                        self._preview(order, batch, told)
                    else:
                        self._adopt(order, batch, told, pool)
                    yield from told.take()
                yield from told.take()
                if not self._batch_size(order, told):
                    break
        yield from told.take(done=True)

    @staticmethod
    def _batch_size(order: Order, told: Told) -> int:
        """How many more to adopt at once; 0 when the limit is reached."""
        return min(BATCH, order.limit - told.totals.adopted) if order.limit else BATCH

    def _retried(self, work: Callable[[], bytes]) -> bytes:
        return retried(work, self._foreign.retry_seconds)

    # Which objects are new

    def _pages(self, order: Order) -> Iterator[Sequence[ObjectInfo]]:
        after, more = "", True
        while more:
            self._stopped()
            page, more = retried(partial(order.source.list, order.prefix, after, _PAGE), self._foreign.retry_seconds)
            if page:
                yield page
                after = page[-1].key

    def _candidate(self, order: Order, info: ObjectInfo, told: Told) -> Candidate | None:
        """The object, when the rule names it and the catalog does not know it."""
        told.totals.listed += 1
        url = f"{order.source.url}/{info.key}"
        found = AdoptedLog(url=_utf8(url), bytes=info.size)
        try:
            key = _utf8(info.key[len(order.prefix) :])
            matched = order.rule.match(key)
            if matched is None:
                told.totals.others += not order.rule.is_beside(key)
                return None
            found.name = str(matched.name)
            if url != found.url:
                raise InvalidInput("its key is not Unicode text")
            result = self._known(matched.name, url, info)
        except _REFUSALS as error:
            found.why = str(error)
            told.add(ADOPT_RESULT_REFUSED, found)
            return None
        if result is not None:
            found.why = "the object was changed since it was adopted" if result == ADOPT_RESULT_CHANGED else ""
            told.add(result, found)
            return None
        if self._clock_ns() - info.modified_ns < order.min_age_seconds * 1e9:
            found.why = f"it was written less than {order.min_age_seconds:g} s ago"
            told.add(ADOPT_RESULT_LATER, found)
            return None
        beside = f"{order.prefix}{matched.metadata_key}" if matched.metadata_key else ""
        return Candidate(info.key, url, info, matched, beside)

    def _known(self, name: LogName, url: str, info: ObjectInfo) -> AdoptResult | None:
        """What the catalog has of that name; None where it has nothing. Raises Conflict for another log."""
        number = self._store.find_log(name)
        record = self._store.get_log(number) if number is not None else None
        if record is None:
            return None
        if not record.HasField("adopted"):
            raise Conflict("there is a log of that name, which is not an adopted one: adopt it under another name")
        if record.adopted.url != url:
            raise Conflict(f"there is a log of that name, adopted from {record.adopted.url}")
        same = (record.adopted.bytes, record.adopted.etag) == (info.size, info.etag)
        return ADOPT_RESULT_KNOWN if same else ADOPT_RESULT_CHANGED

    # What is known of one

    def _facts(self, order: Order, candidate: Candidate) -> Facts:
        """Raises Corrupt that names the metadata, NotOver."""
        if not candidate.metadata_key:
            return order.facts.nothing()
        try:
            data = self._metadata(order.source, candidate.metadata_key)
            return order.facts.nothing() if data is None else order.facts.read(data)
        except (Corrupt, InvalidInput) as error:
            if order.ignore_metadata:
                return order.facts.nothing()._replace(rest='"the metadata beside it could not be used"')
            raise Corrupt(f"{order.source.url}/{candidate.metadata_key}: {error}") from None

    def _metadata(self, source: ForeignSource, key: str) -> bytes | None:
        try:
            info = source.look(key)
        except NotFound:
            return None
        if info.size > MAX_METADATA_BYTES:
            raise Corrupt(f"it has {info.size} bytes, at most {MAX_METADATA_BYTES} are read")
        return self._retried(partial(source.get, info, 0, info.size)) if info.size else b""

    def _wanted(self, order: Order, candidate: Candidate) -> Wanted:
        """Raises Corrupt, NotFound, NotOver."""
        facts = self._facts(order, candidate)
        info = order.source.look(candidate.key)
        matched = candidate.matched
        return Wanted(matched.name, candidate.url, info, matched.labels, facts)

    def _preview(self, order: Order, batch: Sequence[Candidate], told: Told) -> None:
        for candidate in batch:
            found = _found(candidate)
            try:
                facts = self._facts(order, candidate)
                found.labels.update({**facts.labels, **candidate.matched.labels})
                told.add(ADOPT_RESULT_ADOPTED, found)
            except NotOver as error:
                found.why = str(error)
                told.add(ADOPT_RESULT_LATER, found)
            except _REFUSALS as error:
                found.why = str(error)
                told.add(ADOPT_RESULT_REFUSED, found)

    # Adopting

    def _adopt(self, order: Order, batch: Sequence[Candidate], told: Told, pool: ThreadPoolExecutor) -> None:
        names: set[LogName] = set()
        with ExitStack() as marks:
            marked = [(candidate, self._mark(candidate, names, marks)) for candidate in batch]
            archived = pool.map(self._archived, [candidate for candidate, why in marked if not why])
            mine: list[Candidate] = []
            for candidate, not_marked in marked:
                why = not_marked or next(archived)
                if why:
                    found = _found(candidate)
                    found.why = why
                    told.add(ADOPT_RESULT_REFUSED, found)
                else:
                    mine.append(candidate)
            if not mine:
                return
            keys = [key for one in mine for key in _keys(one.matched.name)]
            self._context.claim.ensure()
            self._context.putter.announce(keys)
            failpoints.reach("adopt.announced")
            failing = threading.Event()
            futures = [pool.submit(self._write, order, candidate, failing) for candidate in mine]
            self._commit(list(zip(mine, futures, strict=True)), told)

    def _mark(self, candidate: Candidate, names: set[LogName], marks: ExitStack) -> str:
        """Keeps sealing and cleaning away from the log's objects until the batch is done; why not, "" when it does."""
        name = candidate.matched.name
        if name in names:
            return "another object gives the same name"
        if not marks.enter_context(self._context.busy.all(_keys(name))):
            return "a log of that name is being sealed or deleted just now: run the same again"
        # Whatever comes under this name from now on waits for the marks before it is sealed.
        if self._store.find_log(name) is not None:
            return "a log of that name was begun just now"
        names.add(name)
        return ""

    def _archived(self, candidate: Candidate) -> str:
        """Why the log's objects can't be put: another log's are there. "" where none are, or an earlier try's.

        The catalog may lack a log whose key did not open when it was rebuilt; announcing its objects would delete them.
        """
        key = metadata_key(candidate.matched.name)
        objects = self._context.putter.objects
        if objects.head(key) is None:
            return ""
        try:
            there = load_metadata(objects, key).record.adopted.url
        except (Corrupt, NotFound, WrongVersion):
            there = ""
        if there == candidate.url:
            return ""
        return f"the archive has {key} of another log, which the catalog does not know, or which was deleted just now"

    def _write(self, order: Order, candidate: Candidate, failing: threading.Event) -> Written:
        """failing: set once one of the batch fails with what concerns all; the others end early then."""

        def check() -> None:
            self._stopped()
            if failing.is_set():
                raise Interrupted("another log could not be adopted")

        try:
            check()
            wanted = self._wanted(order, candidate)
            pieces = self._pieces(order.source, wanted.info)
            return write(wanted, pieces, self._context.putter, self._keyring, check)
        except (*_REFUSALS, NotOver):
            raise
        except BaseException:
            failing.set()
            raise

    def _pieces(self, source: ForeignSource, info: ForeignInfo) -> Iterator[bytes]:
        def fetch(start: int, length: int) -> bytes:
            return self._retried(partial(source.get, info, start, length))

        length, limit = 0, self._foreign.max_log_bytes
        for piece in read_pieces(fetch, info.size, gzip=info.gzip, piece_bytes=_PIECE_BYTES):
            length += len(piece)
            if limit and length > limit:
                raise InvalidInput(f"its text is longer than {limit} bytes (adoption.max_log_bytes)")
            yield piece

    def _commit(self, under_way: Sequence[tuple[Candidate, Future[Written]]], told: Told) -> None:
        """Waits for all, and puts those that are written into the catalog in one write. Raises the first failure."""
        written: list[Written] = []
        failure: Exception | None = None
        for candidate, future in under_way:
            try:
                written.append(future.result())
                continue
            except NotOver as error:
                result, why = ADOPT_RESULT_LATER, str(error)
            except SourceChanged as error:
                result, why = ADOPT_RESULT_LATER, f"it was changed while it was read: {error}"
            except _REFUSALS as error:
                result, why = ADOPT_RESULT_REFUSED, str(error)
            except Exception as error:  # noqa: BLE001 - what is written is committed first
                failure = error if failure is None or isinstance(failure, Interrupted) else failure
                continue
            found = _found(candidate)
            found.why = why
            told.add(result, found)
        failpoints.reach("adopt.put")
        self._commit_all(written, told)
        failpoints.reach("adopt.committed")
        if failure is not None:
            raise failure

    def _commit_all(self, written: list[Written], told: Told) -> None:
        if not written:
            return
        changes = Changes()
        for one in written:
            one.add_to(changes, self._store.next_number())
        try:
            self._store.write(changes)
        except Conflict as error:
            # A log was begun under one of the names meanwhile.
            if len(written) > 1:
                for one in written:
                    self._commit_all([one], told)
                return
            told.add(ADOPT_RESULT_REFUSED, _done(written[0], str(error)))
            return
        for one in written:
            told.add(ADOPT_RESULT_ADOPTED, _done(one))


def _keys(name: LogName) -> list[str]:
    return [metadata_key(name), sealed_key(name)]


def _found(candidate: Candidate) -> AdoptedLog:
    return AdoptedLog(url=candidate.url, name=str(candidate.matched.name), bytes=candidate.listed.size)


def _done(written: Written, why: str = "") -> AdoptedLog:
    record = written.record
    return AdoptedLog(
        url=written.wanted.url,
        name=str(written.wanted.name),
        bytes=record.seal.length,
        labels=dict(record.start.labels),
        why=why,
    )


def _utf8(text: str) -> str:
    """A text that a message takes; names of files may be none."""
    return text.encode(errors="replace").decode()
