"""Settings of backups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from joblog.leader.archive.options import ArchiveOptions, check_url
from joblog.leader.backup.options import CreateLimits, KeepRules
from joblog.leader.backup.schedule import check_schedule
from joblog.leader.s3_settings import S3Settings
from joblog.settings import section, setting

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """Where backups of the leader's store go, when they are made, and which are kept."""

    url: str = setting(
        "",
        "Where backups go: s3://BUCKET/PREFIX or file:///FOLDER, a place of its own. Empty: none are made.",
        check=check_url,
    )
    create_bucket: bool = setting(True, "Make the bucket or folder when it is missing.")
    schedule: str = setting(
        "",
        "When backups are made: an interval such as 6h or 30m, or a cron expression of five fields in UTC, such as "
        "0 3 * * *. Empty: by hand alone.",
        check=check_schedule,
    )
    verify_schedule: str = setting(
        "",
        "When the newest backup is read back and checked, given as backup.schedule is. Empty: by hand alone.",
        check=check_schedule,
    )
    keep_last: int = setting(
        0,
        "After each scheduled backup: keep so many of the newest. All of backup.keep_* 0: all are kept.",
        high=100_000,
    )
    keep_days: float = setting(0.0, "Keep those that are younger.", unit="days", high=36_500)
    keep_daily: int = setting(0, "Keep the newest one of so many days.", high=36_500)
    keep_weekly: int = setting(0, "Keep the newest one of so many weeks.", high=5_200)
    keep_monthly: int = setting(0, "Keep the newest one of so many months.", high=1_200)
    piece_bytes: int = setting(
        16 * MIB, "Files are sent in pieces of that size at most.", unit="bytes", low=MIB, high=64 * MIB
    )
    pieces_at_once: int = setting(4, "Pieces that are read and sent at once; each takes memory.", low=1, high=64)
    max_bytes_per_second: int = setting(
        0, "Bytes that a backup may send in a second. 0: as fast as it can.", low=0, high=1024 * GIB
    )
    retry_seconds: float = setting(60.0, "How long a request is tried again.", unit="seconds", low=0, high=3600)
    s3: S3Settings = section(S3Settings, "How to reach the bucket.")

    def options(self) -> ArchiveOptions:
        """What the object store is opened with."""
        return ArchiveOptions(self.url, self.create_bucket, self.retry_seconds, self.s3.options())

    def limits(self) -> CreateLimits:
        """What a backup keeps to."""
        return CreateLimits(self.piece_bytes, self.pieces_at_once, self.max_bytes_per_second)

    def keep(self) -> KeepRules:
        """Which backups a scheduled prune keeps."""
        return KeepRules(self.keep_last, self.keep_days, self.keep_daily, self.keep_weekly, self.keep_monthly)

    def problems(self, archive_url: str) -> Iterator[tuple[str, str]]:
        """Values that do not fit together."""
        yield from self.s3.problems("backup")
        mine, other = self.url.rstrip("/") + "/", archive_url.rstrip("/") + "/"
        if self.url and archive_url and (mine.startswith(other) or other.startswith(mine)):
            yield "backup.url", "must be a place of its own, not that of the archive, nor one below or above it"
        if not self.url and (self.schedule or self.verify_schedule):
            yield "backup.url", "must be set for what is scheduled"
