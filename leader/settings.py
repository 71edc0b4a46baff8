"""The leader's settings; config/leader.toml documents each of them. Read by entry points only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from joblog.address import check_listen
from joblog.errors import InvalidInput, InvalidSettings
from joblog.leader.access.host_names import is_host
from joblog.leader.access.roles import check_grant
from joblog.leader.adoption_settings import AdoptionSettings
from joblog.leader.archive.options import ArchiveOptions, check_url
from joblog.leader.backup_settings import BackupSettings
from joblog.leader.export_settings import OtlpExportSettings
from joblog.leader.http_settings import HttpSettings, OidcSettings, check_http_listen
from joblog.leader.keys_settings import KeysSettings
from joblog.leader.limits_settings import LimitSettings, QuotaSettings
from joblog.leader.report_settings import DeathReportSettings
from joblog.leader.retention_settings import RetentionSettings
from joblog.leader.s3_settings import S3Settings
from joblog.settings import LogSettings, Settings, declared, load, section, setting

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
DEFAULT_GRPC_LISTEN = "127.0.0.1:7080"


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """Where workers and clients connect."""

    listen: str = setting(
        DEFAULT_GRPC_LISTEN,
        "Address of the gRPC server, HOST:PORT, for clients and for workers that join. Port 0 takes any free one; "
        "`joblog status` tells which.",
        check=check_listen,
    )
    workers_listen: str = setting(
        "",
        "Address for workers that have joined, HOST:PORT; they are asked for a client certificate. Port 0 takes any "
        "free one. Empty: the host of grpc.listen, and its port + 2, or any free one when that is in use.",
        check=check_http_listen,
    )
    workers_address: str = setting(
        "",
        "HOST:PORT that workers are told to connect to once they have joined, where a proxy or an address translation "
        "stands before grpc.workers_listen. Empty: the host that they joined at, and the port of grpc.workers_listen.",
        check=check_http_listen,
    )


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may do what."""

    control: str = setting(
        "on",
        "Whether callers must say who they are, with a token or a certificate, and may do what their roles permit. "
        "off: everybody may do everything.",
        choices=("on", "off"),
    )
    audit: str = setting(
        "on",
        "Whether the leader keeps an audit log: who read, searched, deleted or changed what, and who was refused.",
        choices=("on", "off"),
    )
    audit_reads: bool = setting(
        True, "Write reads and searches that were allowed to the audit log too, not only what changes something."
    )
    certificate_hours: float = setting(
        24.0,
        "How long a worker's certificate is good; workers renew them by themselves after two thirds of it.",
        unit="hours",
        low=0.001,
        high=8784,
    )
    client_certificates: tuple[str, ...] = setting(
        (),
        "Namespaces, by globs, that holders of certificates of tls.client_ca_file may write to. Empty: none.",
    )
    session_hours: float = setting(
        12.0, "How long a browser stays signed in at most.", unit="hours", low=0.001, high=8784
    )
    session_idle_hours: float = setting(
        2.0,
        "After this time without a request a browser has to sign in again. 0: only after access.session_hours.",
        unit="hours",
        low=0,
        high=8784,
    )
    failures_per_minute: int = setting(
        30,
        "How many tokens, codes and cookies that are not known may come from one address in a minute, gRPC and HTTP "
        "together. Then it has to wait; whoever shows one that is good does not. 0: no limit.",
        low=0,
        high=1_000_000,
    )
    total_failures_per_minute: int = setting(
        600,
        "The same for all addresses together. 0: no limit.",
        low=0,
        high=1_000_000,
    )


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How connections are encrypted, and by what the leader is known. Without settings it has a CA of its own."""

    mode: str = setting(
        "on",
        "on: all connections are encrypted. off: none is, and whoever is on the way sees logs and tokens; the leader "
        "warns of that at each start.",
        choices=("on", "off"),
    )
    names: tuple[str, ...] = setting(
        (),
        "Further host names and addresses under which clients and workers reach this leader; those of this machine are "
        "known already.",
    )
    certificate: Path | None = setting(
        None,
        "A certificate of your own, in PEM, with the chain to its CA; it is read again when the file changes. Empty: "
        "the leader's CA makes one.",
    )
    key: Path | None = setting(None, "The key of tls.certificate, in PEM without a passphrase, mode 0600.")
    ca: Path | None = setting(
        None,
        "The CA of tls.certificate, in PEM: join tokens carry its fingerprint. Empty: clients trust the CAs of their "
        "system.",
    )
    client_ca_file: Path | None = setting(
        None,
        "The CA of the workers' certificates, in PEM, where those come from elsewhere: the common name is the worker's "
        "id. Empty: the leader makes them when workers join.",
    )
    server_hours: float = setting(
        720.0,
        "How long a certificate is good that the leader makes for itself; the next one is made after two thirds of it.",
        unit="hours",
        low=0.001,
        high=87_600,
    )


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """What workers send."""

    window_bytes: int = setting(
        32 * MIB,
        "Bytes of batches that one worker may have sent and not yet seen acked; it waits when they are reached.",
        unit="bytes",
        low=MIB,
        high=GIB,
    )
    max_batch_bytes: int = setting(
        MIB, "Raw bytes in a batch at most; a larger one is refused.", unit="bytes", low=64 * KIB, high=4 * MIB
    )
    max_message_bytes: int = setting(
        8 * MIB, "Bytes in a gRPC message at most; a larger one is refused.", unit="bytes", low=MIB, high=64 * MIB
    )
    total_memory_bytes: int = setting(
        256 * MIB,
        "Bytes of batches of all workers in memory at most; when they are reached, all workers wait.",
        unit="bytes",
        low=16 * MIB,
        high=64 * GIB,
    )
    commit_max_bytes: int = setting(
        16 * MIB, "Bytes that are written to the store in one synced commit at most.", unit="bytes", low=MIB, high=GIB
    )
    commit_max_delay_seconds: float = setting(
        0.0,
        "How long a commit waits for more to come. 0: it never waits, and takes what came during the one before.",
        unit="seconds",
        low=0,
        high=1,
    )
    heartbeat_seconds: float = setting(
        5.0, "How often a worker sends a sign of life at least.", unit="seconds", low=0.1, high=300
    )
    lost_after_seconds: float = setting(
        30.0,
        "After this time without a sign of life a worker counts as lost, and its live logs as interrupted.",
        unit="seconds",
        low=0.5,
        high=3600,
    )
    gather_seconds: float = setting(
        0.25,
        "How long a worker may gather bytes of a log that nobody watches. Watched logs are sent at once.",
        unit="seconds",
        low=0,
        high=60,
    )
    gather_bytes: int = setting(
        256 * KIB, "How many bytes of such a log it may gather.", unit="bytes", low=KIB, high=4 * MIB
    )
    max_log_bytes: int = setting(
        0,
        "Bytes that are kept of one log at most: beyond them chunks are dropped from its middle, and the log has a gap "
        "there. 0: no limit.",
        unit="bytes",
        low=0,
    )


@dataclass(frozen=True, slots=True)
class BufferSettings:
    """The store on the leader's disk."""

    write_buffer_bytes: int = setting(
        32 * MIB, "Memory for writes before they go to a table file.", unit="bytes", low=4 * MIB, high=4 * GIB
    )
    cache_bytes: int = setting(32 * MIB, "Memory for blocks that were read.", unit="bytes", low=MIB, high=64 * GIB)
    background_jobs: int = setting(2, "Threads for flushes and compactions.", low=1, high=64)


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """How logs are read."""

    threads: int = setting(4, "Threads that read from the store and open chunks.", low=1, high=64)


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """Where logs go for good. Without an archive the buffer keeps them."""

    url: str = setting("", "The archive: s3://BUCKET/PREFIX or file:///FOLDER. Empty: there is none.", check=check_url)
    create_bucket: bool = setting(True, "Make the bucket or folder when it is missing.")
    flush_interval_seconds: float = setting(
        10.0, "How often live logs go to the archive.", unit="seconds", low=0.1, high=86_400
    )
    pack_max_bytes: int = setting(
        64 * MIB, "Size of an object with chunks of live logs at most.", unit="bytes", low=MIB, high=GIB
    )
    multipart_bytes: int = setting(
        16 * MIB, "From this size on an object is sent in parts of that size.", unit="bytes", low=5 * MIB, high=GIB
    )
    buffer_budget_bytes: int = setting(
        2 * GIB,
        "Bytes that may wait in the buffer. When they are reached, workers wait and keep what comes in their spools.",
        unit="bytes",
        low=16 * MIB,
        high=16384 * GIB,
    )
    claim_renew_seconds: float = setting(
        60.0,
        "How often the leader shows in the archive that it is at work. One with an empty disk takes over from it when "
        "that was left out three times.",
        unit="seconds",
        low=0.2,
        high=3600,
    )
    ack: str = setting(
        "stored",
        "Until when workers keep what they have sent. stored: until it is on the leader's disk. archived: until it is "
        "in the archive too, so that the loss of the leader's disk loses nothing.",
        choices=("stored", "archived"),
    )
    retry_seconds: float = setting(20.0, "How long a request is tried again.", unit="seconds", low=0, high=3600)
    plain_copy: bool = setting(
        False,
        "Write each completed log a second time, as plain text (logs.txt), for tools that only know S3. It is "
        "encrypted at the server alone: archive.s3.sse must be s3 or kms.",
    )
    require_envelope: bool = setting(
        False, "Refuse every setting with which bytes of logs lie in the archive without joblog's own encryption."
    )
    cache_memory_bytes: int = setting(
        64 * MIB, "Memory for what was read from the archive.", unit="bytes", low=0, high=64 * GIB
    )
    cache_disk_bytes: int = setting(
        GIB, "Disk for what was read from the archive, encrypted as it is there.", unit="bytes", low=0, high=16384 * GIB
    )
    s3: S3Settings = section(S3Settings, "How to reach the bucket.")

    def options(self) -> ArchiveOptions:
        """What the object store is opened with."""
        return ArchiveOptions(self.url, self.create_bucket, self.retry_seconds, self.s3.options())


@dataclass(frozen=True, slots=True)
class LeaderSettings(Settings):
    """All settings of a leader."""

    data_dir: Path | None = setting(
        None, "Folder for all state. Empty: $XDG_DATA_HOME/joblog, or ~/.local/share/joblog."
    )
    drain_seconds: float = setting(
        10.0,
        "How long the leader may take to finish what has arrived when it is told to stop.",
        unit="seconds",
        low=0,
        high=3600,
    )
    grpc: GrpcSettings = section(GrpcSettings, "Where workers and clients connect.")
    tls: TlsSettings = section(TlsSettings, "How connections are encrypted, and by what the leader is known.")
    access: AccessSettings = section(AccessSettings, "Who may do what.")
    http: HttpSettings = section(HttpSettings, "Where the HTTP API and the admin UI are served.")
    oidc: OidcSettings = section(OidcSettings, "Signing in to the admin UI at an OpenID Connect provider.")
    keys: KeysSettings = section(KeysSettings, "The key that all others are wrapped with.")
    ingest: IngestSettings = section(IngestSettings, "What workers send.")
    buffer: BufferSettings = section(BufferSettings, "The store on the leader's disk.")
    archive: ArchiveSettings = section(ArchiveSettings, "Where logs go for good.")
    adoption: AdoptionSettings = section(AdoptionSettings, "Where logs of older systems lie that may be adopted.")
    backup: BackupSettings = section(BackupSettings, "Where backups of the store go, and when they are made.")
    reading: ReadingSettings = section(ReadingSettings, "How logs are read.")
    quotas: QuotaSettings = section(QuotaSettings, "How much there may be in a namespace.")
    retention: RetentionSettings = section(RetentionSettings, "How long logs are kept.")
    limits: LimitSettings = section(LimitSettings, "How much connections and requests may take.")
    death_reports: DeathReportSettings = section(
        DeathReportSettings, "What is said of tasks and containers that ended abnormally."
    )
    otlp_export: OtlpExportSettings = section(
        OtlpExportSettings, "Whether and where lines of logs are sent, over OTLP."
    )
    log: LogSettings = section(LogSettings, "What the leader says about itself, on stderr.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that do not fit together."""
        ingest = self.ingest
        try:
            check_grant("writer", self.access.client_certificates)
        except InvalidInput as error:
            yield "access.client_certificates", f"is not allowed: {error}"
        if ingest.lost_after_seconds < 2 * ingest.heartbeat_seconds:
            least = 2 * ingest.heartbeat_seconds
            yield "ingest.lost_after_seconds", f"must be at least twice ingest.heartbeat_seconds: {least:g}"
        if ingest.total_memory_bytes < ingest.window_bytes:
            yield "ingest.total_memory_bytes", "must be at least ingest.window_bytes: one worker would never fill it"
        # A message carries at least one batch and what goes with it.
        if ingest.max_message_bytes < ingest.max_batch_bytes + 128 * KIB:
            yield "ingest.max_message_bytes", "must be at least ingest.max_batch_bytes and 128 KiB more"
        if ingest.window_bytes < ingest.max_batch_bytes:
            yield "ingest.window_bytes", "must be at least ingest.max_batch_bytes"
        yield from _tls_problems(self.tls)
        yield from self.http.problems()
        yield from self.quotas.problems()
        yield from self.retention.problems()
        yield from self.limits.problems()
        yield from self.oidc.problems()
        archive = self.archive
        yield from archive.s3.problems("archive")
        yield from self.backup.problems(archive.url)
        yield from self.adoption.problems(archive.url, self.backup.url)
        if archive.plain_copy and archive.require_envelope:
            yield "archive.plain_copy", "can't be switched on together with archive.require_envelope"
        if archive.plain_copy and not (archive.url.startswith("s3:") and archive.s3.sse in ("s3", "kms")):
            yield (
                "archive.plain_copy",
                "needs an archive in S3 with archive.s3.sse = s3 or kms: the text is not encrypted",
            )
        if archive.pack_max_bytes > archive.buffer_budget_bytes:
            yield "archive.pack_max_bytes", "must be at most archive.buffer_budget_bytes"
        yield from self.keys.problems()
        yield from self.death_reports.problems(ingest.lost_after_seconds)
        yield from self.otlp_export.problems()


def _tls_problems(tls: TlsSettings) -> Iterator[tuple[str, str]]:
    for name in tls.names:
        if not is_host(name):
            yield "tls.names", f"holds {name[:100]!r}, which is neither a host name nor an address"
    if (tls.certificate is None) != (tls.key is None):
        yield "tls.certificate", "and tls.key must be given together"
    if tls.ca is not None and tls.certificate is None:
        yield "tls.ca", "needs tls.certificate: it says who signed that"


def keys_settings(
    flags: Mapping[str, str], file: Path | None, environ: Mapping[str, str], more: Mapping[str, str]
) -> KeysSettings:
    """The section `keys` in force, with the settings of it in `more` over all others. Raises InvalidSettings."""
    variables = {item.key: item.variable for item in declared(LeaderSettings)}
    given = {f"keys.{name}": value for name, value in more.items()}
    unknown = sorted(given.keys() - variables.keys())
    if unknown:
        raise InvalidSettings(f"{unknown[0]} is not a setting; `joblog config show` lists all")
    # As variables: secrets are taken from those.
    overlay = {variables[key]: value for key, value in given.items()}
    left = {key: value for key, value in flags.items() if key not in given}
    return load(LeaderSettings, file=file, environ={**environ, **overlay}, flags=left).values.keys
