"""Lines that stand out: errors, warnings, and where groups begin and end, as CI systems know them."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from joblog.leader.search.lines import Hit
from joblog.leader.search.pattern import Pattern

Kind = Literal["error", "warning", "group", "end"]

MAX_TITLE_LENGTH = 200
MAX_MARKS = 10_000

# What may stand before a command at the begin of a line: colours, and times that a CI system puts there.
_LEAD = r"^(?:\x1b\[[0-9;]*[mK]|\r)*(?:\d{4}-\d\d-\d\dT[0-9:.]+Z )?"
_GROUP = _LEAD + r"(?:::group::|##\[group\]|section_start:\d+:|(?:---|\+\+\+|~~~) )"
_END = _LEAD + r"(?:::endgroup::|##\[endgroup\]|section_end:\d+:)"
# A colour's last letter is no part of the word behind it.
_WORD = r"(?:\b|\x1b\[[0-9;]*m)"
_ERROR = (
    rf"(?i:::error|##\[error\]|{_WORD}(?:error|fatal|exception|traceback|panic(?:ked)?|critical|failed|failure|"
    rf"segmentation fault|core dumped|out of memory|killed)\b)|"
    rf"{_WORD}(?:[A-Z]\w*(?:Error|Exception)|E\d{{3,5}})\b|^E   "
)
_WARNING = rf"(?i:::warning|##\[warning\]|{_WORD}warn(?:ing)?\b)|{_WORD}[A-Z]\w*Warning\b"

# `--- a/file` and `+++ b/file` are a patch's, not Buildkite's.
_PATCH = re.compile(r"^(?:---|\+\+\+) (?:[ab]/|/dev/null)")
_NONE_OF_IT = re.compile(
    r"(?i)\b(?:0|no|without|zero) (?:\w+ )?(?:errors?|failures?|failed|warnings?)\b|"
    r"\b(?:errors?|failed|failures?|warnings?)[:=] ?0\b"
)
_COMPILED: list[tuple[Kind, re.Pattern[str]]] = [
    ("group", re.compile(_GROUP)),
    ("end", re.compile(_END)),
    ("error", re.compile(_ERROR)),
    ("warning", re.compile(_WARNING)),
]
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x1f\x7f-\x9f]")
_SECTION = re.compile(r"section_(?:start|end):\d+:([^\r\x1b\[]*)(?:\[[^\]]*\])?")

# Finds all that may be a mark; what it is, is decided line by line.
CANDIDATES = Pattern("|".join(f"(?:{one})" for one in (_GROUP, _END, _ERROR, _WARNING)), is_regex=True)


class Mark(NamedTuple):
    """A line that stands out. title: its text, for a group its name; without control sequences. name: a section's."""

    kind: Kind
    line: int
    offset: int
    title: str
    name: str = ""


def mark_of(hit: Hit) -> Mark | None:
    """What a hit of CANDIDATES is; None when it only looks like something."""
    text = hit.shown.text.decode(errors="replace")
    for kind, pattern in _COMPILED:
        match = pattern.search(text)
        if match is None or (kind == "group" and _PATCH.match(text)):
            continue
        if kind in ("error", "warning") and _NONE_OF_IT.search(text):
            continue
        name = ""
        if kind in ("group", "end"):
            section = _SECTION.search(text)
            name = section[1].strip() if section else ""
            text = text[section.end() if section else match.end() :]
        return Mark(kind, hit.shown.line, hit.shown.offset, _title(text) or name, name)
    return None


def _title(text: str) -> str:
    return _CONTROL.sub("", text).strip()[:MAX_TITLE_LENGTH]
