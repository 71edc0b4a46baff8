"""Adopting that is killed, stopped, or disturbed between any two steps: the same again comes to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from joblog.errors import Interrupted, Unavailable
from joblog.identity import LogName
from joblog.leader.adoption.adopter import Adopter
from joblog.leader.adoption.order import order_of
from joblog.leader.archive import failpoints
from joblog.leader.archive.foreign import ForeignInfo, ForeignSource
from joblog.leader.archive.foreign_folder import ForeignFolder
from joblog.leader.archive.objects import ObjectInfo
from joblog.v1.adoption_pb2 import ADOPT_RESULT_REFUSED, AdoptRequest
from tests.adopting import ENDED, RULE, AdoptingSite, OldFolder
from tests.archiving import CountedPuts, Killed, kill_at, once

LOGS = 70

NewSite = Callable[..., AdoptingSite]


@pytest.fixture
def old(tmp_path: Path) -> OldFolder:
    made = OldFolder(tmp_path / "old")
    for number in range(LOGS):
        made.put(f"t/b/s/j{number:02}/logs.txt", b"text of %d\n" % number * 10, ENDED)
    return made


@pytest.fixture
def new_site(tmp_path: Path, old: OldFolder) -> Iterator[NewSite]:
    """Another life of the leader."""
    lives: list[AdoptingSite] = []

    def make(source: ForeignSource | None = None) -> AdoptingSite:
        if lives:
            lives.pop().close()
        objects = CountedPuts(tmp_path / "archive")
        lives.append(AdoptingSite(tmp_path / "leader", objects, source or ForeignFolder(old.root)))
        return lives[-1]

    yield make
    lives.pop().close()


async def is_whole(site: AdoptingSite, old: OldFolder) -> None:
    """All logs are there, once, and nothing else is."""
    while site.clean():
        pass
    assert site.orphans() == []
    assert len(site.objects.all_keys()) == 2 * LOGS + 1  # type: ignore[attr-defined]
    for number in (0, 33, LOGS - 1):
        record = site.record("t", f"j{number:02}", "s")
        assert await site.text(record.number) == (old.root / f"t/b/s/j{number:02}/logs.txt").read_bytes()
        assert (await site.verify(record.number)).unchanged


@pytest.mark.parametrize("step", failpoints.ADOPT_STEPS)
async def test_killed_at(new_site: NewSite, old: OldFolder, step: str) -> None:
    site = new_site()
    kill_at(step)
    with pytest.raises(Killed):
        site.adopt()
    site = new_site()
    site.clean()
    totals, _ = site.adopt()
    assert totals.adopted + totals.known == LOGS
    await is_whole(site, old)


async def test_stopped_between_two_batches(new_site: NewSite, old: OldFolder) -> None:
    site = new_site()
    seen = 0

    def stopped() -> None:
        if seen:
            raise Interrupted("stopped")

    adopter = Adopter(site.context, site.leader.keyring, site.foreign, ready=lambda: None, stopped=stopped)
    steps = adopter.run(order_of(AdoptRequest(url=old.url, rule=RULE), site.foreign))
    seen = next(steps).adopted
    assert 0 < seen < LOGS
    with pytest.raises(Interrupted):
        list(steps)
    totals, _ = site.adopt()
    assert (totals.known, totals.adopted) == (seen, LOGS - seen)
    await is_whole(site, old)


class Failing(ForeignFolder):
    """A source that is out of reach from some read on."""

    left = 100

    def get(self, info: ForeignInfo, start: int, length: int) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("the source is out of reach")
        return super().get(info, start, length)


async def test_a_source_that_goes_away_in_the_middle(new_site: NewSite, old: OldFolder) -> None:
    site = new_site(Failing(old.root))
    with pytest.raises(Unavailable):
        site.adopt()
    # What was written by then is in the catalog.
    assert site.store.list_runs("t")[0]
    site = new_site()
    totals, _ = site.adopt()
    assert totals.known > 0
    assert totals.known + totals.adopted == LOGS
    await is_whole(site, old)


async def test_a_log_that_is_begun_under_the_name_meanwhile(new_site: NewSite, old: OldFolder) -> None:
    site = new_site()
    log = []
    once("adopt.put", lambda: log.append(site.leader.log(LogName("t", "j07", "s", 1))))
    totals, found = site.adopt()
    assert (totals.adopted, totals.refused) == (LOGS - 1, 1)
    assert [one.name for one in found if one.result == ADOPT_RESULT_REFUSED] == ["t:j07/s/1"]
    log[0].append((1, b"its own text"))
    log[0].complete()
    site.seal()
    assert await site.text(log[0].number) == b"its own text"
    await is_whole(site, old)


class Paged(ForeignFolder):
    """A source that gives short pages, and counts what was asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.pages: list[str] = []

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[Sequence[ObjectInfo], bool]:
        self.pages.append(after)
        return super().list(prefix, after, min(limit, 7))


async def test_listing_goes_page_by_page(new_site: NewSite, old: OldFolder) -> None:
    source = Paged(old.root)
    site = new_site(source)
    totals, found = site.adopt()
    assert (totals.adopted, totals.listed, totals.others) == (LOGS, 2 * LOGS, 0)
    assert len({one.name for one in found}) == LOGS
    assert len(source.pages) >= 2 * LOGS // 7
    await is_whole(site, old)
