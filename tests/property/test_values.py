"""joblog.values: sizes go through text and back; nothing that is written down breaks the parser."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from joblog.errors import InvalidInput
from joblog.values import Rule, format_size, parse, parse_duration, parse_size, show

SIZE = Rule("int", "", unit="bytes", low=0, high=1 << 50)


@given(st.integers(0, 1 << 50))
def test_sizes_go_there_and_back(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes).replace(" bytes", "")) == size_bytes
    assert parse(SIZE, tomllib.loads(f"x = {show(SIZE, size_bytes)}")["x"], textual=False) == size_bytes


@given(st.integers(1, 10**9 - 1), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)]))
def test_durations(count: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f"{count}{unit[0]}") == count * unit[1]


@given(st.text(max_size=40))
def test_any_text_is_a_value_or_refused(text: str) -> None:
    for kind in ("bool", "int", "float", "str", "Path | None", "tuple[str, ...]"):
        try:
            parse(Rule(kind, "", low=0, high=9), text, textual=True)
        except InvalidInput as error:
            assert str(error).startswith(("must be ", "is not a path"))


@given(st.text(max_size=40).filter(lambda text: "\0" not in text))
def test_texts_are_shown_as_toml(text: str) -> None:
    rule = Rule("str", "")
    assert tomllib.loads(f"x = {show(rule, text)}") == {"x": text}


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e9))
def test_numbers_are_shown_as_toml(number: float) -> None:
    assert tomllib.loads(f"x = {show(Rule('float', ''), number)}") == {"x": number}
