"""What the groups that a provider names may do here; pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from joblog.errors import InvalidInput
from joblog.leader.access.roles import ROLES, Grant, check_grant

# Of everybody whom the provider signs in.
EVERYBODY = "*"
MAX_GROUPS = 1000
# The last `=role:` counts: a group's name may hold `=` and `:`, as cn=admins,ou=groups does.
_ENTRY = re.compile(rf"(?P<group>.+)=(?P<role>{'|'.join(ROLES)}):(?P<namespaces>[^\s=]+)", re.DOTALL)


class GroupGrant(NamedTuple):
    """What one group is granted."""

    group: str
    grant: Grant


def parse_group_grant(text: str) -> GroupGrant:
    """GROUP=ROLE:GLOB, as team-a=reader:team-a-*. Raises InvalidInput."""
    found = _ENTRY.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"{text[:100]!r} is not GROUP=ROLE:NAMESPACES, as team-a=reader:team-a-* (* is everybody)")
    return GroupGrant(found["group"].strip(), check_grant(found["role"], [found["namespaces"]]))


def grants_of(groups: Iterable[str], granted: Iterable[GroupGrant]) -> tuple[Grant, ...]:
    """All that members of these groups are granted, each once."""
    held = {EVERYBODY, *groups}
    return tuple(dict.fromkeys(one.grant for one in granted if one.group in held))


def groups_in(claims: Mapping[str, object], claim: str) -> tuple[str, ...] | None:
    """The groups that claims name; None where they say nothing of groups.

    claim: the claim's name, or a path of names with dots, as realm_access.roles.
    """
    found: object = claims.get(claim)
    if found is None:
        found = claims
        for name in claim.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return (found,)
    if not isinstance(found, list):
        return None
    # The name for everybody is not a provider's to give.
    return tuple(str(group) for group in found[:MAX_GROUPS] if isinstance(group, str) and group != EVERYBODY)
