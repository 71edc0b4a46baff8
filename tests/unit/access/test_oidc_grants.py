"""Groups of a provider, and what they are granted."""

from __future__ import annotations

import pytest

from joblog.errors import InvalidInput
from joblog.leader.access.oidc_grants import grants_of, groups_in, parse_group_grant
from joblog.leader.access.roles import Grant


def test_entries() -> None:
    assert parse_group_grant("platform=admin:*") == ("platform", Grant("admin"))
    assert parse_group_grant("a b=reader:team-a-*") == ("a b", Grant("reader", ("team-a-*",)))
    assert parse_group_grant("cn=x=admin:*,ou=y=viewer:z") == ("cn=x=admin:*,ou=y", Grant("viewer", ("z",)))
    for text in ("", "a", "a=admin", "a=admin:", "=admin:*", "a=root:*", "a=reader:b c", "a:admin:*"):
        with pytest.raises(InvalidInput):
            parse_group_grant(text)


def test_members_get_what_their_groups_are_granted_and_others_nothing() -> None:
    granted = [parse_group_grant(text) for text in ("a=reader:x", "a=viewer:y", "b=reader:x", "c=admin:*")]
    assert grants_of(["a", "b"], granted) == (Grant("reader", ("x",)), Grant("viewer", ("y",)))
    assert grants_of(["A", "d", ""], granted) == ()
    everybody = [*granted, parse_group_grant("*=viewer:open-*")]
    assert grants_of([], everybody) == (Grant("viewer", ("open-*",)),)


def test_groups_are_found_in_claims() -> None:
    claims = {"groups": ["a", 1, "*", None, "b"], "one": "c", "realm": {"roles": ["d"]}, "x.y": ["e"], "no": {"z": 1}}
    assert groups_in(claims, "groups") == ("a", "b")
    assert groups_in(claims, "one") == ("c",)
    assert groups_in(claims, "realm.roles") == ("d",)
    assert groups_in(claims, "x.y") == ("e",)
    for claim in ("nothing", "realm.other", "realm", "one.more", "no.z"):
        assert groups_in(claims, claim) is None
