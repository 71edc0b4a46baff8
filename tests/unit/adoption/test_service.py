"""Adoption as the leader runs it: one at a time, for as long as somebody asks, and never after the leader's end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from joblog.errors import Conflict, Interrupted, InvalidInput, Unavailable
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.principal import Principal
from joblog.leader.adoption.service import Adoption
from joblog.leader.archive.foreign import ForeignInfo
from joblog.leader.archive.foreign_folder import ForeignFolder
from joblog.v1.adoption_pb2 import AdoptRequest, AdoptResponse
from tests.adopting import ENDED, RULE, AdoptingSite, OldFolder
from tests.archiving import CountedPuts

SOMEBODY = Principal("token", "ops", "t1", peer="10.0.0.1")


class Held(ForeignFolder):
    """A source that gives nothing until it is let go."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = threading.Event()
        self.free = threading.Event()

    def get(self, info: ForeignInfo, start: int, length: int) -> bytes:
        self.asked.set()
        assert self.free.wait(20)
        return super().get(info, start, length)


class Written:
    """An audit log in a list."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)

    async def record(self, event: AuditEvent) -> None:
        self.events.append(event)


@pytest.fixture
def old(tmp_path: Path) -> OldFolder:
    made = OldFolder(tmp_path / "old")
    for number in range(100):
        made.put(f"t/b/s/j{number:02}/logs.txt", b"text\n", ENDED)
    return made


@pytest.fixture
def source(old: OldFolder) -> Held:
    return Held(old.root)


@pytest.fixture
def site(tmp_path: Path, source: Held) -> Iterator[AdoptingSite]:
    made = AdoptingSite(tmp_path / "leader", CountedPuts(tmp_path / "archive"), source)
    yield made
    made.close()


async def all_of(adoption: Adoption, request: AdoptRequest) -> AdoptResponse:
    return [step async for step in adoption.adopt(request, SOMEBODY)][-1]


async def test_one_at_a_time_until_nobody_asks_any_more(site: AdoptingSite, source: Held) -> None:
    written = Written()
    adoption = Adoption(
        site.context, site.leader.keyring, site.foreign, ready=site.context.claim.ensure, auditor=lambda: written
    )
    request = AdoptRequest(url=source.url, rule=RULE)
    first = asyncio.ensure_future(all_of(adoption, request))
    await asyncio.to_thread(source.asked.wait, 20)
    with pytest.raises(Conflict, match="being adopted already"):
        await all_of(adoption, request)
    first.cancel()
    source.free.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    known = len(site.store.list_runs("t", limit=1000)[0])
    assert known < 100
    done = await all_of(adoption, request)
    assert (done.done, done.known, done.adopted) == (True, known, 100 - known)
    await adoption.stop()
    assert [event.action for event in written.events] == ["log.adopt", "log.adopt", "log.adopted"]
    assert written.events[-1].detail == {"logs": str(100 - known), "bytes": str(5 * (100 - known))}
    with pytest.raises(Interrupted):
        await all_of(adoption, request)


async def test_the_leaders_end_is_its_end(site: AdoptingSite, source: Held) -> None:
    adoption = Adoption(site.context, site.leader.keyring, site.foreign, ready=site.context.claim.ensure)
    running = asyncio.ensure_future(all_of(adoption, AdoptRequest(url=source.url, rule=RULE)))
    await asyncio.to_thread(source.asked.wait, 20)
    await adoption.drain(1.0)
    source.free.set()
    await adoption.stop()
    with pytest.raises(Interrupted, match="run the same again"):
        await running


async def test_a_reader_who_leaves_ends_it_too(site: AdoptingSite, source: Held) -> None:
    source.free.set()
    adoption = Adoption(site.context, site.leader.keyring, site.foreign, ready=site.context.claim.ensure)
    async with aclosing(adoption.adopt(AdoptRequest(url=source.url, rule=RULE), SOMEBODY)) as steps:
        first = await anext(steps)
    assert 0 < first.adopted < 100
    assert (await all_of(adoption, AdoptRequest(url=source.url, rule=RULE))).known == first.adopted
    await adoption.stop()


async def test_nothing_is_begun_that_can_not_be(site: AdoptingSite, source: Held) -> None:
    def not_ready() -> None:
        raise Unavailable("the archive is out of reach")

    adoption = Adoption(site.context, site.leader.keyring, site.foreign, ready=not_ready)
    with pytest.raises(Unavailable):
        await all_of(adoption, AdoptRequest(url=source.url, rule=RULE))
    for wrong in (
        AdoptRequest(url="s3://other/place", rule=RULE),
        AdoptRequest(url="http://x/y", rule=RULE),
        AdoptRequest(url=f"{source.url}/../else", rule=RULE),
        AdoptRequest(url=source.url),
        AdoptRequest(url=source.url, rule=RULE, min_age_seconds=-1),
        AdoptRequest(url=source.url, rule=RULE, min_age_seconds=float("nan")),
        AdoptRequest(url=source.url, rule=RULE, otherwise="failed"),
    ):
        with pytest.raises(InvalidInput):
            await all_of(adoption, wrong)
    assert not source.asked.is_set()
    await adoption.stop()
