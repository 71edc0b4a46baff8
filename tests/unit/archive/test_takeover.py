"""A new leader on an archive that another one has written: when it takes over, and when it does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joblog.errors import Denied, Interrupted
from joblog.leader.archive import failpoints
from joblog.leader.archive.claim import Claim, ClaimLost, read_claim
from joblog.leader.archive.layout import claim_key
from joblog.leader.archive.rebuild import is_unfinished
from joblog.leader.archive.takeover import CLOCKS_DIFFER_SECONDS, Takeover
from tests.archiving import ArchiveSite, CountedPuts, Killed, kill_at
from tests.faulty_store import FaultyStore
from tests.stored_log import NAME, StoredLog, fill

RENEW_SECONDS = 0.2


@pytest.fixture
def objects(tmp_path: Path) -> CountedPuts:
    return CountedPuts(tmp_path / "archive")


@pytest.fixture
def logs(tmp_path: Path, objects: CountedPuts) -> list[StoredLog]:
    """A sealed log and a live one, by a leader that is gone."""
    site = ArchiveSite(tmp_path / "one", objects)
    made = [site.leader.log(NAME._replace(task=task)) for task in ("sealed", "live")]
    for log in made:
        fill(log, [b"some\n", b"lines\n"])
    site.flush(everything=True)
    made[0].complete()
    site.seal()
    while site.clean():
        pass
    site.close()
    Claim(objects, site.store.store_id, renew_seconds=RENEW_SECONDS).ensure()
    return made


@pytest.fixture
def fresh(tmp_path: Path, objects: CountedPuts, logs: list[StoredLog]) -> Iterator[Callable[..., ArchiveSite]]:
    """Starts a leader in a folder with nothing but the key."""
    open_sites: list[ArchiveSite] = []

    def start(name: str = "two", *, key: bool = True) -> ArchiveSite:
        for site in open_sites:
            site.close()
        open_sites.clear()
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        if key:
            shutil.copy(tmp_path / "one" / "kek.key", folder / "kek.key")
        open_sites.append(ArchiveSite(folder, objects))
        return open_sites[0]

    yield start
    failpoints.disarm()
    for site in open_sites:
        site.close()


def takeover(site: ArchiveSite, **options: Callable[[], float]) -> Takeover:
    return Takeover(site.store, site.leader.keyring, site.objects, **options)  # type: ignore[arg-type]


async def reads_all(site: ArchiveSite, logs: list[StoredLog]) -> None:
    for log in logs:
        number = site.store.find_log(NAME._replace(task=log.record.id.task))
        assert number is not None
        assert await site.text(number) == bytes(log.model.data)


async def test_a_leader_with_an_empty_disk_takes_over(fresh: Callable[..., ArchiveSite], logs: list[StoredLog]) -> None:
    site = fresh()
    assert takeover(site).run()
    await reads_all(site, logs)
    site.context.claim.ensure()
    assert not takeover(site).run()


def test_one_that_is_at_work_is_left_alone(
    fresh: Callable[..., ArchiveSite], objects: CountedPuts, logs: list[StoredLog]
) -> None:
    before = read_claim(objects)
    assert before is not None
    other = Claim(objects, before.store_id, renew_seconds=RENEW_SECONDS)
    other.ensure()
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += RENEW_SECONDS
        other.renew()
        return now

    site = fresh()
    with pytest.raises(ClaimLost, match=f"store {before.store_id}, which is at work"):
        takeover(site, clock=clock).run()
    other.renew()
    assert site.store.list_namespaces() == []


async def test_an_old_claim_needs_no_watching(fresh: Callable[..., ArchiveSite], logs: list[StoredLog]) -> None:
    site = fresh()

    def clock() -> float:
        raise AssertionError("nothing is to be waited for")

    claim = read_claim(site.objects)
    assert claim is not None
    later = claim.renewed_ns + int((CLOCKS_DIFFER_SECONDS + 3 * RENEW_SECONDS + 1) * 1e9)
    assert takeover(site, clock=clock, clock_ns=lambda: later).run()
    await reads_all(site, logs)


async def test_logs_that_nobody_has_claimed_any_more_are_taken_over(
    fresh: Callable[..., ArchiveSite], objects: CountedPuts, logs: list[StoredLog]
) -> None:
    objects.delete([claim_key()])
    site = fresh()
    assert takeover(site).run()
    await reads_all(site, logs)


def test_a_new_archive_and_one_out_of_reach_hold_up_nobody(tmp_path: Path, fresh: Callable[..., ArchiveSite]) -> None:
    site = fresh()
    site.objects = CountedPuts(tmp_path / "empty")
    assert not takeover(site).run()
    faulty = FaultyStore(CountedPuts(tmp_path / "archive"))
    faulty.down = True
    site.objects = faulty
    assert not takeover(site).run()


def test_a_wrong_key_changes_nothing(
    fresh: Callable[..., ArchiveSite], objects: CountedPuts, logs: list[StoredLog]
) -> None:
    before = {key: objects.get(key) for key in objects.all_keys()}
    site = fresh("other", key=False)
    with pytest.raises(Denied, match="written with another key"):
        takeover(site).run()
    assert {key: objects.get(key) for key in objects.all_keys()} == before
    assert takeover(fresh()).run()


@pytest.mark.parametrize("step", ["rebuild.claimed", "rebuild.batch", "rebuild.live"])
async def test_one_that_was_killed_goes_on_at_the_next_start(
    fresh: Callable[..., ArchiveSite], logs: list[StoredLog], step: str
) -> None:
    site = fresh()
    kill_at(step)
    with pytest.raises(Killed):
        takeover(site).run()
    assert is_unfinished(site.store)
    site = fresh()
    assert takeover(site).run()
    assert not is_unfinished(site.store)
    await reads_all(site, logs)


def test_a_leader_that_is_told_to_stop_does(fresh: Callable[..., ArchiveSite], logs: list[StoredLog]) -> None:
    site = fresh()
    stopped = takeover(site)
    stopped.stop()
    with pytest.raises(Interrupted):
        stopped.run()
    assert site.store.list_namespaces() == []
