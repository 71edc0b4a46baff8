from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.archiving import ArchiveSite, CountedPuts

Start = Callable[..., ArchiveSite]


@pytest.fixture
def objects(tmp_path: Path) -> CountedPuts:
    return CountedPuts(tmp_path / "archive")


@pytest.fixture
def start(tmp_path: Path, objects: CountedPuts) -> Iterator[Start]:
    """Starts a life of the leader; ends the one before."""
    sites: list[ArchiveSite] = []

    def begin(folder: str = "leader", **options: object) -> ArchiveSite:
        for site in sites:
            site.close()
        sites.clear()
        (tmp_path / folder).mkdir(exist_ok=True)
        sites.append(ArchiveSite(tmp_path / folder, objects, **options))  # type: ignore[arg-type]
        return sites[0]

    yield begin
    for site in sites:
        site.close()


@pytest.fixture
def open_site(tmp_path: Path, objects: CountedPuts) -> Iterator[Callable[[], ArchiveSite]]:
    """Opens the leader's store, once more where it was opened before: another life."""
    made: list[ArchiveSite] = []

    def make() -> ArchiveSite:
        if made:
            made[-1].close()
        made.append(ArchiveSite(tmp_path / "one", objects))
        made[-1].context.claim.ensure()
        return made[-1]

    yield make
    made[-1].close()
