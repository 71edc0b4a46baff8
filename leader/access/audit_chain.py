"""Whether the lines of the audit log are those that were written, in order and all of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from joblog.errors import Corrupt
from joblog.leader.access.audit_line import BEGIN, Head, chain_of, line_hash, parse_line

MAX_PROBLEMS = 100


@dataclass(slots=True)
class ChainVerdict:
    """What came of it.

    lines: that were looked at. head: of the last line. good_through: sequence up to which nothing is missing or
    changed. problems: what is not as it was written, the first 100. anchors_found: hashes looked for that were met.
    """

    lines: int = 0
    head: Head = field(default_factory=Head)
    good_through: int = 0
    problems: list[str] = field(default_factory=list)
    anchors_found: set[str] = field(default_factory=set)

    @property
    def sound(self) -> bool:
        """Nothing is missing or changed, as far as the chain can tell."""
        return not self.problems


class ChainCheck:
    """Takes the lines of one log after the other, and notes each place where the chain is broken."""

    def __init__(self, anchors: Collection[str] = ()) -> None:
        """anchors: hashes of lines, as were heads once, to look for."""
        self.verdict = ChainVerdict()
        self._anchors = {anchor.lower() for anchor in anchors}
        self._log = ""
        self._first = False

    def begin(self, log: str) -> None:
        """The lines that follow are those of this log (RUN/TASK/ATTEMPT), of the same chain or of the next one."""
        if log and chain_of(log.partition("/")[0]) != chain_of(self._log.partition("/")[0]):
            self.verdict.head = Head()
        self._log = log
        self._first = True

    def problem(self, text: str) -> None:
        """Something about the log whose lines are taken that the lines do not show."""
        if len(self.verdict.problems) < MAX_PROBLEMS:
            self.verdict.problems.append(f"{self._log}: {text}" if self._log else text)

    def take(self, line: bytes) -> None:
        """The next line, without its newline."""
        verdict, before = self.verdict, self.verdict.head
        verdict.lines += 1
        found = line_hash(line)
        if found in self._anchors:
            verdict.anchors_found.add(found)
        try:
            record = parse_line(line)
        except Corrupt as error:
            self.problem(f"the line after {before.sequence} {error}")
            verdict.head = Head(before.sequence + 1, found, self._log)
            return
        self._check(record, before)
        verdict.head = Head(record["sequence"], found, self._log)
        if verdict.sound:
            verdict.good_through = record["sequence"]

    def _check(self, record: dict[str, Any], before: Head) -> None:
        sequence = record["sequence"]
        expected = before.sequence + 1
        if sequence > expected:
            self.problem(f"lines {expected} to {sequence - 1} are missing")
        elif sequence < expected:
            self.problem(f"line {sequence} comes after line {before.sequence}: lines were put in, or moved")
        elif record["previous"] != before.sha256:
            self.problem(f"line {before.sequence} is not the one that line {sequence} was written after")
        if self._first != (record["action"] == BEGIN):
            self.problem(
                f"line {sequence} does not begin the log" if self._first else f"line {sequence} begins another log"
            )
        elif self._first and record["detail"].get("after", "") != before.log:
            self.problem(f"line {sequence} says that the log follows {record['detail'].get('after')!r}")
        self._first = False


def verify_chain(lines: Iterable[bytes], anchors: Collection[str] = ()) -> ChainVerdict:
    """Checks the lines (without newlines) of the whole chain, log after log, from the first one on.

    Finds each change, removal, insertion and reordering but those at the very end: lines that are gone there, or a last
    line that was changed, leave a chain that is shorter and sound. That is what anchors are for, and the logs' seals.
    """
    check = ChainCheck(anchors)
    for line in lines:
        log = _begins(line)
        if log is not None:
            check.begin(log)
        check.take(line)
    return check.verdict


def _begins(line: bytes) -> str | None:
    """The log that the line says it begins."""
    try:
        record = parse_line(line)
    except Corrupt:
        return None
    return str(record["detail"].get("log", "")) if record["action"] == BEGIN else None
