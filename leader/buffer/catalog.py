"""Lists: namespaces, runs newest first, a run's logs; page by page, with tokens that say where to go on."""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple

from joblog.errors import InvalidInput
from joblog.identity import check_attempt, check_name
from joblog.leader.buffer import keys
from joblog.leader.buffer.cursor import Source, scan
from joblog.leader.buffer.ledger import read_run
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import RunRecord

MAX_PAGE = 1000
# Runs that are looked at for one page: more would keep a thread from others for long.
MAX_LOOKED = 20_000
_TOKEN_VERSION = b"\x01"
_MAX_TOKEN_LENGTH = 2000


class RunFilter(NamedTuple):
    """Which runs to list: in any of `states` (all when empty), with all of `labels`, created in [from, before).

    created_before_ns 0: no bound. text: it is in the run's name or in one of its labels, KEY=VALUE, whatever its case.
    """

    states: frozenset[int] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    created_from_ns: int = 0
    created_before_ns: int = 0
    text: str = ""

    def matches(self, run: RunRecord) -> bool:
        """Whether it lets the run through, the time aside."""
        if self.states and run.state not in self.states:
            return False
        if any(run.labels.get(label) != value for label, value in self.labels):
            return False
        text = self.text.casefold()
        labels = (f"{label}={value}" for label, value in run.labels.items())
        return not text or any(text in said.casefold() for said in (run.run, *labels))


EVERY_RUN = RunFilter()


def check_limit(limit: int) -> int:
    """Returns `limit` when it is a page's size; raises InvalidInput."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"page size {limit} is out of range: 1 to {MAX_PAGE}")
    return limit


def _token(place: bytes) -> str:
    return base64.urlsafe_b64encode(_TOKEN_VERSION + place).rstrip(b"=").decode()


def _refuse_token(token: str) -> InvalidInput:
    return InvalidInput(f"page token {token[:40]!r} is not one that this leader gave: begin again without one")


def _place(token: str) -> bytes:
    """What _token() was given. Raises InvalidInput."""
    if len(token) > _MAX_TOKEN_LENGTH:
        raise _refuse_token(token)
    try:
        place = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise _refuse_token(token) from None
    if not place.startswith(_TOKEN_VERSION):
        raise _refuse_token(token)
    return place[1:]


def _run_place(token: str) -> bytes:
    place = _place(token)
    try:
        if len(place) < 9:
            raise _refuse_token(token)
        check_name("run", keys.parse_position(place)[1])
    except (UnicodeDecodeError, InvalidInput):
        raise _refuse_token(token) from None
    return place


def _log_place(token: str, namespace: str, run: str) -> bytes:
    key = _place(token)
    try:
        found_namespace, found_run, task, attempt = keys.parse_attempt_key(key)
        check_name("task", task, reserved=True)
        check_attempt(attempt)
    except (UnicodeDecodeError, ValueError, InvalidInput):
        raise _refuse_token(token) from None
    if (found_namespace, found_run) != (namespace, run) or key != keys.attempt_key(namespace, run, task, attempt):
        raise _refuse_token(token)
    return key


def list_namespaces(source: Source, after: str, limit: int, wanted: Callable[[str], bool] | None = None) -> list[str]:
    """Namespaces with at least one run, sorted, those beyond `after`, at most `limit`. wanted: tells which count."""
    found: list[str] = []
    cursor = source.cursor(keys.RUNS)
    key = cursor.seek(keys.namespace_end(after))
    while key is not None and len(found) < limit:
        namespace = keys.namespace_of(key)
        if wanted is None or wanted(namespace):
            found.append(namespace)
        key = cursor.seek(keys.namespace_end(namespace))
    return found


def _places(source: Source, prefix: bytes, begin: bytes, created_from_ns: int) -> Iterator[bytes]:
    """Positions under one prefix of the index, from `begin` on, as long as runs are not older than created_from_ns."""
    last = prefix + keys.u64(keys.MAX_U64 - created_from_ns) + b"\xff"
    for key, _ in scan(source, keys.INDEX, prefix + begin, last):
        yield key[len(prefix) :]


def list_runs(
    source: Source, namespace: str, where: RunFilter, page_token: str, limit: int
) -> tuple[list[RunRecord], str]:
    """(runs newest first, token of the next page or "").

    A page may hold fewer runs than `limit` although there are more: when it has looked at MAX_LOOKED runs.
    """
    begin = b""
    if where.created_before_ns:
        begin = keys.u64(keys.MAX_U64 - where.created_before_ns + 1)
    if page_token:
        begin = max(begin, _run_place(page_token) + b"\0")
    for state in where.states:
        if state not in types_pb2.RunState.values():
            raise InvalidInput(f"run state {state} is not known: known are {types_pb2.RunState.keys()[1:]}")
    # The narrowest index at hand: one label's, else the states', else all runs by time; the rest is looked at per run.
    if where.labels:
        prefixes = [keys.label_prefix(namespace, *where.labels[0])]
    elif where.states:
        prefixes = [keys.state_prefix(namespace, state) for state in sorted(where.states)]
    else:
        prefixes = [keys.time_prefix(namespace)]
    found: list[RunRecord] = []
    last = b""
    places = heapq.merge(*(_places(source, prefix, begin, where.created_from_ns) for prefix in prefixes))
    for looked, place in enumerate(places):
        if len(found) == limit or looked == MAX_LOOKED:
            return found, _token(last)
        last = place
        run = read_run(source, namespace, keys.parse_position(place)[1])
        if run is not None and where.matches(run):
            found.append(run)
    return found, ""


def list_log_numbers(
    source: Source, namespace: str, run: str, task: str, *, page_token: str, limit: int
) -> tuple[list[int], str]:
    """(numbers of a run's logs by task and attempt, token of the next page or ""); with `task`, those of that task."""
    prefix = keys.attempt_prefix(namespace, run, task)
    begin = prefix
    if page_token:
        begin = max(begin, _log_place(page_token, namespace, run) + b"\0")
    found: list[int] = []
    last = b""
    for key, value in scan(source, keys.INDEX, begin, keys.after(prefix)):
        if len(found) == limit:
            return found, _token(last)
        found.append(keys.number_of(value))
        last = key
    return found, ""
