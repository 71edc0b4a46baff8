"""What the leader counts, in a registry of its own (two leaders in one process do not mix).

Names follow Prometheus' rules: base units, `_total` on counters. Labels have few values: never a run's or a log's name.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LONG_SECONDS = (0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class IngestMetrics:
    """What came in: bytes, batches, commits, acks, refusals."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.raw_bytes = Counter(
            "joblog_ingest_raw_bytes", "Bytes of logs that were stored, before compression", registry=registry
        )
        self.payload_bytes = Counter(
            "joblog_ingest_payload_bytes",
            "Bytes of payload that were stored, as compressed by workers",
            registry=registry,
        )
        self.batches = Counter("joblog_ingest_batches", "Batches that were stored", registry=registry)
        self.duplicate_batches = Counter(
            "joblog_ingest_duplicate_batches", "Batches that were stored already, and acked again", registry=registry
        )
        self.gaps = Counter("joblog_ingest_gaps", "Gaps that workers declared", ["reason"], registry=registry)
        self.refused = Counter(
            "joblog_ingest_refused", "Work of workers that was refused", ["reason"], registry=registry
        )
        self.acks = Counter("joblog_ingest_acks", "Acks sent to workers", registry=registry)
        self.commits = Counter("joblog_ingest_commits", "Group commits", registry=registry)
        self.commit_seconds = Histogram(
            "joblog_ingest_commit_seconds",
            "Time of one group commit, sync included",
            buckets=_SECONDS,
            registry=registry,
        )
        self.ack_lag_seconds = Histogram(
            "joblog_ingest_ack_lag_seconds", "From a batch's arrival to its ack", buckets=_SECONDS, registry=registry
        )
        self.pending_bytes = Gauge(
            "joblog_ingest_pending_bytes", "Bytes of batches in memory that are not committed yet", registry=registry
        )


class WorkerMetrics:
    """What workers say about themselves; `worker` is the worker's id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connected = Gauge("joblog_workers_connected", "Workers with an open stream", registry=registry)
        self.spool_bytes = Gauge(
            "joblog_worker_spool_bytes", "Bytes in a worker's spools", ["worker"], registry=registry
        )
        self.spool_limit_bytes = Gauge(
            "joblog_worker_spool_limit_bytes", "Bytes that a worker's spools may take", ["worker"], registry=registry
        )


class ReadMetrics:
    """What readers took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reads = Counter("joblog_reads", "Reads that were started", ["kind"], registry=registry)
        self.bytes = Counter("joblog_read_bytes", "Bytes of logs that were given to readers", registry=registry)
        self.active = Gauge("joblog_reads_active", "Reads and tails that are open", registry=registry)
        self.searches = Gauge("joblog_searches_active", "Searches that are under way", registry=registry)
        self.corrupt_chunks = Counter(
            "joblog_read_corrupt_chunks",
            "Chunks that could not be opened, or were missing, when read",
            registry=registry,
        )
        self.tail_lag_seconds = Histogram(
            "joblog_tail_lag_seconds",
            "From a batch's first byte being read at the task to its delivery to a tail",
            buckets=_SECONDS,
            registry=registry,
        )


class CompactionMetrics:
    """Merging of small chunks of completed logs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.logs = Counter(
            "joblog_compaction_logs", "Completed logs whose small chunks were merged", registry=registry
        )
        self.chunks = Counter("joblog_compaction_chunks", "Small chunks that were replaced", registry=registry)
        self.merged_chunks = Counter(
            "joblog_compaction_merged_chunks", "Merged chunks that took their place", registry=registry
        )
        self.damaged_chunks = Counter(
            "joblog_compaction_damaged_chunks", "Chunks that did not open and were left alone", registry=registry
        )
        self.failures = Counter(
            "joblog_compaction_failures",
            "Completed logs that could not be merged, and are tried again",
            registry=registry,
        )


class KeyMetrics:
    """The keys that logs are encrypted under."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.store_keys = Gauge("joblog_store_keys", "Store keys that are kept", registry=registry)
        self.waiting = Gauge(
            "joblog_keys_waiting", "1 while the leader waits for a KMS before it starts", registry=registry
        )
        self.rotation_overdue = Gauge(
            "joblog_keys_rotation_overdue", "1 while a new store key is due and can't be made", registry=registry
        )
        self.rotation_failures = Counter(
            "joblog_keys_rotation_failures", "Tries to make a new store key that failed", registry=registry
        )


class ArchiveMetrics:
    """What goes to the archive."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.unarchived_bytes = Gauge(
            "joblog_archive_unarchived_bytes", "Bytes of chunks that are not in the archive, about", registry=registry
        )
        self.held = Gauge("joblog_archive_ingest_held", "1 while workers wait as the buffer is full", registry=registry)
        self.unsealed_logs = Gauge(
            "joblog_archive_unsealed_logs", "Completed logs that are not sealed in the archive yet", registry=registry
        )
        self.packs = Counter("joblog_archive_packs", "Packs that were put", registry=registry)
        self.sealed_logs = Counter("joblog_archive_sealed_logs", "Logs that were sealed", registry=registry)
        self.put_bytes = Counter(
            "joblog_archive_put_bytes", "Bytes that were put, by kind of object", ["kind"], registry=registry
        )
        self.deleted_objects = Counter(
            "joblog_archive_deleted_objects", "Objects that were deleted as nothing needed them", registry=registry
        )
        self.failures = Counter(
            "joblog_archive_failures", "Work that failed, to be tried again", ["work", "reason"], registry=registry
        )
        self.flush_seconds = Histogram(
            "joblog_archive_flush_seconds", "Time of one flush of all logs", buckets=_LONG_SECONDS, registry=registry
        )


class ObjectStoreMetrics:
    """Requests to the archive's object store, each attempt for itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "joblog_archive_requests",
            "Requests to the archive's object store; outcome: ok, or the kind of error",
            ["operation", "outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "joblog_archive_request_seconds",
            "Time of such a request",
            ["operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.sent_bytes = Counter("joblog_archive_sent_bytes", "Bytes sent to the object store", registry=registry)
        self.got_bytes = Counter("joblog_archive_got_bytes", "Bytes got from the object store", registry=registry)

    def observe(self, operation: str, outcome: str, seconds: float, *, sent_bytes: int, got_bytes: int) -> None:
        """One request is over. Any thread may call."""
        self.requests.labels(operation, outcome).inc()
        self.seconds.labels(operation).observe(seconds)
        self.sent_bytes.inc(sent_bytes)
        self.got_bytes.inc(got_bytes)


class KmsMetrics:
    """Requests to the KMS: they grow with time, not with logs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "joblog_kms_requests",
            "Requests to the KMS; outcome: ok, or the kind of error",
            ["operation", "outcome"],
            registry=registry,
        )


class ApiMetrics:
    """Requests over HTTP."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "joblog_http_requests", "HTTP requests answered", ["method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "joblog_http_first_byte_seconds",
            "From a request's arrival to its response's head",
            ["method"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.connections_refused = Counter(
            "joblog_connections_refused",
            "Connections that were closed to keep to the limits of all (total) or of one address (peer)",
            ["server", "limit"],
            registry=registry,
        )


class QuotaMetrics:
    """Quotas that were met. scope: namespace or token."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.refusals = Counter(
            "joblog_quota_refusals", "Work of workers that a quota kept waiting", ["quota", "scope"], registry=registry
        )
        self.slowed = Counter(
            "joblog_quota_slowed", "Requests of readers that came too often", ["scope"], registry=registry
        )
        self._reached = Gauge(
            "joblog_quotas_reached",
            "Quotas that are reached and that somebody met lately",
            ["quota", "scope"],
            registry=registry,
        )

    def show(self, reached: Mapping[tuple[str, str], int]) -> None:
        """How many are reached, by quota and scope."""
        self._reached.clear()
        for labels, count in reached.items():
            self._reached.labels(*labels).set(count)


class RetentionMetrics:
    """What was deleted as nothing kept it any more."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.runs = Counter("joblog_retention_runs", "Runs that were deleted by a policy", registry=registry)
        self.logs = Counter("joblog_retention_logs", "Logs of such runs", registry=registry)
        self.bytes = Counter(
            "joblog_retention_bytes", "Bytes that such logs took in buffer and archive", registry=registry
        )
        self.held_runs = Gauge(
            "joblog_retention_held_runs", "Runs that were due at the last pass and stayed on hold", registry=registry
        )
        self.passes = Counter("joblog_retention_passes", "Passes over all runs", registry=registry)
        self.pass_seconds = Gauge("joblog_retention_pass_seconds", "How long the last pass took", registry=registry)
        self.failures = Counter("joblog_retention_failures", "Passes that failed", registry=registry)


class Metrics:
    """All of the leader's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.ingest = IngestMetrics(self.registry)
        self.workers = WorkerMetrics(self.registry)
        self.reads = ReadMetrics(self.registry)
        self.api = ApiMetrics(self.registry)
        self.compaction = CompactionMetrics(self.registry)
        self.keys = KeyMetrics(self.registry)
        self.archive = ArchiveMetrics(self.registry)
        self.object_store = ObjectStoreMetrics(self.registry)
        self.kms = KmsMetrics(self.registry)
        self.quotas = QuotaMetrics(self.registry)
        self.retention = RetentionMetrics(self.registry)
        self.logs_live = Gauge("joblog_logs_live", "Logs that are live", registry=self.registry)
        self.logs_interrupted = Gauge(
            "joblog_logs_interrupted", "Logs whose worker has not been heard of", registry=self.registry
        )
        self.logs_completed = Counter("joblog_logs_completed", "Logs that were completed", registry=self.registry)
        self.damaged_chunks = Gauge(
            "joblog_buffer_damaged_chunks",
            "Chunks in the buffer that are known to be damaged on its disk",
            registry=self.registry,
        )
        self.buffer_bytes = Gauge("joblog_buffer_bytes", "Bytes of the buffer on the disk", registry=self.registry)

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format (CONTENT_TYPE)."""
        return generate_latest(self.registry)
