"""The settings `death_reports`: what is said of tasks and containers that ended abnormally."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from joblog.errors import InvalidInput
from joblog.leader.ingest.deaths import DeathRules
from joblog.settings import setting

_MAX_EXIT_CODE = 255


def parse_exit_codes(texts: tuple[str, ...]) -> frozenset[int]:
    """Exit codes given as numbers and ranges, as "1" or "2-127". Raises InvalidInput."""
    found: set[int] = set()
    for text in texts:
        first, dash, last = text.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdigit() and 1 <= int(end[:4]) <= _MAX_EXIT_CODE for end in ends):
            raise InvalidInput(f"{text[:40]!r} is neither an exit code from 1 to {_MAX_EXIT_CODE} nor a range of them")
        if int(ends[0]) > int(ends[1]):
            raise InvalidInput(f"{text[:40]!r} begins behind its end")
        found.update(range(int(ends[0]), int(ends[1]) + 1))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class DeathReportSettings:
    """What is said of tasks and containers that ended abnormally."""

    enabled: bool = setting(
        True,
        "Make a death report of each task or container that a signal, the lack of memory, an eviction, a time limit or "
        "the loss of its machine ended: with its log, in the run's log, and on the leader's standard output.",
    )
    exit_codes: tuple[str, ...] = setting(
        (),
        'Exit codes that count as deaths too: numbers and ranges, as ["1-127"]. Empty: none.',
    )
    silent_after_seconds: float = setting(
        300.0,
        "After this time without a word from the worker of a live log there is a death report of the log, whose task "
        "may or may not have ended. 0: there is none.",
        unit="seconds",
        low=0,
        high=604_800,
    )
    stdout: str = setting(
        "without_tail",
        "Whether each report is a line of JSON on the leader's standard output, so that it is in whatever collects "
        "that. on: with the last lines of the log, which then leave joblog's encryption. without_tail: with all but "
        "those. off: none.",
        choices=("on", "without_tail", "off"),
    )

    def problems(self, lost_after_seconds: float) -> Iterator[tuple[str, str]]:
        """Values that are none, or do not fit together."""
        try:
            parse_exit_codes(self.exit_codes)
        except InvalidInput as error:
            yield "death_reports.exit_codes", f"is not allowed: {error}"
        if 0 < self.silent_after_seconds < lost_after_seconds:
            yield "death_reports.silent_after_seconds", "must be 0, or at least ingest.lost_after_seconds"


def death_rules(settings: DeathReportSettings) -> DeathRules | None:
    """What ingest goes by; None where there are no reports."""
    if not settings.enabled:
        return None
    return DeathRules(parse_exit_codes(settings.exit_codes), settings.silent_after_seconds)
