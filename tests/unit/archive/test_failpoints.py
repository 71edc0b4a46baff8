"""The leader is killed between each two steps of its work, and starts again: nothing is lost, twice, or forgotten."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from joblog.identity import LogName
from joblog.leader.archive import failpoints
from joblog.leader.archive.flush import FlushLimits
from joblog.leader.archive.rollup import LARGE_EXTENTS
from joblog.v1.types_pb2 import TIER_ARCHIVE
from tests.archiving import ArchiveSite, CountedPuts, Killed, kill_at
from tests.stored_log import StoredLog, fill

Start = Callable[..., ArchiveSite]

SEGMENT_STEPS = [step for step in failpoints.STEPS if step.startswith("segment.")]
OTHER_STEPS = [step for step in failpoints.STEPS if step not in SEGMENT_STEPS]


def work(site: ArchiveSite) -> None:
    site.context.claim.ensure()
    site.flush(everything=True)
    site.seal()
    site.clean()


async def reads_well(site: ArchiveSite, logs: list[StoredLog]) -> None:
    for log in logs:
        record = site.store.get_log(log.number)
        assert record is not None
        assert record.next_offset == log.length
        assert await site.text(log.number) == bytes(log.model.data)


@pytest.mark.parametrize("hits", [1, 2])
@pytest.mark.parametrize("step", OTHER_STEPS)
async def test_killed_at(start: Start, objects: CountedPuts, step: str, hits: int) -> None:
    site = start(multipart_bytes=5 << 20)
    noise = random.Random(1)
    logs = [site.leader.log(LogName("default", f"run{at}", "task", 1)) for at in range(6)]
    # Alone in its pack, which is unused once it is sealed.
    fill(logs[1], [b"zero\n"])
    site.flush()
    for log in logs:
        fill(log, [b"first\n", b"second\n"])
    for log in logs[:3]:
        fill(log, [noise.randbytes(1 << 20) for _ in range(12 if log is logs[0] else 1)])
    if hits == 2:
        # Everything is there already once.
        work(site)
        for log in logs:
            fill(log, [b"third\n" * 1000])
        logs.append(site.leader.log(LogName("default", "new", "task", 1)))
        fill(logs[-1], [b"new\n"])
    if step.startswith("seal"):
        site.flush(everything=True)
    for log in logs[:2]:
        log.complete()
    fill(logs[4], [b"in the buffer\n"])
    if step == "claim.written":
        site = start()
        rebind(site, logs)
    kill_at(step)
    with pytest.raises(Killed):
        work(site)
    site = start()
    rebind(site, logs)
    await reads_well(site, logs)
    assert site.orphans() == []
    work(site)
    await reads_well(site, logs)
    for log in logs[:2]:
        assert (await site.verify(log.number)).complete
        record = site.store.get_log(log.number)
        assert record is not None
        assert record.tier == TIER_ARCHIVE
    site.clean()
    assert site.store.objects.unused() == []
    assert site.orphans() == []
    with site.store.view() as view:
        assert [log.number for log in logs for _ in view.chunks(log.number)] == []


def rebind(site: ArchiveSite, logs: list[StoredLog]) -> None:
    """The logs, in the leader's next life."""
    for log in logs:
        log.store, log.live = site.store, site.leader.live


@pytest.mark.parametrize("step", SEGMENT_STEPS)
async def test_killed_while_extents_are_joined(
    start: Start, objects: CountedPuts, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joblog.leader.archive.rollup.LARGE_EXTENT_BYTES", 1000)
    monkeypatch.setattr("joblog.leader.archive.rollup.large_to_join.__defaults__", (1000,))
    monkeypatch.setattr("joblog.leader.archive.rollup.small_to_join.__defaults__", (1000,))
    limits = FlushLimits(merge=False)
    site = start(limits=limits)
    noise = random.Random(2)
    log = site.leader.log()
    for _ in range(LARGE_EXTENTS + 5):
        fill(log, [noise.randbytes(2000)])
        site.flush(everything=True)
    fill(log, [noise.randbytes(2000)])
    assert site.flush(everything=True).crowded == [log.number]
    kill_at(step)
    with pytest.raises(Killed):
        site.joiner.join(log.number)
    site = start(limits=limits)
    rebind(site, [log])
    site.context.claim.ensure()
    await reads_well(site, [log])
    assert site.orphans() == []
    if step != "segment.committed":
        assert site.joiner.join(log.number) > 0
    assert len(list(site.store.extents(log.number))) < 10
    await reads_well(site, [log])
    site.clean()
    assert site.orphans() == []
    assert len([key for key in objects.all_keys() if key.endswith(".pack")]) < 10
