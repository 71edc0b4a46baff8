"""Opens the places that logs are adopted from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from joblog.errors import InvalidInput
from joblog.leader.archive.foreign import ForeignSource
from joblog.leader.archive.foreign_folder import ForeignFolder
from joblog.leader.archive.foreign_reader import DEFAULT_RETRY_SECONDS, ForeignReader
from joblog.leader.archive.options import S3Options, parse_url


@dataclass(frozen=True, slots=True)
class ForeignOptions:
    """sources: URLs of folders and buckets. max_log_bytes: of a log that is adopted; 0: no limit. retry_seconds: how
    long a request is tried again.
    """

    sources: tuple[str, ...] = ()
    max_log_bytes: int = 0
    retry_seconds: float = DEFAULT_RETRY_SECONDS
    s3: S3Options = field(default_factory=S3Options)


def open_foreign(options: ForeignOptions) -> ForeignReader:
    """What reads the text of adopted logs; nothing is asked of any source yet. Raises InvalidInput."""
    return ForeignReader(
        list(_sources(options)), max_log_bytes=options.max_log_bytes, retry_seconds=options.retry_seconds
    )


def _sources(options: ForeignOptions) -> Iterable[ForeignSource]:
    for url in options.sources:
        folder, bucket, prefix = parse_url(url)
        if folder is not None:
            yield ForeignFolder(folder)
            continue
        try:
            from joblog.leader.archive.foreign_s3 import ForeignBucket
        except ModuleNotFoundError as error:
            if error.name not in ("boto3", "botocore", "urllib3"):
                raise
            raise InvalidInput("logs in S3 need boto3: install joblog[s3]") from None
        yield ForeignBucket(bucket, prefix, options.s3)
