"""Settings of a bucket: how it is reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joblog.leader.archive.options import S3Options, check_customer_key, check_endpoint
from joblog.settings import setting


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How to reach the bucket of a URL that is s3://bucket/prefix."""

    endpoint: str = setting("", "The server's address, http(s)://HOST:PORT. Empty: AWS.", check=check_endpoint)
    region: str = setting("", "The bucket's region. Empty: as boto3 finds it, else us-east-1.")
    path_style: bool = setting(False, "Name the bucket in the path instead of the host, as most other servers need it.")
    ca_file: Path | None = setting(None, "Certificates (PEM) to trust instead of the system's.")
    access_key: str = setting("", "Access key. Empty: credentials as boto3 finds them.", secret=True)
    secret_key: str = setting("", "The access key's secret.", secret=True)
    session_token: str = setting("", "Session token that belongs to a temporary access key.", secret=True)
    sse: str = setting(
        "",
        "Encryption at the server, beside joblog's own. Empty: as the bucket has it.",
        choices=("", "s3", "kms", "customer"),
    )
    sse_kms_key: str = setting("", "Key of the server's KMS, for sse = kms. Empty: the bucket's.")
    sse_customer_key: str = setting(
        "", "Key for sse = customer: 32 bytes in base64.", secret=True, check=check_customer_key
    )
    storage_class: str = setting("", "Storage class of objects that stay. Empty: the bucket's.")
    object_lock_mode: str = setting("", "Object lock for objects that stay.", choices=("", "GOVERNANCE", "COMPLIANCE"))
    object_lock_days: int = setting(0, "How long they are locked.", unit="days", low=0, high=36_500)
    delete_versions: bool = setting(
        True,
        "In a bucket that keeps versions: delete all of them of what is deleted, so that it is gone, as soon as a lock "
        "lets go of them. Off: they stay until a rule of the bucket drops them.",
    )
    max_connections: int = setting(32, "Connections to the server at most.", low=1, high=1000)
    connect_timeout_seconds: float = setting(5.0, "How long a connection may take.", unit="seconds", low=0.1, high=300)
    read_timeout_seconds: float = setting(
        60.0, "How long the server may be silent.", unit="seconds", low=0.1, high=3600
    )
    verify: str = setting(
        "checksum",
        "How a new object is verified before anything is dropped. checksum: by what the server says it has. read: it "
        "is read back.",
        choices=("checksum", "read"),
    )

    def options(self) -> S3Options:
        """What the object store is opened with."""
        return S3Options(**{name: getattr(self, name) for name in S3Settings.__slots__})

    def problems(self, section: str) -> Iterator[tuple[str, str]]:
        """Values that do not fit together. section: the one that these are in."""
        variable = f"JOBLOG_{section.upper()}_S3_SSE_CUSTOMER_KEY"
        if self.sse == "customer" and not self.sse_customer_key:
            yield f"{section}.s3.sse", f"needs a key: set {variable}"
        if bool(self.object_lock_mode) != bool(self.object_lock_days):
            yield f"{section}.s3.object_lock_mode", f"and {section}.s3.object_lock_days must be given together"
        if bool(self.access_key) != bool(self.secret_key):
            yield f"{section}.s3.access_key", f"and {section}.s3.secret_key must be given together"
