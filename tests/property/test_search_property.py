"""A search finds what a line by line look finds, however the bytes are cut into chunks."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from joblog.leader.search.lines import Hit, LineSearch, ShownLine
from joblog.leader.search.pattern import Pattern

TEXTS = st.lists(st.sampled_from([b"a", b"b", b"ab", b"\n", b"\n\n", b"xyz", b"\xff", b"\r\n", b"ba" * 9]), max_size=60)


def _numbered(data: bytes) -> list[ShownLine]:
    lines, offset = [], 0
    for number, line in enumerate(data.split(b"\n"), 1):
        lines.append(ShownLine(number, offset, line, cut=False))
        offset += len(line) + 1
    if lines[-1].text == b"":
        lines.pop()
    return lines


@given(
    TEXTS,
    st.lists(st.integers(0, 400), max_size=12),
    st.sampled_from(["ab", "b", "^a", "a$", "xyz|bab", "a+b", "."]),
    st.integers(0, 3),
    st.sampled_from([0, 1, 2]),
    st.integers(1, 30),
)
def test_like_line_by_line(  # noqa: PLR0917 - as many as are drawn
    texts: list[bytes], cuts: list[int], pattern: str, context: int, stream: int, limit: int
) -> None:
    data = b"".join(texts)
    # Every second byte of the log came from the other stream.
    search = LineSearch(
        Pattern(pattern, is_regex=True),
        offset=1000,
        line=7,
        context=context,
        stream=stream,
        origin=lambda offset: (offset % 2 + 1, offset),
    )
    hits: list[Hit] = []
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for begin, end in pairwise(places):
        if len(hits) < limit:
            hits += search.add(data[begin:end], limit - len(hits))
    if len(hits) < limit:
        hits += search.end(limit - len(hits))

    compiled = re.compile(pattern.encode())
    lines = _numbered(data)
    expected = []
    for index, line in enumerate(lines):
        # As for RE2, "." is a character: not a byte of a broken one.
        match = compiled.search(line.text.replace(b"\xff", b"")) and compiled.search(line.text)
        if match is not None and pattern == ".":
            match = re.search(rb"[^\xff]", line.text)
        if match is None:
            continue
        offset = 1000 + line.offset + match.start()
        if stream in (0, offset % 2 + 1):
            expected.append((index, offset))
    expected = expected[:limit]

    def moved(line: ShownLine) -> ShownLine:
        return line._replace(line=line.line + 6, offset=line.offset + 1000)

    assert [(hit.shown, hit.offset) for hit in hits] == [(moved(lines[index]), at) for index, at in expected]
    for hit, (index, at) in zip(hits, expected, strict=True):
        assert hit.before == [moved(line) for line in lines[max(0, index - context) : index]]
        assert hit.after == [moved(line) for line in lines[index + 1 : index + 1 + context]]
        assert (hit.stream, hit.time_ns) == (at % 2 + 1, at)
        assert hit.spans[0].begin == at - 1000 - lines[index].offset
