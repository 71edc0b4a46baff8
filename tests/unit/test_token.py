"""The text of a token, there and back; what is none; what its repr shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblog.errors import InvalidInput
from joblog.token import MAX_TOKEN_LENGTH, Token, new_token_id

SECRET = bytes(range(32))


@given(
    st.binary(min_size=32, max_size=32),
    st.sampled_from([b"", bytes(32), b"\xff" * 32]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=250),
)
def test_there_and_back(secret: bytes, fingerprint: bytes, address: str) -> None:
    token = Token(new_token_id(), secret, fingerprint, address)
    text = token.text
    assert Token.parse(f" {text}\n") == token
    assert text.count(".") == 4
    assert len(text) <= MAX_TOKEN_LENGTH


@given(st.integers(0, 500), st.characters(min_codepoint=33, max_codepoint=126))
def test_what_was_cut_off_or_changed_is_never_taken_for_the_token(place: int, character: str) -> None:
    token = Token("abcdefghijkl", SECRET, SECRET, "leader.example:7080")
    text = token.text
    place %= len(text)
    changed = [text[:place], text[:place] + text[place + 1 :], text[:place] + character + text[place + 1 :]]
    for other in changed:
        if other == text:
            continue
        try:
            assert Token.parse(other) != token
        except InvalidInput as error:
            assert text.split(".")[2] not in str(error)


def test_the_secret_is_not_shown() -> None:
    token = Token("abcdefghijkl", SECRET)
    secret = token.text.split(".")[2]
    assert secret not in repr(token) and secret not in str(token) and repr(SECRET) not in repr(token)
    assert token.text.endswith(".-.-")


@pytest.mark.parametrize("text", ["", "x", "jl1....", "jl2.abcdefghijkl.-.-.-", "jl1.abcdefghijkl.-.-.-", "a" * 2000])
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidInput, match="the token is none"):
        Token.parse(text)
