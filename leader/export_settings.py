"""The settings `otlp_export`: whether and where lines of logs are sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from joblog.address import check_address, is_loopback
from joblog.errors import InvalidInput
from joblog.leader.access.roles import check_grant
from joblog.settings import setting

KIB, MIB = 1 << 10, 1 << 20
_HEADER = re.compile(r"[a-z0-9_.-]{1,100}\Z")
_MAX_HEADERS = 32
_MAX_VALUE_LENGTH = 8 << 10


def check_endpoint(text: str) -> str:
    """Returns `text` when it is empty, or http://HOST:PORT or https://HOST:PORT. Raises InvalidInput."""
    if not text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or parts.path.strip("/") or parts.query or parts.fragment:
        raise InvalidInput(f"{text[:100]!r} is neither http://HOST:PORT nor https://HOST:PORT")
    if "@" in parts.netloc:
        raise InvalidInput("a user and a password do not belong into an address: set otlp_export.headers")
    check_address(parts.netloc)
    return text


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """NAME=VALUE, separated by commas, values percent-encoded (as OTEL_EXPORTER_OTLP_HEADERS). Raises InvalidInput."""
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return _checked([(name.strip(), unquote(value.strip()) if equals else None) for name, equals, value in pairs])


def parse_header_lines(text: str) -> tuple[tuple[str, str], ...]:
    """NAME: VALUE on each line, as in HTTP; empty lines and those that begin with # are none. Raises InvalidInput."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return _checked([(name.strip(), value.strip() if colon else None) for name, colon, value in pairs])


def _checked(pairs: list[tuple[str, str | None]]) -> tuple[tuple[str, str], ...]:
    """Never says a value: those are secrets."""
    found: list[tuple[str, str]] = []
    if len(pairs) > _MAX_HEADERS:
        raise InvalidInput(f"{len(pairs)} headers are given, at most {_MAX_HEADERS} are allowed")
    for number, (given, value) in enumerate(pairs, 1):
        name = given.lower()
        if value is None or not _HEADER.match(name) or name.endswith("-bin") or name.startswith("grpc-"):
            raise InvalidInput(f"header {number} has no name that a header may have, or no value")
        if not (value.isascii() and value.isprintable() and len(value) <= _MAX_VALUE_LENGTH):
            raise InvalidInput(f"header {name}: its value is too long, or holds more than printable ASCII")
        found.append((name, value))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class OtlpExportSettings:
    """Whether and where lines of logs are sent, over OTLP/gRPC."""

    endpoint: str = setting(
        "",
        "The collector that lines of logs are sent to, in clear as log records: https://HOST:PORT, or http://HOST:PORT "
        "without encryption; 4317 is usual. Whoever has them there is no affair of joblog's access control. Needs the "
        "extra `otlp` (`pip install 'joblog[otlp]'`). Empty: nothing is sent anywhere.",
        check=check_endpoint,
    )
    namespaces: tuple[str, ...] = setting(
        ("*",),
        "Namespaces, by globs, whose logs are sent. * names all but joblog's own; @audit is the audit log.",
    )
    headers: str = setting(
        "",
        "What is shown to the collector: NAME=VALUE, separated by commas, values percent-encoded, as in "
        "OTEL_EXPORTER_OTLP_HEADERS. Rather give it in the variable than in a file.",
        secret=True,
    )
    headers_file: Path | None = setting(
        None,
        "File with further headers, NAME: VALUE on each line, mode 0600; read again for each connection.",
    )
    ca: Path | None = setting(
        None, "The CA of the collector's certificate, in PEM. Empty: those that this system knows."
    )
    certificate: Path | None = setting(
        None, "The certificate that is shown to the collector, in PEM, with the chain to its CA. Empty: none."
    )
    key: Path | None = setting(None, "The key of otlp_export.certificate, in PEM without a passphrase, mode 0600.")
    plaintext: bool = setting(
        False,
        "Send to http:// on another machine than this one: whoever is on the way reads logs and headers.",
    )
    compression: str = setting("gzip", "How requests are compressed.", choices=("gzip", "none"))
    batch_bytes: int = setting(
        MIB,
        "About the size of a request, uncompressed; it may be exceeded by 2 MiB. Collectors take 4 MiB at least.",
        unit="bytes",
        low=64 * KIB,
        high=32 * MIB,
    )
    timeout_seconds: float = setting(
        10.0, "How long the collector may take to answer.", unit="seconds", low=0.1, high=600
    )
    partial_seconds: float = setting(
        5.0,
        "How long the end of a line is waited for. What is there then is sent, marked as a part of a line.",
        unit="seconds",
        low=0,
        high=3600,
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that are none, or do not fit together."""
        try:
            check_grant("viewer", self.namespaces)
        except InvalidInput as error:
            yield "otlp_export.namespaces", f"is not allowed: {error}"
        try:
            parse_headers(self.headers)
        except InvalidInput as error:
            yield "otlp_export.headers", f"is not allowed: {error}"
        if (self.certificate is None) != (self.key is None):
            yield "otlp_export.certificate", "and otlp_export.key must be set together"
        parts = urlsplit(self.endpoint)
        if parts.scheme == "http":
            if not (is_loopback(parts.netloc) or self.plaintext):
                clear = "is http:// on another machine: logs would go there in clear; use https://, or set plaintext"
                yield "otlp_export.endpoint", clear
            if self.ca is not None or self.certificate is not None:
                yield "otlp_export.ca", "and otlp_export.certificate are for https:// alone"
