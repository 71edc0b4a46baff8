"""Logs of an older system in a folder or a bucket, and the leader that adopts them, step by step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joblog.identity import LogName
from joblog.leader.adoption.adopter import Adopter
from joblog.leader.adoption.order import order_of
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.foreign import ForeignSource
from joblog.leader.archive.foreign_reader import ForeignReader
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.reading.reader import LogReader
from joblog.v1 import adoption_pb2
from joblog.v1.adoption_pb2 import AdoptedLog, AdoptResponse
from joblog.v1.types_pb2 import LogRecord
from tests.archiving import ArchiveSite

RULE = "{namespace}/{jobType}/{serviceName}/{jobName}/logs.txt"
ENDED = {"exitCode": 0, "startTime": "2026-01-31T12:00:00Z", "endTime": "2026-01-31T12:05:00.5Z", "status": "Succeeded"}


class OldFolder:
    """An older system's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()

    def put(self, key: str, data: bytes, metadata: Mapping[str, object] | bytes | None = None) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if metadata is not None:
            body = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
            (path.parent / "metadata.json").write_bytes(body)


def nothing() -> None:
    """Never stopped."""


class AdoptingSite(ArchiveSite):
    """A leader with an archive and a source."""

    def __init__(self, folder: Path, objects: ObjectStore, source: ForeignSource) -> None:
        super().__init__(folder, objects)
        self.source = source
        self.foreign = ForeignReader([source], max_log_bytes=64 << 20, retry_seconds=0.0)
        self.context.claim.ensure()
        self.reader = self.new_reader()

    def new_reader(self) -> LogReader:
        leader = self.leader
        foreign = ForeignReader([self.source], retry_seconds=0.0) if hasattr(self, "source") else None
        return LogReader(
            self.store, leader.keyring, leader.live, leader.pool, leader.metrics,
            archive=ExtentReader(self.objects, RangeCache(16 << 20), foreign=foreign),
        )  # fmt: skip

    def adopt(self, **asked: Any) -> tuple[AdoptResponse, list[AdoptedLog]]:
        """The sums, and what became of each that was not known before."""
        request = adoption_pb2.AdoptRequest(**{"url": self.source.url, "rule": RULE, **asked})
        adopter = Adopter(
            self.context, self.leader.keyring, self.foreign, ready=self.context.claim.ensure, stopped=nothing
        )
        logs: list[AdoptedLog] = []
        last = AdoptResponse()
        for last in adopter.run(order_of(request, self.foreign)):
            logs += last.logs
        assert last.done
        return last, logs

    def record(self, namespace: str, run: str, task: str, attempt: int = 1) -> LogRecord:
        number = self.store.find_log(LogName(namespace, run, task, attempt))
        assert number is not None
        found = self.store.get_log(number)
        assert found is not None
        return found
