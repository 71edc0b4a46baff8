"""Settings of adopting: where logs of older systems lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joblog.errors import InvalidInput
from joblog.leader.archive.foreign import check_source, is_below, plain_url
from joblog.leader.archive.foreign_open import ForeignOptions
from joblog.leader.archive.options import S3Options, check_endpoint
from joblog.settings import section, setting

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class SourceS3Settings:
    """How to reach buckets of adoption.sources. They are only read."""

    endpoint: str = setting("", "The server's address, http(s)://HOST:PORT. Empty: AWS.", check=check_endpoint)
    region: str = setting("", "The buckets' region. Empty: as boto3 finds it, else us-east-1.")
    path_style: bool = setting(False, "Name the bucket in the path instead of the host, as most other servers need it.")
    ca_file: Path | None = setting(None, "Certificates (PEM) to trust instead of the system's.")
    access_key: str = setting("", "Access key. Empty: credentials as boto3 finds them.", secret=True)
    secret_key: str = setting("", "The access key's secret.", secret=True)
    session_token: str = setting("", "Session token that belongs to a temporary access key.", secret=True)
    max_connections: int = setting(32, "Connections to the server at most.", low=1, high=1000)
    connect_timeout_seconds: float = setting(5.0, "How long a connection may take.", unit="seconds", low=0.1, high=300)
    read_timeout_seconds: float = setting(
        60.0, "How long the server may be silent.", unit="seconds", low=0.1, high=3600
    )

    def options(self) -> S3Options:
        """What buckets are read with."""
        return S3Options(**{name: getattr(self, name) for name in SourceS3Settings.__slots__})


@dataclass(frozen=True, slots=True)
class AdoptionSettings:
    """Where logs of older systems lie that `joblog adopt` may take into the catalog."""

    sources: tuple[str, ...] = setting(
        (),
        "Folders and buckets that logs may be adopted from, and that the leader reads adopted logs in: "
        "s3://BUCKET/PREFIX, file:///FOLDER, and all below them. The leader writes nothing there. Empty: none.",
    )
    max_log_bytes: int = setting(
        64 * GIB,
        "Logs that are longer are not adopted; a gzip file may hold far more than its size. 0: no limit.",
        unit="bytes",
        low=0,
        high=1 << 50,
    )
    retry_seconds: float = setting(20.0, "How long a request is tried again.", unit="seconds", low=0, high=3600)
    s3: SourceS3Settings = section(SourceS3Settings, "How to reach the buckets.")

    def options(self) -> ForeignOptions:
        """What the sources are opened with."""
        return ForeignOptions(self.sources, self.max_log_bytes, self.retry_seconds, self.s3.options())

    def problems(self, *own: str) -> Iterator[tuple[str, str]]:
        """Values that do not fit together. own: URLs of joblog's own places, empty ones among them."""
        for source in self.sources:
            try:
                place = check_source(source)
            except InvalidInput as error:
                yield "adoption.sources", f"holds {source[:100]!r}, which is not allowed: {error}"
                continue
            for url in filter(None, own):
                other = plain_url(url)
                if is_below(place, other) or is_below(other, place):
                    yield (
                        "adoption.sources",
                        f"holds {place}, which is a place that joblog itself keeps logs in, or part of one",
                    )
        if bool(self.s3.access_key) != bool(self.s3.secret_key):
            yield "adoption.s3.access_key", "and adoption.s3.secret_key must be given together"
