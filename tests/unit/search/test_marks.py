import pytest

from joblog.leader.search.lines import LineSearch
from joblog.leader.search.marks import CANDIDATES, Mark, mark_of


def marks(text: bytes) -> list[Mark]:
    search = LineSearch(CANDIDATES, offset=0, line=1, context=0, stream=0, origin=lambda _: (1, 2))
    hits = [*search.add(text, 1000), *search.end(1000)]
    return [mark for hit in hits if (mark := mark_of(hit)) is not None]


@pytest.mark.parametrize(
    ("line", "kind", "title"),
    [
        (b"::group::Run tests", "group", "Run tests"),
        (b"::endgroup::", "end", ""),
        (b"2026-01-02T03:04:05.678Z ##[group]Set up job", "group", "Set up job"),
        (b"--- :hammer: Build", "group", ":hammer: Build"),
        (b"+++ Test", "group", "Test"),
        (
            b"\x1b[0Ksection_start:1560896352:my_section[collapsed=true]\r\x1b[0K\x1b[31mHeader\x1b[0m",
            "group",
            "Header",
        ),
        (b"section_end:1560896353:my_section\r\x1b[0K", "end", "my_section"),
        (b"main.c:3: error: expected ';'", "error", "main.c:3: error: expected ';'"),
        (b"\x1b[31mFAILED\x1b[0m tests/test_x.py", "error", "FAILED tests/test_x.py"),
        (b"ValueError: no", "error", "ValueError: no"),
        (b"error TS2304: Cannot find name", "error", "error TS2304: Cannot find name"),
        (b"npm WARN deprecated left-pad", "warning", "npm WARN deprecated left-pad"),
        (b"DeprecationWarning: old", "warning", "DeprecationWarning: old"),
        (b"Segmentation fault (core dumped)", "error", "Segmentation fault (core dumped)"),
    ],
)
def test_known(line: bytes, kind: str, title: str) -> None:
    [mark] = marks(b"first\n" + line + b"\nlast\n")
    assert (mark.kind, mark.line, mark.offset, mark.title) == (kind, 2, 6, title)


@pytest.mark.parametrize(
    "line",
    [b"--- a/main.c", b"+++ b/main.c", b"--- /dev/null", b"compiled with 0 errors", b"errors: 0", b"no warnings found",
     b"terror and mirrors", b"a ::group:: inside", b"stderr", b"----- line -----", b"errorprone.jar"],
)  # fmt: skip
def test_not_one(line: bytes) -> None:
    assert marks(line + b"\n") == []


def test_sections_have_names() -> None:
    found = marks(
        b"section_start:1:a\r\x1b[0KFirst\nsection_start:2:b\r\x1b[0KInner\nsection_end:3:b\r\nsection_end:4:a\r\n"
    )
    assert [(mark.kind, mark.name) for mark in found] == [("group", "a"), ("group", "b"), ("end", "b"), ("end", "a")]
