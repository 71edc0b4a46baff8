"""What a leader does beside taking logs in, made of the settings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from joblog.leader.adoption.service import Adoption
from joblog.leader.api.retention_status import MAX_PENDING
from joblog.leader.archive.archiver import ArchiverLimits
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.foreign_open import open_foreign
from joblog.leader.archive.open import open_store
from joblog.leader.archived_access import AccessRestorer
from joblog.leader.archiving import ArchiveParts, archive_parts
from joblog.leader.auditing import Auditing, AuditOptions
from joblog.leader.backing_up import backup_service
from joblog.leader.backup.restored import incarnation_of
from joblog.leader.backup.schedule import parse_schedule
from joblog.leader.backup.service import BackupPlan, BackupService
from joblog.leader.daemon.core import Core
from joblog.leader.death_reports import DeathReports
from joblog.leader.deletion import Deleter
from joblog.leader.export_settings import parse_header_lines, parse_headers
from joblog.leader.exporting import CollectorFiles, exporter
from joblog.leader.reading.reader import LogReader
from joblog.leader.retention.holding import Holding
from joblog.leader.retention.service import Retention
from joblog.leader.search.searcher import Searcher
from joblog.leader.shredding import Shredder
from joblog.service import Service

if TYPE_CHECKING:
    from joblog.leader.export.exporter import Exporter

log = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What a leader does beside taking logs in, for those who ask over gRPC and HTTP.

    auditing: none where it is turned off. backups: None where no place for them is set. adoption: None without archive.
    """

    reader: LogReader
    searcher: Searcher
    deleter: Deleter
    shredder: Shredder
    reports: list[DeathReports]
    auditing: list[Auditing]
    retention: Retention
    holding: Holding
    backups: BackupService | None
    archive: ArchiveParts | None
    adoption: Adoption | None
    exports: Sequence[Exporter] = ()

    def services(self) -> list[Service]:
        """Those that are services, in the order of their start; they start before what answers requests."""
        backups = [self.backups] if self.backups is not None else []
        adoption = [self.adoption] if self.adoption is not None else []
        after = [*self.reports, *self.auditing, *self.exports]
        return [self.shredder, *backups, *after, self.retention, *adoption, self.searcher]

    def warnings(self) -> list[str]:
        """What an operator is to look at."""
        archive = self.archive
        return [
            *self.shredder.warnings(),
            *self.retention.warnings(),
            *(archive.archiver.warnings() if archive else []),
            *(archive.access.warnings() if archive and archive.access else []),
            *(archive.holds.warnings() if archive else []),
            *(self.backups.warnings() if self.backups else []),
            *(warning for one in self.auditing for warning in one.warnings()),
            *(warning for one in self.exports for warning in one.warnings()),
        ]


def open_archive(core: Core) -> ArchiveParts:
    """What works with the archive."""
    asked = core.settings.archive
    limits = ArchiverLimits(
        flush_interval_seconds=asked.flush_interval_seconds,
        pack_bytes=asked.pack_max_bytes,
        buffer_budget_bytes=asked.buffer_budget_bytes,
        multipart_bytes=asked.multipart_bytes,
        renew_seconds=asked.claim_renew_seconds,
        create_bucket=asked.create_bucket,
        plain_copy=asked.plain_copy,
        # What a log's limit may drop later must not become one chunk with what stays.
        merge=not core.settings.ingest.max_log_bytes,
    )
    server = core.transport.server
    access = AccessRestorer(
        core.admission.store,
        core.transport.authority,
        core.folder.access,
        core.spool_keys,
        renew=server.renew if server is not None else lambda: None,
    )
    cache = RangeCache(asked.cache_memory_bytes, asked.cache_disk_bytes, core.folder.leader / "cache")
    return archive_parts(
        open_store(asked.options(), core.metrics.object_store),
        limits,
        cache,
        store=core.store,
        keyring=core.keyring,
        ingest=core.ingest,
        metrics=core.metrics,
        access=access,
        foreign=open_foreign(core.settings.adoption.options()),
    )


def open_parts(core: Core, archive: ArchiveParts | None) -> Parts:
    """The parts of this leader, tied to one another."""
    store, gate = core.store, core.admission.gate
    extents = archive.extents if archive else None
    reader = LogReader(
        store,
        core.keyring,
        core.ingest.live,
        core.readers,
        core.metrics,
        archive=extents,
        restored_ns=incarnation_of(store),
    )
    shredder = Shredder(store)

    def on_deleted() -> None:
        shredder.wake()
        if archive is not None:
            archive.archiver.deleted()

    return Parts(
        reader,
        Searcher(store, reader.open_cipher, extents, core.metrics.reads.searches),
        Deleter(store, core.ingest, reader.forget, core.readers, on_deleted=on_deleted),
        shredder,
        _reports(core, reader),
        _auditing(core, reader, archive),
        _retention(core, reader, on_deleted),
        Holding(store, auditor=lambda: gate.auditor, keeper=archive.holds if archive else None),
        _backups(core, archive),
        archive,
        _adoption(core, archive),
        _exports(core, reader),
    )


def _reports(core: Core, reader: LogReader) -> list[DeathReports]:
    asked = core.settings.death_reports
    if not asked.enabled:
        return []
    return [DeathReports(core.ingest, core.store, reader, core.metrics.registry, stdout=asked.stdout)]


def _auditing(core: Core, reader: LogReader, archive: ArchiveParts | None) -> list[Auditing]:
    """The audit log, which the gate is told of; none where it is turned off."""
    asked = core.settings.access
    if asked.audit == "off":
        log.warning("the audit log is turned off (access.audit): nobody will know who read or deleted what")
        return []
    auditing = Auditing(
        core.ingest,
        core.store,
        reader,
        core.metrics.registry,
        AuditOptions(reads=asked.audit_reads),
        is_apart=lambda: archive is not None and archive.takeover.has_not_looked,
    )
    core.admission.gate.auditor = auditing
    return [auditing]


def _adoption(core: Core, archive: ArchiveParts | None) -> Adoption | None:
    """What adopts logs; None where no archive is set."""
    if archive is None:
        return None
    archiver, gate = archive.archiver, core.admission.gate

    def ready() -> None:
        archiver.ready()
        archiver.write_keys()

    return Adoption(archiver.context, core.keyring, archive.foreign, ready=ready, auditor=lambda: gate.auditor)


def _exports(core: Core, reader: LogReader) -> list[Exporter]:
    """What sends lines of logs elsewhere; none where nothing is set."""
    asked, gate = core.settings.otlp_export, core.admission.gate
    if not asked.endpoint:
        return []
    files = CollectorFiles(
        parse_headers(asked.headers), asked.headers_file, parse_header_lines, asked.ca, asked.certificate, asked.key
    )
    return [
        exporter(
            core.store,
            reader,
            core.ingest.live,
            core.metrics.registry,
            endpoint=asked.endpoint,
            namespaces=asked.namespaces,
            files=files,
            timeout_seconds=asked.timeout_seconds,
            compress=asked.compression == "gzip",
            batch_bytes=asked.batch_bytes,
            partial_seconds=asked.partial_seconds,
            auditor=lambda: gate.auditor,
        )
    ]


def _backups(core: Core, archive: ArchiveParts | None) -> BackupService | None:
    """What makes backups; None where no place for them is set."""
    asked = core.settings.backup
    if not asked.url:
        return None
    plan = BackupPlan(
        asked.limits(), asked.keep(), parse_schedule(asked.schedule), parse_schedule(asked.verify_schedule)
    )
    return backup_service(
        open_store(asked.options()),
        plan,
        core.keys,
        core.keys.source,
        access=core.admission.store,
        access_folder=core.folder.access,
        archive=(archive.end.objects, archive.extents) if archive else None,
        auditor=lambda: core.admission.gate.auditor,
    )


def _retention(core: Core, reader: LogReader, on_deleted: Callable[[], None]) -> Retention:
    """Deletes what no policy keeps."""
    asked, gate = core.settings.retention, core.admission.gate
    return Retention(
        core.store,
        asked.parsed(),
        core.ingest,
        forget_reader=reader.forget,
        pool=core.readers,
        metrics=core.metrics.retention,
        interval_seconds=asked.interval_seconds,
        logs_per_second=asked.logs_per_second,
        auditor=lambda: gate.auditor,
        on_deleted=on_deleted,
        locked_objects=lambda: core.store.objects.count_locked(MAX_PENDING),
    )
