"""What backups keep to, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
# How often a running backup shows that it is at work.
RENEW_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class CreateLimits:
    """piece_bytes: files are cut at that size. at_once: pieces that are worked on. bytes_per_second 0: no limit."""

    piece_bytes: int = 16 * MIB
    at_once: int = 4
    bytes_per_second: int = 0
    renew_seconds: float = RENEW_SECONDS


@dataclass(frozen=True, slots=True)
class KeepRules:
    """A backup is kept when one of the rules keeps it; 0: that rule keeps none. All 0: all are kept.

    last: so many of the newest. days: those that are younger. daily, weekly, monthly: the newest one of each of so many
    days, weeks and months (UTC) in which there are any.
    """

    last: int = 0
    days: float = 0.0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __bool__(self) -> bool:
        return any((self.last, self.days, self.daily, self.weekly, self.monthly))
