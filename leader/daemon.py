"""`joblog leader`: reads the settings, opens the store, and runs ingest, reader and servers until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from joblog import __version__
from joblog.dumps import refuse_cores
from joblog.errors import Conflict, JoblogError
from joblog.identity import AUDIT_NAMESPACE
from joblog.leader.access.attempts import AttemptLimits
from joblog.leader.access.issuing import Issuer
from joblog.leader.access.pace import Pace, Readers
from joblog.leader.access.quota import QuotaRules
from joblog.leader.access.recognition import SessionRules
from joblog.leader.access.shown import GivenFiles
from joblog.leader.access.usage import Meter
from joblog.leader.admission import AdminTokenFile, Admission, AdmissionOptions, open_admission, open_oidc
from joblog.leader.api.bounds import raise_open_files
from joblog.leader.api.grpc_access import AccessService
from joblog.leader.api.grpc_admin import AdminService
from joblog.leader.api.grpc_backups import BackupsService
from joblog.leader.api.grpc_ingest import IngestService
from joblog.leader.api.grpc_keys import KeysService
from joblog.leader.api.grpc_logs import LogsService
from joblog.leader.api.grpc_retention import RetentionService
from joblog.leader.api.grpc_server import GrpcServer
from joblog.leader.api.http.context import ApiContext, Operated
from joblog.leader.api.http.turns import Turns
from joblog.leader.api.http_server import HttpServer
from joblog.leader.api.peer_sweep import PeerSweep
from joblog.leader.api.retention_status import MAX_PENDING
from joblog.leader.api.signing_in import SignIn
from joblog.leader.api.status import LeaderStatus
from joblog.leader.archive.archiver import ArchiverLimits
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.open import open_store
from joblog.leader.archive.rebuild import is_unfinished
from joblog.leader.archived_access import AccessRestorer
from joblog.leader.archiving import ArchiveParts, archive_parts
from joblog.leader.auditing import Auditing, AuditOptions
from joblog.leader.backing_up import backup_service
from joblog.leader.backup.after import AfterRestore
from joblog.leader.backup.restored import incarnation_of
from joblog.leader.backup.schedule import parse_schedule
from joblog.leader.backup.service import BackupPlan, BackupService
from joblog.leader.backup.swap import finish_swaps
from joblog.leader.buffer.options import StoreOptions
from joblog.leader.buffer.store import Store
from joblog.leader.compaction import Compactor
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.remembered import open_present
from joblog.leader.crypto.store_keys import StoreKeys
from joblog.leader.death_reports import DeathReports
from joblog.leader.deletion import Deleter
from joblog.leader.ingest.ingest import Ingest, IngestLimits
from joblog.leader.ingest.quotas import Quotas
from joblog.leader.ingest.spool_keys import SpoolKeys
from joblog.leader.key_service import KeyService
from joblog.leader.metrics import Metrics
from joblog.leader.reading.reader import LogReader
from joblog.leader.report_settings import death_rules
from joblog.leader.retention.holding import Holding
from joblog.leader.retention.keeping import Keeping
from joblog.leader.retention.service import Retention
from joblog.leader.search.searcher import Searcher
from joblog.leader.settings import LeaderSettings, keys_settings
from joblog.leader.settings_kms import LoadKeys, SettingsKms
from joblog.leader.shredding import Shredder
from joblog.leader.start_note import StartNote, write_leader_file
from joblog.leader.transport import CertificateWatch, Transport, TransportOptions, open_transport
from joblog.memory import give_back
from joblog.paths import DataFolder, config_file, data_dir, make_folder
from joblog.service import Service, run_loop, serve
from joblog.settings import load
from joblog.telemetry import set_up_logging
from joblog.v1 import access_pb2_grpc, backup_pb2_grpc, ingest_pb2_grpc, keys_pb2_grpc, retention_pb2_grpc

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 15.0


class Housekeeping(Service):
    """Keeps the metric of the buffer's size up to date, and gives memory of a burst back."""

    name = "housekeeping"

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    async def run(self) -> None:
        """Looks now and then."""
        while True:
            stats = await asyncio.to_thread(self._store.stats)
            self._metrics.buffer_bytes.set(stats.disk_bytes)
            self._metrics.damaged_chunks.set(self._store.damage.count)
            await asyncio.to_thread(give_back)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)


class AddressFile(Service):
    """Says in the data folder where this leader is, for as long as it runs."""

    name = "address file"

    def __init__(self, path: Path, addresses: Callable[[], dict[str, object]]) -> None:
        self._path = path
        self._addresses = addresses

    async def start(self) -> None:
        """Writes the file."""
        write_leader_file(self._path, self._addresses())
        log.info("leader %s is ready", __version__)

    async def stop(self) -> None:
        """Removes the file."""
        self._path.unlink(missing_ok=True)


def main(flags: dict[str, str], config: Path | None) -> int:
    """Runs a leader; returns the process's exit code. flags: settings by their dotted names."""
    try:
        file = config_file("leader", config, os.environ)
        settings = load(LeaderSettings, file=file, environ=os.environ, flags=flags).values
    except JoblogError as error:
        set_up_logging()
        log.critical("%s", error)
        return error.exit_code
    secrets = [*settings.keys.secrets(os.environ).all(), settings.oidc.client_secret]
    set_up_logging(settings.log.level, settings.log.format, secrets=secrets)
    try:
        # The store's files too are for their owner alone, also where their folder is opened or moved.
        os.umask(0o077)
        refuse_cores()
        folder = DataFolder(make_folder(data_dir(settings.data_dir, os.environ)))
        make_folder(folder.leader)
        load_keys = partial(keys_settings, flags, file, os.environ)
        return run_loop(lambda: _run(settings, folder, load_keys))
    except JoblogError as error:
        log.critical("%s", error)
        return error.exit_code


class _Core(NamedTuple):
    """What everything else in a leader works with."""

    settings: LeaderSettings
    folder: DataFolder
    store: Store
    keyring: Keyring
    keys: KeyService
    readers: ThreadPoolExecutor
    metrics: Metrics
    ingest: Ingest
    admission: Admission
    transport: Transport
    spool_keys: SpoolKeys


async def _run(settings: LeaderSettings, folder: DataFolder, load_keys: LoadKeys) -> int:
    buffer = settings.buffer
    options = StoreOptions(
        write_buffers_bytes=buffer.write_buffer_bytes,
        cache_bytes=buffer.cache_bytes,
        background_jobs=buffer.background_jobs,
    )
    for backup_id in finish_swaps(folder):
        log.warning("the restore of backup %s had come to its last step, and is finished", backup_id)
    store = Store.open(folder.store, options=options)
    readers = ThreadPoolExecutor(settings.reading.threads, thread_name_prefix="reading")
    admission: Admission | None = None
    try:
        admission = open_admission(folder, _admission_options(settings))
        transport = open_transport(folder.access, _transport_options(settings))
        if is_unfinished(store) and not settings.archive.url:
            raise Conflict(f"{folder.store} is being rebuilt from an archive, and none is set: set archive.url")
        metrics = Metrics()
        source = SettingsKms(load_keys, folder.kek_file, os.environ, metrics.kms)
        known, warning = open_present(store, source)
        keyring = Keyring(StoreKeys(store, known, store.store_id))
        keys = KeyService(
            store,
            keyring,
            source,
            metrics,
            store_key_days=settings.keys.store_key_days,
            note=StartNote(folder.leader_file),
            warning=warning,
        )
        services = _services(
            settings, folder, store, keys, readers=readers, metrics=metrics, admission=admission, transport=transport
        )
        return await serve(services, drain_seconds=settings.drain_seconds)
    finally:
        readers.shutdown(wait=True, cancel_futures=True)
        if admission is not None:
            admission.store.close()
        store.close()


def _admission_options(settings: LeaderSettings) -> AdmissionOptions:
    access, known = settings.access, settings.oidc.options()
    return AdmissionOptions(
        control=access.control == "on",
        open_metrics=settings.http.open_metrics,
        foreign_clients=access.client_certificates if settings.tls.client_ca_file is not None else None,
        attempts=AttemptLimits(access.failures_per_minute, access.total_failures_per_minute),
        sessions=SessionRules(access.session_idle_hours * 3600, frozenset({known.origin} if known else ())),
    )


def _transport_options(settings: LeaderSettings) -> TransportOptions:
    tls = settings.tls
    return TransportOptions(
        listen=settings.grpc.listen,
        workers_listen=settings.grpc.workers_listen,
        workers_address=settings.grpc.workers_address,
        plaintext=tls.mode == "off",
        names=tls.names,
        given=GivenFiles(tls.certificate, tls.key, tls.ca, tls.client_ca_file),
        server_seconds=tls.server_hours * 3600,
        worker_seconds=settings.access.certificate_hours * 3600,
    )


def _services(
    settings: LeaderSettings,
    folder: DataFolder,
    store: Store,
    keys: KeyService,
    *,
    readers: ThreadPoolExecutor,
    metrics: Metrics,
    admission: Admission,
    transport: Transport,
) -> list[Service]:
    keyring = keys.keyring
    asked = settings.ingest
    limits = IngestLimits(**{name: getattr(asked, name) for name in IngestLimits.__slots__})
    keep = bool(settings.archive.url) and settings.archive.ack == "archived"
    rules = QuotaRules(settings.quotas.parsed(), admission.token_quota)
    quotas = Quotas(rules, Meter(admission.store.usage), metrics.quotas)
    admission.gate.pace = Pace(rules, lambda scope: metrics.quotas.slowed.labels(scope.kind).inc())
    admission.gate.readers = Readers(settings.limits.reads, settings.limits.caller_reads)
    deaths = settings.death_reports
    ingest = Ingest(
        store, keyring, metrics, limits, keep_until_archived=keep, quotas=quotas, deaths=death_rules(deaths)
    )
    ingest.incarnation = incarnation_of(store)
    spool_keys = SpoolKeys(store, keyring.store_keys)
    core = _Core(settings, folder, store, keyring, keys, readers, metrics, ingest, admission, transport, spool_keys)
    housekeeping = Housekeeping(store, metrics)
    if settings.archive.url:
        archive = _archive(core)
        keys.write_archive = archive.archiver.write_keys
        keys.behind = archive.archiver.key_objects.behind
        restored = AfterRestore(store, keyring, archive.end.objects, StartNote(folder.leader_file))
        own = [keys, quotas, archive.end, archive.takeover, restored, ingest, archive.archiver]
        access = [archive.access] if archive.access is not None else []
        access.append(archive.holds)
        return [*own, *access, *_servers(core, archive, restored), housekeeping]
    compactor = Compactor(store, keyring, metrics.compaction)
    ingest.on_completed(compactor.wake)
    restored = AfterRestore(store, keyring, None, StartNote(folder.leader_file))
    return [keys, quotas, restored, ingest, compactor, *_servers(core, None, restored), housekeeping]


def _archive(core: _Core) -> ArchiveParts:
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
    )


def _ingest_service(core: _Core, reader: LogReader) -> IngestService:
    """What workers talk to."""
    return IngestService(core.ingest, core.spool_keys, core.readers, reader)


def _auditing(core: _Core, reader: LogReader, archive: ArchiveParts | None) -> list[Auditing]:
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


def _backups(core: _Core, archive: ArchiveParts | None) -> BackupService | None:
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


def _retention(core: _Core, reader: LogReader, on_deleted: Callable[[], None]) -> Retention:
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
        locked_objects=lambda: core.store.count_locked(MAX_PENDING),
    )


def _servers(core: _Core, archive: ArchiveParts | None, restored: AfterRestore) -> list[Service]:
    """gRPC, HTTP, and the file that says where they are."""
    store, ingest, metrics = core.store, core.ingest, core.metrics
    extents = archive.extents if archive else None
    reader = LogReader(store, core.keyring, ingest.live, core.readers, metrics, archive=extents)
    searcher = Searcher(store, reader.open_cipher, extents)
    reports: list[Service] = []
    if core.settings.death_reports.enabled:
        stdout = core.settings.death_reports.stdout
        reports.append(DeathReports(ingest, store, reader, metrics.registry, stdout=stdout))
    shredder = Shredder(store)

    def on_deleted() -> None:
        shredder.wake()
        if archive is not None:
            archive.archiver.deleted()

    deleter = Deleter(store, ingest, reader.forget, core.readers, on_deleted=on_deleted)
    retention = _retention(core, reader, on_deleted)
    auditor = core.admission.gate
    holding = Holding(store, auditor=lambda: auditor.auditor, keeper=archive.holds if archive else None)
    http: list[HttpServer] = []
    auditing = _auditing(core, reader, archive)
    gate = core.admission.gate
    backups = _backups(core, archive)
    issuer = Issuer(
        core.admission.store,
        address=lambda: transport.advertised(grpc),
        fingerprint=lambda: transport.fingerprint,
        use=ingest.quotas.use_of_token,
    )
    bounds = core.settings.limits.bounds(raise_open_files())
    sign_in = SignIn(core.admission.store, gate, session_seconds=core.settings.access.session_hours * 3600)
    known = core.settings.oidc.options()
    oidc = [open_oidc(known, sign_in, gate)] if known else []
    status = LeaderStatus(
        leader_id=store.store_id,
        version=__version__,
        started_ns=time.time_ns(),
        store=store,
        http_url=lambda: http[0].url if http else "",
        workers=ingest.seen.all,
        logs_live=lambda: sum(live.record.id.namespace != AUDIT_NAMESPACE for live in ingest.registry.all()),
        not_ready=ingest.not_ready,
        warnings=lambda: [
            *core.keys.warnings(),
            *shredder.warnings(),
            *retention.warnings(),
            *ingest.quotas.warnings(),
            *(archive.archiver.warnings() if archive else []),
            *(archive.access.warnings() if archive and archive.access else []),
            *(backups.warnings() if backups else []),
            *(archive.holds.warnings() if archive else []),
            *(warning for one in auditing for warning in one.warnings()),
        ],
    )
    if core.settings.http.listen:
        host, _, port = core.settings.http.listen.rpartition(":")
        operated = Operated(core.keys, archive.archiver if archive else None, backups, retention, holding)
        context = ApiContext(store, reader, searcher, deleter, status, metrics, gate, issuer, sign_in, operated)
        turns, open_bytes = Turns(lambda: store.put_bytes), ingest.registry.open_bytes
        context = replace(context, oidc=oidc[0] if oidc else None, turns=turns, open_bytes=open_bytes)
        tls = core.transport.server.context() if core.transport.server else None
        place, names = core.settings.http.place(), core.settings.tls.names
        http.append(
            HttpServer(context, host=host.strip("[]"), port=int(port), names=names, place=place, tls=tls, bounds=bounds)
        )
    grpc_host, _, grpc_port = core.settings.grpc.listen.rpartition(":")
    transport = core.transport
    joining = transport.joining(core.admission.store, core.readers, lambda: grpc)

    def page() -> str:
        return http[0].page(transport.advertised(grpc).rpartition(":")[0]) if http else ""

    access = AccessService(issuer, gate, sign_in, joining, url=page)
    grpc = GrpcServer(
        LogsService(store, reader, searcher, Keeping(store, retention.policies)),
        AdminService(reader, deleter, status),
        gate,
        host=grpc_host.strip("[]"),
        port=int(grpc_port),
        max_message_bytes=core.settings.ingest.max_message_bytes,
        encryption=transport.encryption(),
        bounds=bounds,
        more=[
            partial(ingest_pb2_grpc.add_IngestServicer_to_server, _ingest_service(core, reader)),
            partial(access_pb2_grpc.add_AccessServicer_to_server, access),
            partial(keys_pb2_grpc.add_KeysServicer_to_server, KeysService(core.keys, core.readers)),
            partial(backup_pb2_grpc.add_BackupsServicer_to_server, BackupsService(backups)),
            partial(retention_pb2_grpc.add_RetentionServicer_to_server, RetentionService(retention, holding)),
        ],
        ends=[ingest.drain],
    )
    address = AddressFile(
        core.folder.leader_file, lambda: {**transport.said(grpc), "http_url": http[0].url if http else ""}
    )
    admin = AdminTokenFile(core.admission, lambda: grpc.address, lambda: transport.fingerprint)
    watch = [CertificateWatch(transport.server)] if transport.server else []
    refused = metrics.api.connections_refused.labels("grpc", "peer")
    sweep = PeerSweep(lambda: {grpc.port, grpc.workers_port} - {0}, bounds.peer_grpc, refused.inc)
    made = [backups] if backups is not None else []
    if backups is not None:
        restored.fence = backups.keep_fence
    own = [shredder, *made, *reports, *auditing, retention, gate, searcher]
    return [*own, *watch, grpc, sweep, admin, *oidc, *http, address]
