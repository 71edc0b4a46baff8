"""Quotas as settings have them."""

from __future__ import annotations

import pytest

from joblog.errors import InvalidInput
from joblog.leader.access.quota import NamespaceQuota, QuotaRules, Scope, parse_namespace_quota
from joblog.leader.access.records import Quota


def test_quotas_are_read() -> None:
    assert parse_namespace_quota("team-a-*: bytes_per_day=10GiB live_logs=1000") == NamespaceQuota(
        "team-a-*", Quota(bytes_per_day=10 << 30, live_logs=1000)
    )
    # A namespace's name may hold colons.
    assert parse_namespace_quota("a:b:stored_bytes=1KiB requests_per_second=5") == NamespaceQuota(
        "a:b", Quota(stored_bytes=1024, requests_per_second=5)
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "team",
        "team:",
        ": live_logs=1",
        "team: live_logs",
        "team: live_logs=0",
        "team: live_logs=1.5",
        "team: live_logs=1 live_logs=2",
        "team: bytes=1",
        "team: bytes_per_day=-1",
        "te am: live_logs=1",
        "team: live_logs=99999999999999999999",
    ],
)
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_namespace_quota(text)


def test_the_first_glob_counts() -> None:
    rules = QuotaRules([parse_namespace_quota(text) for text in ("team-a: live_logs=1", "*: live_logs=2")])
    assert [rules.of(Scope("namespace", name)).live_logs for name in ("team-a", "team-b", "@audit")] == [1, 2, 0]
    assert rules.of(Scope("token", "abc")) == Quota()
