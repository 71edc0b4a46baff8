"""Masking in pieces is masking whole, and no byte of a secret is left."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from joblog.worker.redaction import Masker

# Few letters, so that values overlap each other and themselves.
secrets = st.lists(st.text("ab/", min_size=6, max_size=14).map(str.encode), min_size=1, max_size=4)
noise = st.text("ab/ x\n", max_size=12).map(str.encode)


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    values = draw(secrets)
    parts: list[bytes] = []
    for _ in range(draw(st.integers(0, 6))):
        value = draw(st.sampled_from(values))
        form = draw(st.sampled_from(["plain", "base64", "url", "json", "part"]))
        parts.append(draw(noise))
        if form == "part":
            parts.append(value[: draw(st.integers(0, len(value)))])
        elif form == "base64":
            parts.append(base64.b64encode(draw(noise) + value))
        elif form == "url":
            parts.append(quote(value, safe="").encode())
        elif form == "json":
            parts.append(json.dumps(value.decode()).encode())
        else:
            parts.append(value)
    return values, b"".join(parts)


def masked_by_hand(patterns: list[bytes], text: bytes) -> bytes:
    """The same by a slow and plain way: mark what is covered, then where one match ends and the next begins."""
    covered = bytearray(len(text))
    joined = bytearray(len(text))
    for pattern in patterns:
        for at in range(len(text) - len(pattern) + 1):
            if text.startswith(pattern, at):
                covered[at : at + len(pattern)] = b"\1" * len(pattern)
                joined[at + 1 : at + len(pattern)] = b"\1" * (len(pattern) - 1)
    out = bytearray()
    for at, byte in enumerate(text):
        if not covered[at]:
            out.append(byte)
        elif not joined[at]:
            out += b"***"
    return bytes(out)


@given(texts(), st.lists(st.integers(0, 200), max_size=12))
def test_any_split_gives_what_the_whole_gives(case: tuple[list[bytes], bytes], cuts: list[int]) -> None:
    values, text = case
    masker = Masker(values)
    whole = masker.mask(text)
    assert whole == masked_by_hand(masker._patterns, text)
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    out, fed = b"", 0
    for start, stop in pairwise(ends):
        piece = masker.feed(1, text[start:stop])
        out += piece
        fed = stop
        # What is out belongs to the result, and no more than the longest pattern is held back.
        assert whole.startswith(out)
        assert out + b"***" == whole or len(masker._held[1]) < masker.longest_bytes
    assert fed == len(text)
    assert out + masker.flush(1) == whole


@given(texts())
def test_no_secret_is_left(case: tuple[list[bytes], bytes]) -> None:
    values, text = case
    masked = Masker(values).mask(text)
    assert not any(value in part for value in values for part in masked.split(b"***"))


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_text_without_secrets_is_unchanged(text: bytes, cuts: list[int]) -> None:
    masker = Masker([b"a value that is too long to come up by chance"])
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    out = b"".join(masker.feed(1, text[start:stop]) for start, stop in pairwise(ends))
    assert out + masker.flush(1) == text
