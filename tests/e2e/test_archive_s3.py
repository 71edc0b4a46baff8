"""The archiver on a real S3 server: packs, parts, copies, conditions, deletes; and many small tasks at once."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from joblog.identity import LogName
from joblog.leader.archive.claim import Claim, ClaimLost
from joblog.leader.archive.flush import FlushLimits
from joblog.leader.archive.retrying import RetryingStore
from joblog.leader.archive.s3 import S3Store
from tests.archiving import ArchiveSite
from tests.object_servers import options_for
from tests.stored_log import fill

MIB = 1 << 20


@pytest.fixture
def objects(rgw: str) -> Iterator[RetryingStore]:
    store = RetryingStore(S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "some/prefix/", options_for(rgw)), 20.0)
    store.check(create=True)
    yield store
    store.close()


@pytest.fixture
def site(tmp_path: Path, objects: RetryingStore) -> Iterator[ArchiveSite]:
    limits = FlushLimits(pack_bytes=20 * MIB)
    made = ArchiveSite(tmp_path, objects, limits=limits, multipart_bytes=5 * MIB)
    yield made
    made.close()


async def test_a_large_log_and_small_ones(site: ArchiveSite, objects: RetryingStore) -> None:
    noise = random.Random(1)
    large = site.leader.log()
    small = [site.leader.log(LogName("default", f"r{at}", "t", 1)) for at in range(20)]
    for at in range(50):
        fill(large, [noise.randbytes(MIB)])
        fill(small[at % 20], [b"a line\n"] * 3)
        if at % 20 == 19:
            site.flush(everything=True)
            assert await site.text(large.number) == bytes(large.model.data)
    fill(large, [b"last words\n"])
    for log in (large, *small):
        log.complete()
    site.seal()
    site.clean()
    for log in (large, *small):
        verdict = await site.verify(log.number)
        assert verdict.complete, verdict.problems
        assert await site.text(log.number) == bytes(log.model.data)
    found, more = objects.list("")
    assert not more
    assert len(found) == 2 * 21 + 1
    assert site.store.objects.unused() == []


async def test_a_second_leader_is_refused(site: ArchiveSite, objects: RetryingStore) -> None:
    site.context.claim.ensure()
    with pytest.raises(ClaimLost):
        Claim(objects, "f" * 32).ensure()
    Claim(objects, "f" * 32).take(force=True)
    with pytest.raises(ClaimLost):
        site.context.claim.ensure()


async def test_a_thousand_small_tasks_are_sealed_in_time(site: ArchiveSite) -> None:
    logs = [site.leader.log(LogName("default", f"r{at // 100}", f"t{at}", 1)) for at in range(1000)]
    for log in logs:
        fill(log, [b"a task that says little\n"])
        log.complete()
    site.context.claim.ensure()
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(site.sealer.seal, site.store.unsealed_logs(2000)))
    seconds = time.monotonic() - began
    print(f"{seconds:.1f} s")
    assert site.store.unsealed_logs(1) == []
    assert seconds < 30
