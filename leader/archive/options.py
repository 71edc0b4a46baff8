"""Where the archive is and how to get there, as plain values."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from joblog.errors import InvalidInput
from joblog.leader.archive.objects import check_key

MIB = 1 << 20
# A key is at most 1024 bytes, and names take up to 800 of them.
MAX_PREFIX_BYTES = 160
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_CUSTOMER_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class S3Options:
    """How to reach a bucket. Empty texts: as boto3 finds it (its settings files, variables, instance roles).

    sse: "" (as the bucket has it), "s3", "kms" or "customer". sse_customer_key: 32 bytes in base64. storage_class and
    the object lock are for objects that stay: sealed logs, their metadata and plain copies. verify: "checksum" trusts
    what the server says of the bytes it got; "read" reads every object back.
    """

    endpoint: str = ""
    region: str = ""
    path_style: bool = False
    ca_file: Path | None = None
    sse: str = ""
    sse_kms_key: str = ""
    sse_customer_key: str = field(default="", repr=False)
    storage_class: str = ""
    object_lock_mode: str = ""
    object_lock_days: int = 0
    delete_versions: bool = True
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    max_connections: int = 32
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 60.0
    verify: str = "checksum"


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """An archive. url: s3://bucket/prefix or file:///folder. retry_seconds: how long a request is tried again."""

    url: str
    create_bucket: bool = True
    retry_seconds: float = 20.0
    s3: S3Options = S3Options()


class Place(NamedTuple):
    """An archive's URL, taken apart. folder: of a file URL; bucket and prefix ("" or ending in "/"): of an S3 URL."""

    folder: Path | None
    bucket: str
    prefix: str


def parse_url(url: str) -> Place:
    """Where `url` points; raises InvalidInput, which never repeats more of a URL than its scheme and host."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise InvalidInput("an archive's URL has no user name or password in it: give credentials in variables")
    if parts.query or parts.fragment:
        raise InvalidInput("an archive's URL has no ? or # in it")
    if parts.scheme == "file":
        return Place(_folder(parts.netloc, unquote(parts.path)), "", "")
    if parts.scheme == "s3":
        return Place(None, *_bucket(parts.netloc, unquote(parts.path)))
    raise InvalidInput("is not an archive's URL: write s3://bucket/prefix or file:///folder")


def _folder(host: str, path: str) -> Path:
    if host not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise InvalidInput("is not the URL of a folder: write file:///path/of/the/folder, with three slashes")
    folder = Path(path)
    if folder == Path("/") or ".." in folder.parts:
        raise InvalidInput('the folder of an archive can\'t be "/" and has no ".." in it')
    return folder


def _bucket(bucket: str, path: str) -> tuple[str, str]:
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise InvalidInput(f"{bucket[:80]!r} is not a bucket's name: 3 to 255 letters, digits, dots and dashes")
    prefix = path.strip("/")
    if not prefix:
        return bucket, ""
    check_key(prefix)
    if len(prefix.encode()) > MAX_PREFIX_BYTES:
        raise InvalidInput(f"the prefix {prefix[:40]!r}... has more than {MAX_PREFIX_BYTES} bytes")
    return bucket, prefix + "/"


def check_url(url: str) -> str:
    """Returns `url` when it is an archive's, or "" for none; raises InvalidInput."""
    if url:
        parse_url(url)
    return url


def check_endpoint(endpoint: str) -> str:
    """Returns `endpoint` when it is "" or http(s)://host:port; raises InvalidInput."""
    if endpoint:
        parts = urlsplit(endpoint)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if "@" in parts.netloc:
            raise InvalidInput("it has a user name or password in it: give credentials in variables")
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
            raise InvalidInput("write http://host:port or https://host:port")
    return endpoint


def check_customer_key(text: str) -> str:
    """Returns `text` when it is "" or 32 bytes in base64; raises InvalidInput."""
    if text:
        customer_key(text)
    return text


def customer_key(text: str) -> bytes:
    """The key that `text` gives in base64; raises InvalidInput, which tells nothing of it."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _CUSTOMER_KEY_BYTES:
        raise InvalidInput(f"must be {_CUSTOMER_KEY_BYTES} bytes in base64, as `openssl rand -base64 32` prints them")
    return key
