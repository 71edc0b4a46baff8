"""Keys of archive objects: made, parsed back, and never one for two things."""

from __future__ import annotations

import pytest

from joblog.errors import InvalidInput
from joblog.identity import MAX_ATTEMPT, LogName
from joblog.leader.archive import layout
from joblog.leader.archive.layout import LogKey

NAME = LogName("default", "run-1", "build", 3)


def test_keys_of_a_log() -> None:
    assert layout.sealed_key(NAME) == "default/run-1/build/3/log.joblog"
    assert layout.metadata_key(NAME) == "default/run-1/build/3/metadata.json"
    assert layout.plain_key(NAME) == "default/run-1/build/3/logs.txt"
    assert layout.segment_key(NAME, 0, 1000) == "default/run-1/build/3/00000000000000000000-00000000000000001000.seg"
    for key in (layout.sealed_key(NAME), layout.segment_key(NAME, 5, 2**64 - 1)):
        assert key.startswith(layout.log_prefix(NAME))
        assert key.startswith(layout.run_prefix("default", "run-1"))
        assert key.startswith(layout.namespace_prefix("default"))


@pytest.mark.parametrize(
    "name",
    [
        NAME,
        LogName("_live", "run", "@run", 1),
        LogName("n" * 250, "r" * 250, "t" * 250, MAX_ATTEMPT),
        LogName("a:b", "c+d", "e=f~_-.", 10),
    ],
)
def test_keys_of_a_log_lead_back_to_it(name: LogName) -> None:
    for file in ("log.joblog", "metadata.json", "logs.txt"):
        key = layout.log_prefix(name) + file
        assert layout.parse_log_key(key) == LogKey(name, file)
        assert not key.startswith(layout.LIVE_PREFIX)
    segment = layout.segment_key(name, 7, 2**64 - 1)
    found = layout.parse_log_key(segment)
    assert found is not None
    assert (found.name, found.from_offset, found.to_offset) == (name, 7, 2**64 - 1)
    assert len(segment) <= layout.MAX_KEY_BYTES


def test_keys_of_live_logs_lead_back() -> None:
    leader = "ab" * 16
    pack, roster = layout.pack_key(leader, 12), layout.roster_key(leader, 2**64 - 1)
    assert pack == f"_live/{leader}/00000000000000000012.pack"
    assert layout.parse_pack_key(pack) == (leader, 12)
    assert roster == f"_live/{leader}/18446744073709551615.roster"
    assert layout.parse_roster_key(roster) == (leader, 2**64 - 1)
    assert layout.claim_key() == "_live/claim.json"
    for key in (pack, roster):
        assert layout.parse_log_key(key) is None
        assert key.startswith(layout.live_prefix(leader))
    assert layout.parse_pack_key(roster) is None
    assert layout.parse_roster_key(pack) is None


def test_keys_sort_by_sequence_and_offset() -> None:
    numbers = [0, 1, 9, 10, 2**32, 2**63]
    packs = [layout.pack_key("leader", number) for number in numbers]
    segments = [layout.segment_key(NAME, number, number + 1) for number in numbers]
    assert packs == sorted(packs)
    assert segments == sorted(segments)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "default/run/build/3",
        "default/run/build/0/log.joblog",
        "default/run/build/03/log.joblog",
        "default/run/build/x/log.joblog",
        f"default/run/build/{2**31}/log.joblog",
        "default/run/build/3/other.txt",
        "default/../build/3/log.joblog",
        "_live/run/build/3/log.joblog",
        "default/run/@other/3/log.joblog",
        "default/run/build/3/5-7.seg",
        "default/run/build/3/00000000000000000007-00000000000000000007.seg",
        "default/run/build/3/00000000000000000007-99999999999999999999.seg",
        "default/run/build/3/log.joblog\n",
        "/default/run/build/3/log.joblog",
        "_live/leader/99999999999999999999.pack",
        "_live/.hidden/00000000000000000001.pack",
        "_live/leader/1.pack",
        "_live/leader/1.roster",
        "_live/claim.json",
    ],
)
def test_other_keys_are_none_of_joblogs(key: str) -> None:
    assert layout.parse_log_key(key) is None
    assert layout.parse_pack_key(key) is None
    assert layout.parse_roster_key(key) is None


def test_no_key_for_what_is_no_name() -> None:
    for name in (
        NAME._replace(run="../x"),
        NAME._replace(attempt=0),
        NAME._replace(namespace=""),
        NAME._replace(task="a/b"),
    ):
        with pytest.raises(InvalidInput):
            layout.sealed_key(name)
    for from_offset, to_offset in ((5, 5), (-1, 5), (0, 2**64)):
        with pytest.raises(InvalidInput):
            layout.segment_key(NAME, from_offset, to_offset)
    with pytest.raises(InvalidInput):
        layout.pack_key("a/b", 1)
    with pytest.raises(InvalidInput):
        layout.pack_key("leader", 2**64)
