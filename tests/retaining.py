"""Retention of a site with an archive, pass by pass, and what stands around it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from joblog.identity import LogName
from joblog.leader.access.audit import AuditEvent
from joblog.leader.buffer.store import Store
from joblog.leader.metrics import Metrics
from joblog.leader.retention import service
from joblog.leader.retention.policy import Policies
from joblog.leader.retention.service import Retention
from tests.archiving import ArchiveSite
from tests.stored_log import StoredLog, fill

POLICIES = Policies.parse(["*: keep=1h"], ())


@dataclass
class Fence:
    """Stands where ingest does."""

    told: list[int] = field(default_factory=list)

    def forget(self, number: int) -> None:
        self.told.append(number)

    def forgotten(self, number: int) -> None:
        assert number in self.told


@dataclass
class Audit:
    """Keeps what it is told."""

    events: list[AuditEvent] = field(default_factory=list)

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)

    async def record(self, event: AuditEvent) -> None:
        self.events.append(event)


def add_run(site: ArchiveSite, run: str, tasks: int = 3, *, sealed: bool = True) -> list[StoredLog]:
    logs = [site.leader.log(LogName("default", run, f"t{task}", 1)) for task in range(tasks)]
    for log in logs:
        fill(log, [b"a line\n"])
        log.complete()
    if sealed:
        site.seal()
    return logs


def retention(site: ArchiveSite, audit: Audit | None = None, policies: Policies = POLICIES) -> Retention:
    told = audit or Audit()
    return Retention(
        site.store,
        policies,
        Fence(),
        forget_reader=site.reader.forget,
        pool=ThreadPoolExecutor(1),
        metrics=Metrics().retention,
        logs_per_second=0,
        auditor=lambda: told,
    )


async def one_pass(made: Retention) -> service.Done:
    await made.start()
    done = await made._pass()
    await asyncio.sleep(0)
    return done


def names(store: Store) -> list[str]:
    return sorted(run.run for _, run in store.expiry.runs())


def clean(site: ArchiveSite) -> None:
    while site.clean():
        pass
