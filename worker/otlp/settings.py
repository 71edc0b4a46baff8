"""The settings of the OTLP endpoint. Read by entry points only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joblog.address import check_listen, is_loopback
from joblog.settings import setting

KIB, MIB = 1 << 10, 1 << 20


def _check(address: str) -> str:
    return check_listen(address) if address else address


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Takes logs from programs with an OpenTelemetry SDK, over OTLP/gRPC."""

    listen: str = setting(
        "",
        "Where programs send to, HOST:PORT; 4317 is usual. Needs the extra `otlp` (`pip install 'joblog[otlp]'`). "
        "Empty: nowhere.",
        check=_check,
    )
    token: str = setting(
        "",
        "What senders show in the header `authorization: Bearer TOKEN`, 16 characters at least. Empty: nothing is "
        "asked for, which is allowed on a loopback address alone.",
        secret=True,
    )
    certificate: Path | None = setting(
        None,
        "The endpoint's certificate, in PEM, with the chain to its CA. It is read again when the file changes. Empty: "
        "it speaks without encryption.",
    )
    key: Path | None = setting(None, "The key of otlp.certificate, in PEM without a passphrase, mode 0600.")
    namespace: str = setting("default", "Namespace of logs whose senders name none that they may choose.")
    may_choose: tuple[str, ...] = setting(
        (), "Namespaces, by globs, that senders may choose by the resource attribute joblog.namespace."
    )
    format: str = setting(
        "text",
        "What is written for a record. text: its body, a line. json: an object, a line, with severity, attributes, "
        "trace and span too.",
        choices=("text", "json"),
    )
    quiet_seconds: float = setting(
        3600.0,
        "A log ends when nothing has come for so long. What comes later is its next attempt.",
        unit="seconds",
        low=1,
        high=31_536_000,
    )
    max_logs: int = setting(1000, "Logs that are open at once at most; senders of more are told to wait.", low=1)
    max_request_bytes: int = setting(8 * MIB, "Bytes of a request at most.", unit="bytes", low=64 * KIB, high=64 * MIB)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that do not fit together."""
        if (self.certificate is None) != (self.key is None):
            yield "otlp.certificate", "and otlp.key must be set together"
        if self.token and len(self.token) < 16:
            yield "otlp.token", "must have 16 characters at least"
        if self.listen and not self.token and not is_loopback(self.listen):
            yield "otlp.listen", "is no loopback address: set otlp.token, or anybody on the network could write logs"
