from joblog.leader.search.lines import LONG_LINE_BYTES, SHOWN_BYTES, Hit, LineSearch
from joblog.leader.search.pattern import Pattern


def search(*chunks: bytes, text: str = "needle") -> tuple[LineSearch, list[Hit]]:
    lines = LineSearch(Pattern(text), offset=0, line=1, context=0, stream=0, origin=lambda _: (1, 2))
    hits: list[Hit] = []
    for chunk in chunks:
        hits += lines.add(chunk, 1000)
    return lines, hits + lines.end(1000)


def test_a_long_line_is_shown_in_part() -> None:
    data = b"x" * 50_000 + b"needle" + b"y" * 50_000 + b" needle\nnext\n"
    _, [hit] = search(data)
    assert hit.offset == 50_000
    assert len(hit.shown.text) == SHOWN_BYTES
    assert hit.shown.cut
    span = hit.spans[0]
    assert hit.shown.text[span.begin : span.end] == b"needle"
    assert len(hit.spans) == 1
    assert hit.shown.offset + span.begin == hit.offset


def test_a_line_without_end_takes_bounded_memory_and_is_searched() -> None:
    part = b"z" * (1 << 20)
    chunks = [part] * 12
    # Over the border of two chunks, and far behind.
    chunks[2] = part[:-3] + b"nee"
    chunks[3] = b"dle" + part[3:]
    chunks[10] = part[:1000] + b"needle" + part[1006:]
    lines, hits = search(*chunks)
    assert {hit.offset for hit in hits} == {3 * len(part) - 3, 10 * len(part) + 1000}
    assert {hit.shown.line for hit in hits} == {1}
    assert len(lines._data) < LONG_LINE_BYTES + 3 * len(part)
    assert lines.offset == 12 * len(part)
