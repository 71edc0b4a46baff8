"""One leader writes below a prefix; another one is refused, or takes over and stops the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from joblog.errors import Corrupt
from joblog.leader.archive.claim import EPOCH_STEP, Claim, ClaimLost, read_claim
from joblog.leader.archive.layout import claim_key, pack_key
from joblog.leader.archive.roster import pack_roster, parse_roster
from tests.archiving import CountedPuts

ONE, TWO = "1" * 32, "2" * 32


def test_epochs_grow_with_each_life(objects: CountedPuts) -> None:
    first = Claim(objects, ONE)
    first.ensure()
    first.ensure()
    assert first.epoch == 1
    assert first.next_sequence() == EPOCH_STEP + 1
    second = Claim(objects, ONE)
    second.ensure()
    assert second.epoch == 2
    assert second.next_sequence() > first.next_sequence()


def test_another_store_is_refused_and_says_what_to_do(objects: CountedPuts) -> None:
    Claim(objects, ONE).ensure()
    with pytest.raises(ClaimLost, match=rf"store {ONE}, this one has store {TWO}.*rebuild"):
        Claim(objects, TWO).ensure()


def test_who_is_taken_over_from_finds_out(objects: CountedPuts) -> None:
    first, second = Claim(objects, ONE), Claim(objects, TWO)
    first.ensure()
    second.take(force=True)
    with pytest.raises(ClaimLost):
        first.ensure()
    second.ensure()
    state = read_claim(objects)
    assert state is not None
    assert (state.store_id, state.epoch) == (TWO, 2)


def test_a_claim_is_shown_to_be_in_use(objects: CountedPuts) -> None:
    now = [1_000]
    claim = Claim(objects, ONE, clock_ns=lambda: now[0])
    claim.renew()
    assert read_claim(objects) is None
    claim.ensure()
    before = read_claim(objects)
    assert before is not None
    now[0] = 5_000
    claim.renew()
    assert read_claim(objects) == before._replace(renewed_ns=5_000)
    claim.ensure()
    claim.renew()
    Claim(objects, TWO).take(force=True)
    with pytest.raises(ClaimLost):
        claim.renew()


def test_a_claim_is_taken_over_from_the_one_that_was_seen_only(objects: CountedPuts) -> None:
    Claim(objects, ONE).ensure()
    seen = read_claim(objects)
    assert seen is not None
    Claim(objects, TWO).take(force=True, over=seen)
    with pytest.raises(ClaimLost):
        Claim(objects, "3" * 32).take(force=True, over=seen)
    assert read_claim(objects).store_id == TWO  # type: ignore[union-attr]


def test_a_copied_store_is_two_leaders_too(objects: CountedPuts) -> None:
    first, copy = Claim(objects, ONE), Claim(objects, ONE)
    first.ensure()
    copy.ensure()
    with pytest.raises(ClaimLost):
        first.ensure()


def test_of_two_at_once_one_is_refused(objects: CountedPuts, tmp_path: Path) -> None:
    class Slow(CountedPuts):
        def head(self, key: str):  # type: ignore[no-untyped-def]
            info = super().head(key)
            if info is None and not other.epoch:
                other.ensure()
            return info

    other = Claim(objects, TWO)
    late = Claim(Slow(tmp_path / "archive"), ONE)
    with pytest.raises(ClaimLost):
        late.ensure()
    other.ensure()


def test_a_claim_that_is_gone_is_taken_again_in_a_later_epoch(objects: CountedPuts) -> None:
    claim = Claim(objects, ONE)
    claim.ensure()
    objects.put(pack_key(ONE, claim.next_sequence()), b"pack")
    objects.delete([claim_key()])
    claim.ensure()
    assert claim.epoch == 2
    objects.delete([claim_key()])
    again = Claim(objects, ONE)
    again.ensure()
    assert again.epoch == 2


def test_a_damaged_claim_stops_nobody_silently(objects: CountedPuts) -> None:
    objects.put(claim_key(), b"{}")
    with pytest.raises(Corrupt, match="is damaged"):
        Claim(objects, ONE).ensure()


@pytest.mark.parametrize("bad", [b"", b"JLROST1\n", b"x" * 100])
def test_a_damaged_roster_is_refused(bad: bytes) -> None:
    with pytest.raises(Corrupt):
        list(parse_roster(bad))
    whole = pack_roster([])
    assert list(parse_roster(whole)) == []
    with pytest.raises(Corrupt):
        list(parse_roster(whole[:-1]))
