"""What the export counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class ExportMetrics:
    """Labels are gRPC's status codes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("joblog_otlp_export_records", "Log records that the collector took", registry=registry)
        self.bytes = Counter("joblog_otlp_export_bytes", "Bytes of logs in them", registry=registry)
        self.rejected = Counter(
            "joblog_otlp_export_rejected_records",
            "Log records that the collector refused for good, by the status with which it did",
            ["code"],
            registry=registry,
        )
        self.failures = Counter(
            "joblog_otlp_export_failures", "Requests that are tried again, by their status", ["code"], registry=registry
        )
        self.missing_bytes = Counter(
            "joblog_otlp_export_missing_bytes",
            "Bytes of gaps in logs, of which the collector was told instead",
            registry=registry,
        )
        self.deleted_logs = Counter(
            "joblog_otlp_export_deleted_logs", "Logs that were deleted before they were exported", registry=registry
        )
        self.deleted_bytes = Counter(
            "joblog_otlp_export_deleted_bytes", "Bytes that were deleted before they were exported", registry=registry
        )
        self.pending_logs = Gauge(
            "joblog_otlp_export_pending_logs",
            "Logs that are not exported wholly, live ones among them",
            registry=registry,
        )
        self.delay_seconds = Gauge(
            "joblog_otlp_export_delay_seconds", "Age of the newest line of the last request", registry=registry
        )
