from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, MechanismFlag

from joblog.errors import Corrupt, Denied, InvalidSettings, NotFound, Unavailable
from joblog.leader.crypto.kms_options import Pkcs11Options
from joblog.leader.crypto.pkcs11_kms import Pkcs11Kms
from tests.kms_places import name_at, pkcs11_options
from tests.soft_hsm import PIN, SoftHsm

CONTEXT = {"store": "s", "key": "k"}


@pytest.fixture
def options(soft_hsm: SoftHsm, tmp_path: Path) -> Pkcs11Options:
    return pkcs11_options(soft_hsm, name_at(tmp_path, "token"))


@contextmanager
def session(options: Pkcs11Options) -> Iterator[Any]:
    library: Any = pkcs11.lib(options.module)
    library.reinitialize()
    with library.get_token(token_label=options.token).open(rw=True, user_pin=PIN) as opened:
        yield opened


def test_the_key_is_made_in_the_token_and_does_not_leave_it(options: Pkcs11Options) -> None:
    kms = Pkcs11Kms(options, PIN, create=True)
    wrapped = kms.wrap(b"secret", CONTEXT)
    with session(options) as opened:
        (key,) = opened.get_objects()
        assert (key.label, key.id.hex(), key.key_length) == ("joblog", kms.version_of(wrapped), 256)
        assert key[Attribute.NEVER_EXTRACTABLE]
        assert key[Attribute.ALWAYS_SENSITIVE]
        with pytest.raises(pkcs11.AttributeSensitive):
            key[Attribute.VALUE]


def test_a_key_is_made_only_where_that_is_allowed(options: Pkcs11Options) -> None:
    for kms in (Pkcs11Kms(options, PIN), Pkcs11Kms(replace(options, create=False), PIN, create=True)):
        with pytest.raises(NotFound, match=r"keys\.pkcs11\.create"):
            kms.wrap(b"secret", CONTEXT)
    # What is to be unwrapped never makes one.
    elsewhere = b"\x01\x08" + b"i" * 8 + b"n" * 12 + b"s" * 20
    with pytest.raises(Denied, match="has none of that id"):
        Pkcs11Kms(options, PIN, create=True).unwrap(elsewhere, CONTEXT)
    with session(options) as opened:
        assert list(opened.get_objects()) == []


def test_a_key_that_others_have_made_is_used_and_rotated(options: Pkcs11Options) -> None:
    with session(options) as opened:
        for key_id in (b"\x01", b"\x02"):
            opened.generate_key(
                KeyType.AES,
                256,
                id=key_id,
                label="joblog",
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
            )
    kms = Pkcs11Kms(options, PIN)
    old = kms.wrap(b"secret", CONTEXT)
    assert kms.version_of(old) == kms.current_version() == "02"
    versions = ["02", kms.rotate(), kms.rotate()]
    assert len(set(versions)) == 3
    assert kms.current_version() == versions[-1]
    assert kms.unwrap(kms.rewrap(old, CONTEXT), CONTEXT) == kms.unwrap(old, CONTEXT) == b"secret"


def test_many_threads_share_a_token(options: Pkcs11Options) -> None:
    first, second = (Pkcs11Kms(options, PIN, create=True) for _ in range(2))
    first.wrap(b"makes the key", CONTEXT)

    def work(number: int) -> bytes:
        kms = (first, second)[number % 2]
        return kms.unwrap(kms.wrap(b"%d" % number, CONTEXT), CONTEXT)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(64))) == [b"%d" % number for number in range(64)]


def test_a_token_that_goes_away_and_comes_back_is_found_again(options: Pkcs11Options, soft_hsm: SoftHsm) -> None:
    kms = Pkcs11Kms(options, PIN, create=True)
    wrapped = kms.wrap(b"secret", CONTEXT)
    away = soft_hsm.tokens.with_name("away")
    soft_hsm.tokens.rename(away)
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match=options.token):
                kms.unwrap(wrapped, CONTEXT)
    finally:
        away.rename(soft_hsm.tokens)
    assert kms.unwrap(wrapped, CONTEXT) == b"secret"


def test_a_token_that_is_made_later_is_found(options: Pkcs11Options, soft_hsm: SoftHsm) -> None:
    Pkcs11Kms(options, PIN, create=True).wrap(b"loads the library", CONTEXT)
    later = replace(options, token=options.token + "-later")
    kms = Pkcs11Kms(later, PIN, create=True)
    with pytest.raises(Unavailable, match="knows no such token"):
        kms.wrap(b"secret", CONTEXT)
    soft_hsm.add_token(later.token)
    assert kms.unwrap(kms.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"


def test_a_key_that_is_gone_is_told_from_damage(options: Pkcs11Options) -> None:
    kms = Pkcs11Kms(options, PIN, create=True)
    wrapped = kms.wrap(b"secret", CONTEXT)
    with pytest.raises(Corrupt, match="belongs to another store"):
        kms.unwrap(wrapped, {**CONTEXT, "key": "l"})
    with session(options) as opened:
        for key in opened.get_objects():
            key.destroy()
    with pytest.raises(Denied, match=f"wrapped with key {kms.version_of(wrapped)}"):
        kms.unwrap(wrapped, CONTEXT)


def test_a_wrong_pin_is_tried_once(options: Pkcs11Options, monkeypatch: pytest.MonkeyPatch) -> None:
    kms = Pkcs11Kms(options, "wrong PIN", create=True)
    for _ in range(3):
        with pytest.raises(Denied, match="not tried again") as caught:
            kms.wrap(b"secret", CONTEXT)
        assert "wrong PIN" not in str(caught.value)
        monkeypatch.setattr(kms._token, "_library", lambda: pytest.fail("the token was asked again"))


def test_the_pin_file_is_for_its_owner_and_read_again(options: Pkcs11Options, tmp_path: Path) -> None:
    file = tmp_path / "pin"
    kms = Pkcs11Kms(replace(options, pin_file=str(file)), "", create=True)
    with pytest.raises(Denied, match="FileNotFoundError"):
        kms.wrap(b"secret", CONTEXT)
    file.write_text(PIN + "\n")
    file.chmod(0o640)
    with pytest.raises(Denied, match="chmod 600"):
        kms.wrap(b"secret", CONTEXT)
    file.chmod(0o600)
    file.write_text("not the PIN\n")
    with pytest.raises(Denied, match="refuses the PIN"):
        kms.wrap(b"secret", CONTEXT)
    file.write_text(PIN + "\n")
    assert kms.unwrap(kms.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"


def test_settings_that_lead_nowhere_are_named(options: Pkcs11Options, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"keys\.pkcs11\.module"):
        Pkcs11Kms(replace(options, module=str(tmp_path / "none.so")), PIN)
    with pytest.raises(InvalidSettings, match="a PIN"):
        Pkcs11Kms(options, "")
    no_library = tmp_path / "text.so"
    no_library.write_text("no library")
    with pytest.raises(Unavailable):
        Pkcs11Kms(replace(options, module=str(no_library)), PIN).wrap(b"secret", CONTEXT)
