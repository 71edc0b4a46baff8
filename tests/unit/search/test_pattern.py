import time

import pytest

from joblog.errors import InvalidInput
from joblog.leader.search.pattern import Found, Pattern


@pytest.mark.parametrize("text", ["", "a\nb", "x" * 1001])
def test_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="the pattern"):
        Pattern(text)


@pytest.mark.parametrize("text", ["a(", "a)(b", r"(x)\1", "(?=a)b", "[z-a]", "a{2000}"])
def test_not_a_regular_expression(text: str) -> None:
    with pytest.raises(InvalidInput, match="regular expression"):
        Pattern(text, is_regex=True)


def test_literal_means_itself() -> None:
    data = b"axb a.b A.B\n"
    assert Pattern("a.b").first(data, 0, len(data)) == Found(4, 7)
    assert Pattern("A.b", ignore_case=True).each(data, 0, len(data), 10) == [Found(4, 7), Found(8, 11)]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("^b+$", [Found(4, 7)]), ("[^z]+", [Found(0, 3), Found(4, 7), Found(8, 10)]), (r"a\s+b", []), ("a*|", [])],
)
def test_within_lines(pattern: str, matches: list[Found]) -> None:
    data = b"aaa\nbbb\ncc\n"
    found = Pattern(pattern, is_regex=True).each(data, 0, len(data), 100)
    assert found == (matches or [match for match in found if b"\n" not in data[match.begin : match.end]])


def test_not_ascii() -> None:
    data = "Zürich ZÜRICH\n".encode()
    assert len(Pattern("zürich", ignore_case=True).each(data, 0, len(data), 9)) == 2
    # What is not UTF-8 around it does not hide it.
    assert Pattern("ok").first(b"\xff\xfeok\xff\n", 0, 6) == Found(2, 4)


def test_no_pattern_takes_long() -> None:
    data = b"a" * 1_000_000 + b"\n"
    began = time.process_time()
    assert Pattern("(a+)+$x", is_regex=True).first(data, 0, len(data)) is None
    assert Pattern("(a|aa|aaa)*b", is_regex=True).first(data, 0, len(data)) is None
    # A backtracking engine would not end in this life.
    assert time.process_time() - began < 30
