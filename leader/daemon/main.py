"""Reads the settings, opens the store, and runs ingest, reader and servers until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from joblog.dumps import refuse_cores
from joblog.errors import Conflict, JoblogError
from joblog.leader.access.attempts import AttemptLimits
from joblog.leader.access.pace import Pace, Readers
from joblog.leader.access.quota import QuotaRules
from joblog.leader.access.recognition import SessionRules
from joblog.leader.access.shown import GivenFiles
from joblog.leader.access.usage import Meter
from joblog.leader.admission import Admission, AdmissionOptions, open_admission
from joblog.leader.archive.rebuild import is_unfinished
from joblog.leader.archiving import ArchiveParts
from joblog.leader.backup.after import AfterRestore
from joblog.leader.backup.restored import incarnation_of
from joblog.leader.backup.swap import finish_swaps
from joblog.leader.buffer.options import StoreOptions
from joblog.leader.buffer.store import Store
from joblog.leader.compaction import Compactor
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.remembered import open_present
from joblog.leader.crypto.store_keys import StoreKeys
from joblog.leader.daemon.core import Core
from joblog.leader.daemon.parts import open_archive, open_parts
from joblog.leader.daemon.serving import Serving
from joblog.leader.export_settings import parse_headers
from joblog.leader.ingest.ingest import Ingest, IngestLimits
from joblog.leader.ingest.quotas import Quotas
from joblog.leader.ingest.spool_keys import SpoolKeys
from joblog.leader.key_service import KeyService
from joblog.leader.metrics import Metrics
from joblog.leader.report_settings import death_rules
from joblog.leader.settings import LeaderSettings, keys_settings
from joblog.leader.settings_kms import LoadKeys, SettingsKms
from joblog.leader.start_note import StartNote
from joblog.leader.transport import Transport, TransportOptions, open_transport
from joblog.memory import give_back
from joblog.paths import DataFolder, config_file, data_dir, make_folder
from joblog.service import Service, run_loop, serve
from joblog.settings import load
from joblog.telemetry import set_up_logging

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


def main(flags: dict[str, str], config: Path | None) -> int:
    """Runs a leader; returns the process's exit code. flags: settings by their dotted names."""
    try:
        file = config_file("leader", config, os.environ)
        settings = load(LeaderSettings, file=file, environ=os.environ, flags=flags).values
    except JoblogError as error:
        set_up_logging()
        log.critical("%s", error)
        return error.exit_code
    secrets = [
        *settings.keys.secrets(os.environ).all(),
        settings.oidc.client_secret,
        *(value for _, value in parse_headers(settings.otlp_export.headers)),
    ]
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
    core = Core(settings, folder, store, keyring, keys, readers, metrics, ingest, admission, transport, spool_keys)
    housekeeping = Housekeeping(store, metrics)
    if settings.archive.url:
        archive = open_archive(core)
        keys.write_archive = archive.archiver.write_keys
        keys.behind = archive.archiver.key_objects.behind
        restored = AfterRestore(store, keyring, archive.end.objects, StartNote(folder.leader_file))
        own = [keys, quotas, archive.end, archive.takeover, restored, ingest, archive.archiver]
        access = [archive.access] if archive.access is not None else []
        access.append(archive.holds)
        return [*own, *access, *_answering(core, archive, restored), housekeeping]
    compactor = Compactor(store, keyring, metrics.compaction)
    ingest.on_completed(compactor.wake)
    restored = AfterRestore(store, keyring, None, StartNote(folder.leader_file))
    return [keys, quotas, restored, ingest, compactor, *_answering(core, None, restored), housekeeping]


def _answering(core: Core, archive: ArchiveParts | None, restored: AfterRestore) -> list[Service]:
    """All that ingest does not need, in the order of their start."""
    parts = open_parts(core, archive)
    if parts.backups is not None:
        restored.fence = parts.backups.keep_fence
    return [*parts.services(), *Serving(core, parts).services()]
