"""Policies: which runs they name, and for how long these are kept. Pure; docs/operations.md describes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

from joblog.errors import InvalidInput
from joblog.identity import check_name
from joblog.leader.access.roles import check_grant, matches
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import RunRecord
from joblog.values import parse_duration, parse_size

MAX_KEEP_LAST = 100_000
MAX_POLICIES = 1000
_MAX_SECONDS = 1000 * 366 * 86400
_OUTCOMES = {
    "succeeded": types_pb2.RUN_STATE_SUCCEEDED,
    "failed": types_pb2.RUN_STATE_FAILED,
    "interrupted": types_pb2.RUN_STATE_INTERRUPTED,
}
ENDED = frozenset({types_pb2.RUN_STATE_SUCCEEDED, types_pb2.RUN_STATE_FAILED})
FOREVER = "forever"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept of the runs that it names. text: as it was written.

    labels: of each the key and a glob for its value. states: that a run has to be in. keep_seconds: since a run's end;
    None for ever, or where keep_last alone decides. keep_last: the newest so many runs of a group; 0: does not count.
    """

    text: str
    glob: str
    labels: tuple[tuple[str, str], ...]
    states: frozenset[int]
    keep_seconds: int | None
    keep_last: int

    @property
    def is_forever(self) -> bool:
        """Whether it never lets go of a run."""
        return self.keep_seconds is None and not self.keep_last

    def names(self, run: RunRecord) -> bool:
        """Whether the run is one of those that it is about."""
        if run.state not in self.states or not matches(self.glob, run.namespace):
            return False
        return all(label in run.labels and _fits(glob, run.labels[label]) for label, glob in self.labels)

    def group(self, run: RunRecord) -> tuple[str, ...]:
        """Which runs keep_last counts together: those of a namespace that have the same values of the labels."""
        return (run.namespace, *(run.labels[label] for label, _ in self.labels))

    def is_past(self, ended_ns: int, now_ns: int) -> bool:
        """Whether the age alone lets go of a run that ended then."""
        return self.keep_seconds is None or ended_ns + self.keep_seconds * 10**9 <= now_ns


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


def _fits(glob: str, value: str) -> bool:
    return _pattern(glob).match(value) is not None


def parse_policy(text: str) -> Policy:
    """A policy from `GLOB [label=KEY=GLOB]... [outcome=WORD]: [keep=DURATION] [keep_last=N]`. Raises InvalidInput."""
    # Names and labels may hold colons, what is kept does not.
    head, colon, rest = text.rpartition(":")
    who, what = head.split(), rest.split()
    if not colon or not who or not what:
        raise InvalidInput(
            f"{text[:100]!r} is no policy: write GLOB [label=KEY=VALUE] [outcome=failed]: keep=14d keep_last=50"
        )
    check_grant("writer", (who[0],))
    if who[0].startswith("@"):
        raise InvalidInput(f"{who[0][:60]!r}: namespaces of joblog's own are kept for ever")
    labels: list[tuple[str, str]] = []
    states = ENDED
    for word in who[1:]:
        name, _, value = word.partition("=")
        if name == "label" and "=" in value:
            labels.append(_label(value, labels))
        elif name == "outcome" and value in _OUTCOMES and states is ENDED:
            states = frozenset({_OUTCOMES[value]})
        else:
            raise InvalidInput(
                f"{word[:60]!r} is neither label=KEY=VALUE nor outcome= once with one of {', '.join(_OUTCOMES)}"
            )
    keep, keep_last = _kept(what)
    if types_pb2.RUN_STATE_INTERRUPTED in states and keep_last:
        raise InvalidInput("keep_last does not count interrupted runs, which may go on: give keep alone")
    return Policy(" ".join(text.split()), who[0], tuple(labels), states, keep, keep_last)


def _label(text: str, labels: Sequence[tuple[str, str]]) -> tuple[str, str]:
    key, _, glob = text.partition("=")
    if any(key == known for known, _ in labels):
        raise InvalidInput(f"label {key[:60]!r} is there twice")
    return check_name("label", key), glob


def _kept(words: Sequence[str]) -> tuple[int | None, int]:
    found: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in ("keep", "keep_last") or name in found:
            raise InvalidInput(f"{word[:60]!r} is neither keep= nor keep_last=, each once")
        found[name] = value
    last = found.get("keep_last", "0")
    if not (last.isascii() and last.isdigit() and len(last) < 10 and int(last) <= MAX_KEEP_LAST):
        raise InvalidInput(f"keep_last must be a whole number from 1 to {MAX_KEEP_LAST}, got {last[:40]!r}")
    if "keep_last" in found and not int(last):
        raise InvalidInput("keep_last must be at least 1; leave it out where the number does not matter")
    keep = found.get("keep", FOREVER)
    if keep == FOREVER:
        if "keep" in found and int(last):
            raise InvalidInput("keep=forever and keep_last are given together: what is kept for ever needs no number")
        return None, int(last)
    seconds = parse_duration(keep)
    if seconds > _MAX_SECONDS:
        raise InvalidInput(f"keep={keep} is more than 1000 years, the most that there is: write keep={FOREVER}")
    return seconds, int(last)


@dataclass(frozen=True, slots=True)
class StoredQuota:
    """How many bytes the ended runs of each namespace that the glob names may take. text: as it was written."""

    text: str
    glob: str
    bytes: int


def parse_stored_quota(text: str) -> StoredQuota:
    """A quota from `GLOB: SIZE`. Raises InvalidInput."""
    glob, colon, size = text.rpartition(":")
    if not colon or len(glob.split()) != 1:
        raise InvalidInput(f"{text[:100]!r} is no quota: write GLOB: SIZE, as 'team-a-*: 500GiB'")
    glob = glob.strip()
    check_grant("writer", (glob,))
    if glob.startswith("@"):
        raise InvalidInput(f"{glob[:60]!r}: namespaces of joblog's own are kept for ever")
    count = parse_size(size)
    if count < 1:
        raise InvalidInput("a quota is at least 1 byte; leave it out for no limit")
    return StoredQuota(" ".join(text.split()), glob, count)


@dataclass(frozen=True, slots=True)
class Policies:
    """All that is in force. The first policy that names a run counts, and the first quota that names a namespace.

    A quota counts more than a policy: it lets go of runs that a policy would keep.
    """

    policies: tuple[Policy, ...] = ()
    quotas: tuple[StoredQuota, ...] = ()

    @classmethod
    def parse(cls, policies: Sequence[str], quotas: Sequence[str]) -> Policies:
        """Raises InvalidInput."""
        if max(len(policies), len(quotas)) > MAX_POLICIES:
            raise InvalidInput(f"there are more than {MAX_POLICIES}, the most that are allowed: use globs")
        return cls(tuple(map(parse_policy, policies)), tuple(map(parse_stored_quota, quotas)))

    def of(self, run: RunRecord) -> Policy | None:
        """The policy that counts for the run; None: it is kept for ever, unless a quota lets go of it."""
        return next((policy for policy in self.policies if policy.names(run)), None)

    def quota_of(self, namespace: str) -> StoredQuota | None:
        """The quota that counts for the namespace."""
        return next((quota for quota in self.quotas if matches(quota.glob, namespace)), None)

    def __bool__(self) -> bool:
        return bool(self.quotas) or not all(policy.is_forever for policy in self.policies)
