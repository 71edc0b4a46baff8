"""The export of log lines as the leader's daemon runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from joblog.errors import Corrupt, InvalidInput, InvalidSettings, JoblogError
from joblog.private_file import read_private

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from joblog.leader.access.audit import Auditor
    from joblog.leader.buffer.store import Store
    from joblog.leader.export.exporter import Exporter
    from joblog.leader.export.sender import Secrets
    from joblog.leader.reading.reader import LiveLogs, LogReader

Headers = tuple[tuple[str, str], ...]


class CollectorFiles(NamedTuple):
    """What is shown to the collector, and whom to trust as it; PEM. parse: makes headers of headers_file's text."""

    headers: Headers
    headers_file: Path | None
    parse: Callable[[str], Headers]
    ca: Path | None
    certificate: Path | None
    key: Path | None

    def read(self) -> Secrets:
        """All of it, as it is now. Raises OSError, NotFound, Denied, Corrupt."""
        from joblog.leader.export.sender import Secrets

        headers = self.headers
        if self.headers_file is not None:
            try:
                headers += self.parse(read_private(self.headers_file).decode())
            except UnicodeDecodeError:
                raise Corrupt(f"{self.headers_file}: is no text") from None
            except InvalidInput as error:
                raise Corrupt(f"{self.headers_file}: {error}") from None
        pair = None
        if self.certificate is not None and self.key is not None:
            pair = (read_private(self.key), self.certificate.read_bytes())
        return Secrets(headers, self.ca.read_bytes() if self.ca is not None else b"", pair)


def _is_missing(package: str, part: str) -> bool:
    return find_spec(package) is None or find_spec(f"{package}.{part}") is None


def exporter(
    store: Store,
    reader: LogReader,
    live: LiveLogs,
    registry: CollectorRegistry,
    *,
    endpoint: str,
    namespaces: Sequence[str],
    files: CollectorFiles,
    timeout_seconds: float,
    compress: bool,
    batch_bytes: int,
    partial_seconds: float,
    auditor: Callable[[], Auditor],
) -> Exporter:
    """The service. Raises InvalidSettings where it can't work: packages or files are not there."""
    if _is_missing("opentelemetry", "proto") or _is_missing("google", "rpc"):
        raise InvalidSettings("otlp_export.endpoint needs packages that are not installed: pip install 'joblog[otlp]'")
    from joblog.leader.export.exporter import Exporter, ExportPlan
    from joblog.leader.export.metrics import ExportMetrics
    from joblog.leader.export.sender import Collector, Sender

    try:
        files.read()
    except (OSError, JoblogError) as error:
        raise InvalidSettings(f"otlp_export: what is shown to the collector can't be read: {error}") from None
    collector = Collector(endpoint.rstrip("/"), files.read, timeout_seconds, compress)
    return Exporter(
        store,
        reader,
        live,
        Sender(collector),
        plan=ExportPlan(endpoint.rstrip("/"), namespaces, batch_bytes, partial_seconds),
        metrics=ExportMetrics(registry),
        auditor=auditor,
    )
