"""What the browser tests share: daemons with an archive on an S3 server, and for each file a browser."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from joblog.leader.api.http import ui
from joblog.paths import DataFolder
from tests.browser.chromium import chromium, chromium_missing
from tests.browser.seeding import seed
from tests.browser.tab import Site, Tab
from tests.object_servers import moto_server, rgw_missing, rgw_server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; the tests are skipped where neither it nor the built UI can be had."""
    if not (ui.FOLDER / "index.html").exists():
        pytest.skip("the admin UI is not built: `make ui` needs Node.js")
    if reason := chromium_missing():
        pytest.skip(reason)
    # Its event loop would be in the way of other tests: it ends with this module's.
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def site(own_environment: None) -> Iterator[Site]:
    """A leader and a worker that run, with an archive that takes completed logs at once; see seeding.py, too."""
    folder = Path(tempfile.mkdtemp(prefix="joblog."))
    try:
        with ExitStack() as stack, ThreadPoolExecutor(1) as beside:
            starting = beside.submit(stack.enter_context, _s3_server(folder / "s3"))
            seed(DataFolder(folder / "data").leader)
            made = Site(folder, starting.result())
            stack.callback(made.machine.close)
            made.machine.start_up()
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _s3_server(folder: Path) -> Iterator[str]:
    """The endpoint of Ceph's gateway; of moto's server, in memory, where that can't be had (see test_archive.py)."""
    folder.mkdir()
    if rgw_missing():
        with moto_server(folder) as endpoint:
            yield endpoint
    else:
        with rgw_server(lambda: Path(tempfile.mkdtemp(dir=folder))) as endpoint:
            yield endpoint


@pytest.fixture
def new_tab(browser: Browser, site: Site) -> Iterator[Callable[..., Tab]]:
    """Makes tabs, each with cookies and storage of its own; a script's error in any of them fails the test."""
    made: list[Tab] = []

    def make(**options: object) -> Tab:
        made.append(Tab(browser, site, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for tab in made:
        tab.close()
    problems = [problem for tab in made for problem in tab.problems]
    assert not problems, problems


@pytest.fixture
def tab(new_tab: Callable[..., Tab]) -> Tab:
    """A tab of an admin."""
    return new_tab()
