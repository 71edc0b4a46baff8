"""Secret values never leave the masker, however they are written and however they are split over reads."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from joblog.errors import InvalidInput
from joblog.worker.redaction import Masker, mask_values

SECRET = b'pa"ss/w+rd \xc3\xa9&<1?~'
TEXT = SECRET.decode()


def in_pieces(masker: Masker, text: bytes, piece_bytes: int) -> bytes:
    pieces = [masker.feed(1, text[at : at + piece_bytes]) for at in range(0, len(text), piece_bytes)]
    return b"".join(pieces) + masker.flush(1)


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(TEXT)[1:-1].encode(),
        json.dumps(TEXT, ensure_ascii=False)[1:-1].encode(),
        json.dumps(TEXT)[1:-1].replace("/", "\\/").encode(),
        json.dumps(TEXT)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c").encode(),
        json.dumps(TEXT)[1:-1].replace("\\u00e9", "\\u00E9").encode(),
        quote(TEXT).encode(),
        quote(TEXT, safe="").encode(),
        quote(TEXT, safe="").lower().encode(),
        quote_plus(TEXT).encode(),
        base64.b64encode(SECRET).rstrip(b"="),
        base64.urlsafe_b64encode(SECRET).rstrip(b"="),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 3, 1000])
def test_every_form_is_masked_in_pieces_too(written: bytes, piece_bytes: int) -> None:
    assert in_pieces(Masker([SECRET]), b"token=" + written + b"\n", piece_bytes)[:9] == b"token=***"


@pytest.mark.parametrize("before", [b"", b"u", b"u:", b"use", b"user:"])
@pytest.mark.parametrize("after", [b"", b"\n", b":x", b"@host"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_value_inside_a_longer_base64_text_is_masked(before: bytes, after: bytes, encode: object) -> None:
    assert callable(encode)
    coded = encode(before + SECRET + after)
    masked = Masker([SECRET]).mask(b"Authorization: Basic " + coded)
    assert b"***" in masked
    # What the value alone decides is gone; its neighbours stay.
    shared_characters = 4
    assert len(masked) <= len(b"Authorization: Basic ***") + (len(before + after) * 4 + 2) // 3 + shared_characters


def test_two_secrets_that_overlap_leave_nothing() -> None:
    masker = Masker([b"abcdefgh", b"efghijkl", b"cdefgh"])
    assert masker.mask(b"<abcdefghijkl>") == b"<***>"
    assert masker.mask(b"<abcdefghabcdefgh>") == b"<******>"
    assert masker.mask(b"<efghijk>") == b"<efghijk>"
    assert in_pieces(masker, b"<abcdefghijkl>", 1) == b"<***>"


def test_a_value_that_repeats_itself_is_one_mask() -> None:
    assert in_pieces(Masker([b"aaaaaa"]), b"x" + b"a" * 20 + b"y", 1) == b"x***y"


def test_only_what_may_begin_a_value_is_held_back() -> None:
    masker = Masker([b"hunter22"])
    assert masker.feed(1, b"login hunt") == b"login "
    assert masker.feed(2, b"er22\n") == b"er22\n"
    assert masker.feed(1, b"ed\n") == b"hunted\n"
    assert masker.feed(1, b"hunter2") == b""
    assert masker.flush(1) == b"hunter2"
    assert masker.flush(1) == b""


def test_lines_of_a_value_are_masked_alone_too() -> None:
    masker = Masker([b"-----BEGIN KEY-----\nMIIEabcdef\nab\n-----END KEY-----\n"])
    assert masker.mask(b"> MIIEabcdef\r\n> ab\n") == b"> ***\r\n> ab\n"


def test_values_that_are_too_short_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"5 bytes can't be masked.*at least 6"):
        Masker([b"12345"])
    with pytest.raises(InvalidInput, match="--mask-env TOKEN: a value of 3 bytes"):
        mask_values(["TOKEN"], [], {b"TOKEN": b" abc "})
    with pytest.raises(InvalidInput, match="--mask-env TOKEN: no such variable"):
        mask_values(["TOKEN"], [], {})
    file = tmp_path / "masks"
    file.write_bytes(b"long enough\nno\n")
    with pytest.raises(InvalidInput, match=r"masks, line 2: a value of 2 bytes"):
        mask_values([], [file], {})
    with pytest.raises(InvalidInput, match="can't be read: No such file"):
        mask_values([], [tmp_path / "absent"], {})


def test_values_come_from_variables_and_files(tmp_path: Path) -> None:
    file = tmp_path / "masks"
    file.write_bytes(b"first value\r\n\nsecond value\n")
    file.chmod(0o644)
    values, warnings = mask_values(["TOKEN"], [file], {b"TOKEN": b"from variable"})
    assert values == [b"from variable", b"first value", b"second value"]
    assert len(warnings) == 1 and "make it 0600" in warnings[0]
    file.chmod(0o600)
    assert mask_values([], [file], {})[1] == []


def test_nothing_to_mask_changes_nothing() -> None:
    assert Masker([]).mask(b"as it is\x00\xff") == b"as it is\x00\xff"
