"""Roles and what each permits; pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache

from joblog.errors import InvalidInput
from joblog.identity import AUDIT_NAMESPACE

MAX_GLOBS = 100
MAX_GLOB_LENGTH = 250
GLOB = r"[A-Za-z0-9._:+=~@*?\[\]!-]+"


class Permission(StrEnum):
    """What a method asks for. Those of the first group are held on namespaces, the others on the whole leader."""

    RUN_SEE = "run.see"
    LOG_READ = "log.read"
    LOG_VERIFY = "log.verify"
    LOG_WRITE = "log.write"
    LOG_DELETE = "log.delete"

    STATUS_SEE = "status.see"
    METRICS_READ = "metrics.read"
    LEADER_OPERATE = "leader.operate"
    KEYS_MANAGE = "keys.manage"
    WORKERS_MANAGE = "workers.manage"
    ACCESS_MANAGE = "access.manage"
    AUDIT_READ = "audit.read"
    HOLD_MANAGE = "hold.manage"


NAMESPACED = frozenset(
    {Permission.RUN_SEE, Permission.LOG_READ, Permission.LOG_VERIFY, Permission.LOG_WRITE, Permission.LOG_DELETE}
)

ROLES: dict[str, frozenset[Permission]] = {
    "admin": frozenset(Permission),
    "operator": frozenset(
        {
            Permission.RUN_SEE,
            Permission.LOG_VERIFY,
            Permission.STATUS_SEE,
            Permission.METRICS_READ,
            Permission.LEADER_OPERATE,
            Permission.KEYS_MANAGE,
            Permission.WORKERS_MANAGE,
        }
    ),
    "reader": frozenset({Permission.RUN_SEE, Permission.LOG_READ, Permission.LOG_VERIFY, Permission.STATUS_SEE}),
    # Sees that a run exists and how it ended, not what its logs say.
    "viewer": frozenset({Permission.RUN_SEE, Permission.STATUS_SEE}),
    "writer": frozenset({Permission.LOG_WRITE}),
}

# Of all namespaces, but for joblog's own. An admin of some namespaces only is none of the leader.
ANYWHERE = "*"
_READ_AUDIT = frozenset({Permission.RUN_SEE, Permission.LOG_READ, Permission.LOG_VERIFY})
_WILD = re.compile(r"[*?\[]")


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


def matches(glob: str, namespace: str) -> bool:
    """Whether `namespace` is one of those that `glob` names: `*` and `?` do not stand for a first `@`."""
    if namespace.startswith("@") and not glob.startswith("@"):
        return False
    return _pattern(glob).match(namespace) is not None


def covers(glob: str, asked: str) -> bool:
    """Whether every namespace that `asked` names is one that `glob` names; in doubt it is not."""
    if asked.startswith("@") and not glob.startswith("@"):
        return False
    if glob == asked:
        return True
    wild = _WILD.search(asked)
    if wild is None:
        return matches(glob, asked)
    # What begins with `start`, whatever follows.
    start, star, rest = glob.partition("*")
    if not star or rest or _WILD.search(start):
        return False
    # Names that start with `@` are none of `*`; a pattern may only match them if it starts so itself.
    return asked[: wild.start()].startswith(start)


@dataclass(frozen=True, slots=True)
class Grant:
    """A role on the namespaces that any of the globs matches."""

    role: str
    namespaces: tuple[str, ...] = (ANYWHERE,)

    def permits(self, permission: Permission, namespace: str | None) -> bool:
        """Whether it lets its holder do it; namespace: where, None for the whole leader.

        What is held on the whole leader is only granted with the glob `*`. The audit log's namespace is open to those
        with AUDIT_READ, for reading only.
        """
        if namespace == AUDIT_NAMESPACE:
            return permission in _READ_AUDIT and self.permits(Permission.AUDIT_READ, None)
        if permission not in ROLES[self.role]:
            return False
        if permission not in NAMESPACED or namespace is None:
            return ANYWHERE in self.namespaces
        return any(matches(glob, namespace) for glob in self.namespaces)

    def includes(self, other: Grant) -> bool:
        """Whether whoever holds it may do all that `other` permits; in doubt not."""
        return ROLES[other.role] <= ROLES[self.role] and all(
            any(covers(glob, asked) for glob in self.namespaces) for asked in other.namespaces
        )


def check_grant(role: str, namespaces: Iterable[str]) -> Grant:
    """The grant. Raises InvalidInput for an unknown role and for globs that are none."""
    if role not in ROLES:
        raise InvalidInput(f"role {role[:60]!r} is not known: it is one of {', '.join(ROLES)}")
    globs = tuple(namespaces) or (ANYWHERE,)
    if len(globs) > MAX_GLOBS:
        raise InvalidInput(f"a grant names {len(globs)} namespaces, at most {MAX_GLOBS} are allowed: use a glob")
    for glob in globs:
        if not 1 <= len(glob) <= MAX_GLOB_LENGTH or not re.fullmatch(GLOB, glob):
            raise InvalidInput(f"namespace {glob[:60]!r} is neither a namespace's name nor a glob (with * ? [abc])")
    return Grant(role, globs)
