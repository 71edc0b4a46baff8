"""Roles and globs: what a grant permits, and that nobody can grant more than they hold."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblog.errors import Denied, InvalidInput
from joblog.identity import AUDIT_NAMESPACE
from joblog.leader.access.principal import EVERYBODY, Principal
from joblog.leader.access.roles import NAMESPACED, ROLES, Grant, Permission, check_grant, covers, matches

names = st.text("ab-.", min_size=1, max_size=5)
namespaces = names | names.map(lambda name: f"@{name}") | st.just(AUDIT_NAMESPACE)
globs = st.text("ab-*?[]!@", min_size=1, max_size=5) | st.sampled_from(["*", "a*", "@*", "a", "[ab]*"])
grants = st.builds(Grant, st.sampled_from(list(ROLES)), st.lists(globs, min_size=1, max_size=3).map(tuple))
permissions = st.sampled_from(list(Permission))


@given(globs, namespaces)
def test_a_glob_matches_as_a_shell_would_but_for_a_first_at(glob: str, namespace: str) -> None:
    expected = fnmatchcase(namespace, glob) and (not namespace.startswith("@") or glob.startswith("@"))
    assert matches(glob, namespace) == expected


@given(globs, globs, namespaces)
def test_what_a_glob_covers_it_matches_all_of(glob: str, asked: str, namespace: str) -> None:
    if covers(glob, asked) and matches(asked, namespace):
        assert matches(glob, namespace)


def test_what_is_covered() -> None:
    for glob, asked in (
        ("*", "team-*"),
        ("team-*", "team-a"),
        ("team-*", "team-a*"),
        ("team-*", "team-[ab]"),
        ("a?", "a?"),
    ):
        assert covers(glob, asked), (glob, asked)
    for glob, asked in (
        ("team-*", "*"),
        ("team-*", "tea*"),
        ("team-a", "team-*"),
        ("*", "@x"),
        ("*", "@*"),
        ("a?", "a*"),
    ):
        assert not covers(glob, asked), (glob, asked)


@given(st.lists(grants, max_size=3), st.lists(grants, max_size=3), permissions, namespaces | st.none())
def test_nobody_can_grant_what_they_may_not_do(
    held: list[Grant], given_on: list[Grant], permission: Permission, namespace: str | None
) -> None:
    holder = Principal("token", "h", "h", tuple(held))
    other = Principal("token", "o", "o", tuple(given_on))
    if holder.includes(given_on) and other.may(permission, namespace):
        assert holder.may(permission, namespace)


@given(grants, permissions, namespaces)
def test_a_permission_is_of_the_role_and_in_the_namespaces_or_it_is_not(
    grant: Grant, permission: Permission, namespace: str
) -> None:
    principal = Principal("token", "p", "p", (grant,))
    if namespace == AUDIT_NAMESPACE:
        readable = permission in (Permission.RUN_SEE, Permission.LOG_READ, Permission.LOG_VERIFY)
        expected = readable and grant.role == "admin" and "*" in grant.namespaces
    elif permission in NAMESPACED:
        expected = permission in ROLES[grant.role] and any(matches(glob, namespace) for glob in grant.namespaces)
    else:
        expected = permission in ROLES[grant.role] and "*" in grant.namespaces
    assert principal.may(permission, namespace) == expected
    if expected:
        principal.require(permission, namespace)
    else:
        with pytest.raises(Denied, match=str(permission)):
            principal.require(permission, namespace)


def test_writers_read_nothing_and_operators_no_content() -> None:
    assert ROLES["writer"] == {Permission.LOG_WRITE}
    assert not {Permission.LOG_READ, Permission.LOG_DELETE, Permission.AUDIT_READ} & ROLES["operator"]
    assert Permission.LOG_READ not in ROLES["viewer"]
    for permission in Permission:
        assert EVERYBODY.may(permission, "any") == EVERYBODY.may(permission) == EVERYBODY.may(permission, "@any")


def test_a_grant_is_checked() -> None:
    assert check_grant("reader", ["a*", "b"]) == Grant("reader", ("a*", "b"))
    assert check_grant("reader", []) == Grant("reader", ("*",))
    for role, wrong in (
        ("king", ["*"]),
        ("reader", [""]),
        ("reader", ["a b"]),
        ("reader", ["x" * 251]),
        ("reader", ["a"] * 101),
    ):
        with pytest.raises(InvalidInput):
            check_grant(role, wrong)
