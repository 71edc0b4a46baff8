"""What every KMS promises."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from joblog.errors import Conflict, Corrupt, Denied, InvalidInput, InvalidSettings, JoblogError, WrongVersion
from joblog.leader.crypto.kms import MAX_PLAIN_BYTES, context_bytes
from joblog.leader.crypto.passphrase_kms import PassphraseKms, ScryptParams
from tests.kms_places import KINDS, Make, make_for

CONTEXT = {"store": "s", "key": "k"}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Make:
    return make_for(request.param, request)


def test_what_was_wrapped_unwraps_also_later(make: Make, tmp_path: Path) -> None:
    kms = make(tmp_path, "first")
    for plain in (b"k" * 32, b"a secret", b"x" * MAX_PLAIN_BYTES):
        wrapped = kms.wrap(plain, CONTEXT)
        assert plain not in wrapped
        assert kms.unwrap(wrapped, CONTEXT) == plain
        again = make(tmp_path, "first")
        assert (again.name, again.key_id) == (kms.name, kms.key_id)
        assert again.unwrap(wrapped, dict(reversed(CONTEXT.items()))) == plain


@pytest.mark.parametrize("length", [0, MAX_PLAIN_BYTES + 1])
def test_what_some_kms_would_refuse_is_refused_by_all(make: Make, tmp_path: Path, length: int) -> None:
    with pytest.raises(InvalidInput, match=f"not {length}"):
        make(tmp_path, "first").wrap(b"x" * length, CONTEXT)


def test_what_old_versions_wrapped_opens_after_a_rotation(make: Make, tmp_path: Path) -> None:
    kms, other = make(tmp_path, "first"), make(tmp_path, "first")
    key_id, first = kms.key_id, kms.current_version()
    old = kms.wrap(b"old", CONTEXT)
    assert kms.version_of(old) == first
    try:
        second = kms.rotate()
    except Conflict:
        assert first == ""
        pytest.skip("its key is not rotated, it is left for another one")
    assert second == kms.current_version()
    assert not first or second != first
    new = kms.wrap(b"new", CONTEXT)
    for reader in (kms, other, make(tmp_path, "first")):
        assert (reader.name, reader.key_id) == (kms.name, key_id)
        assert reader.unwrap(old, CONTEXT) == b"old"
        assert reader.unwrap(new, CONTEXT) == b"new"
        assert (reader.version_of(old), reader.version_of(new)) == (first, second)


def test_rewrapping_gives_the_newest_version_and_the_same_secret(make: Make, tmp_path: Path) -> None:
    kms = make(tmp_path, "first")
    old = kms.wrap(b"secret", CONTEXT)
    with contextlib.suppress(Conflict):
        kms.rotate()
    new = kms.rewrap(old, CONTEXT)
    assert new != old
    assert kms.version_of(new) == kms.current_version()
    assert kms.unwrap(new, CONTEXT) == b"secret"
    with pytest.raises((Corrupt, Denied)):
        kms.rewrap(old, {**CONTEXT, "store": "t"})
    with pytest.raises((Corrupt, Denied)):
        kms.unwrap(new, {**CONTEXT, "store": "t"})


def test_the_same_secret_wrapped_twice_differs(make: Make, tmp_path: Path) -> None:
    kms = make(tmp_path, "first")
    assert kms.wrap(b"k", CONTEXT) != kms.wrap(b"k", CONTEXT)


def test_another_key_is_denied(make: Make, tmp_path: Path) -> None:
    wrapped = make(tmp_path, "first").wrap(b"k" * 32, CONTEXT)
    with pytest.raises(Denied):
        make(tmp_path, "second").unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize("context", [{}, {"store": "t", "key": "k"}, {"store": "s"}, {"storek": "s", "ey": "k"}])
def test_another_context_is_refused(make: Make, tmp_path: Path, context: dict[str, str]) -> None:
    kms = make(tmp_path, "first")
    with pytest.raises((Corrupt, Denied)):
        kms.unwrap(kms.wrap(b"k" * 32, CONTEXT), context)


def test_every_flipped_bit_and_every_cut_is_refused(make: Make, tmp_path: Path) -> None:
    kms = make(tmp_path, "first")
    wrapped = kms.wrap(b"secret", CONTEXT)
    # A service is asked each time: there some places stand for all.
    for place in range(0, len(wrapped), 9 if kms.name == "aws" else 1):
        for mask in (1, 128):
            damaged = bytearray(wrapped)
            damaged[place] ^= mask
            with pytest.raises((Corrupt, Denied, WrongVersion)):
                kms.unwrap(bytes(damaged), CONTEXT)
        with pytest.raises(JoblogError):
            kms.unwrap(wrapped[:place], CONTEXT)


def test_names_fit_their_record(make: Make, tmp_path: Path) -> None:
    kms = make(tmp_path, "first")
    assert 0 < len(kms.name) < 256
    assert 0 < len(kms.key_id) < 256


def test_contexts_that_differ_have_different_bytes() -> None:
    contexts = [{}, {"a": ""}, {"": "a"}, {"a": "b"}, {"ab": ""}, {"a": "b", "c": "d"}, {"a": "bc", "": "d"}]
    assert len({context_bytes(context) for context in contexts}) == len(contexts)


def test_a_short_passphrase_and_costs_of_a_bomb_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="at least 12"):
        PassphraseKms("short")
    kms = PassphraseKms("a long passphrase", ScryptParams(log_n=6))
    wrapped = kms.wrap(b"k", CONTEXT)
    with pytest.raises(Corrupt, match="asks for scrypt"):
        kms.unwrap(wrapped[:1] + b"\x18" + wrapped[2:], CONTEXT)
