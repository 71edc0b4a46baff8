"""Quotas: how much a token's holder may use, and how much there may be in a namespace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from joblog.errors import InvalidInput
from joblog.leader.access.records import NO_QUOTA, Quota
from joblog.leader.access.roles import check_grant, matches
from joblog.values import parse_size

_SIZES = frozenset({"bytes_per_day", "stored_bytes"})
_MAX = 2**63 - 1
_MAX_CACHED = 10_000


class Scope(NamedTuple):
    """What a quota is about. kind: `namespace` or `token`; name: the namespace's name, the token's id."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class NamespaceQuota:
    """The quota of each namespace that the glob names, not of all of them together."""

    glob: str
    quota: Quota


def parse_namespace_quota(text: str) -> NamespaceQuota:
    """A quota from `GLOB: NAME=VALUE ...`, as `team-a-*: bytes_per_day=10GiB live_logs=1000`. Raises InvalidInput."""
    # A namespace's name may hold colons, a quota does not.
    glob, colon, rest = text.rpartition(":")
    glob = glob.strip()
    if not colon or not glob or not rest.split():
        raise InvalidInput(f"{text[:100]!r} is no quota: write GLOB: NAME=VALUE NAME=VALUE")
    check_grant("writer", (glob,))
    values: dict[str, int] = {}
    for word in rest.split():
        name, _, value = word.partition("=")
        if name not in Quota.__slots__ or name in values:
            raise InvalidInput(
                f"{word[:60]!r} is none of {', '.join(f'{known}=' for known in Quota.__slots__)}, each once"
            )
        values[name] = _number(name, value)
    return NamespaceQuota(glob, Quota(**values))


def _number(name: str, text: str) -> int:
    if name in _SIZES:
        value = parse_size(text)
    elif text.isascii() and text.isdigit() and len(text) < 20:
        value = int(text)
    else:
        raise InvalidInput(f"{name} must be a whole number, got {text[:40]!r}")
    if not 1 <= value <= _MAX:
        raise InvalidInput(f"{name} must be from 1 to {_MAX}; leave it out for no limit")
    return value


class QuotaRules:
    """The quota of each scope. Thread-safe.

    namespaces: the first one whose glob names a namespace counts. token_quota: of the token with an id; may look at the
    disk. A token's quota never changes, so it is asked once.
    """

    def __init__(
        self, namespaces: Sequence[NamespaceQuota] = (), token_quota: Callable[[str], Quota] = lambda _id: NO_QUOTA
    ) -> None:
        self._namespaces = tuple(namespaces)
        self._token_quota = token_quota
        self._known: dict[Scope, Quota] = {}

    def of(self, scope: Scope) -> Quota:
        """The scope's quota. Raises Unavailable and the like when a token can't be looked up."""
        known = self._known.get(scope)
        if known is None:
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
            known = self._known[scope] = self._find(scope)
        return known

    def _find(self, scope: Scope) -> Quota:
        if scope.kind == "token":
            return self._token_quota(scope.name)
        return next((one.quota for one in self._namespaces if matches(one.glob, scope.name)), NO_QUOTA)


def scopes_of(namespace: str, token_id: str) -> tuple[Scope, ...]:
    """What counts there, for whoever uses that token; empty: none is used, or no namespace is named."""
    scopes = (Scope("namespace", namespace), Scope("token", token_id))
    return tuple(scope for scope in scopes if scope.name)
