"""What gc could not delete whole: nothing lists old versions of it any more, and they go all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from joblog.errors import Unavailable
from joblog.leader.archive import failpoints
from joblog.leader.archive.gc import Collector
from joblog.leader.archive.layout import pack_key
from tests.archiving import ArchiveSite, CountedPuts, Killed, kill_at


class Failing(CountedPuts):
    """A folder of which `failing` does not work, and that notes of what all versions were deleted."""

    failing = ""
    purged: frozenset[str] = frozenset()

    def _reach(self, step: str) -> None:
        if self.failing == step:
            raise Unavailable("the server failed")

    def delete(self, keys: Sequence[str]) -> None:
        self._reach("delete")
        super().delete(keys)

    def purge(self, keys: Sequence[str]) -> dict[str, int]:
        self._reach("purge")
        self.purged |= set(keys)
        return {}


@pytest.fixture
def objects(tmp_path: Path) -> Failing:
    return Failing(tmp_path / "archive")


@pytest.mark.parametrize("ends", ["delete", "purge", "killed"])
def test_the_leader_deletes_what_gc_did_not_bring_to_an_end(
    open_site: Callable[[], ArchiveSite], objects: Failing, ends: str
) -> None:
    site = open_site()
    key = pack_key("other", 7)
    objects.put(key, b"x")
    objects.failing = ends
    if ends == "killed":
        kill_at("gc.deleting")
    collector = Collector(objects, site.store, min_age_seconds=-60)
    with pytest.raises(Killed if ends == "killed" else Unavailable):
        list(collector.delete(collector.find()))
    failpoints.disarm()
    objects.failing = ""
    site = open_site()
    while site.clean():
        pass
    assert key in objects.purged
    assert objects.head(key) is None
    assert not site.store.objects.unused()
