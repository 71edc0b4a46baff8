"""The list of runs: a hundred thousand of them, live ones on top, brought up to date without a jump."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.browser.seeding import MANY, MANY_RUNS, run_name
from tests.browser.tab import Site, Tab

MAX_FIRST_PAGE_MS = 1000
SHOWN = """(name) => new Promise((resolve) => { const look = () =>
    [...document.querySelectorAll('[role=row] a')].some((link) => link.textContent === name)
      ? resolve(performance.now()) : requestAnimationFrame(look); look(); })"""
ROWS = """() => [...document.querySelectorAll('[role=rowgroup] [role=row]')].map((row) => [
    Number(row.getAttribute('aria-rowindex')) - 2, row.querySelector('a').textContent])"""

# Keeps the names of all runs that the leader answers with.
RECORD = """
    window.listed = [];
    const own = window.fetch;
    window.fetch = async (...asked) => {
        const reply = await own(...asked);
        if (/\\/runs\\?/.test(String(asked[0]?.url ?? asked[0])))
            window.listed.push(...(await reply.clone().json()).runs.map((run) => run.run));
        return reply;
    };
"""


def rows(tab: Tab) -> dict[int, str]:
    """The runs in the document by their place in the list."""
    found: list[tuple[int, str]] = tab.page.evaluate(ROWS)
    return dict(found)


def scroll(tab: Tab, pixels: int) -> None:
    tab.page.get_by_role("region", name="Runs").evaluate("(box, pixels) => box.scrollBy(0, pixels)", pixels)


@pytest.mark.alone
def test_the_first_of_very_many_runs_are_there_at_once(site: Site, tab: Tab) -> None:
    tab.open("search")
    expect(tab.page.get_by_label("Which logs say")).to_be_visible()
    # From a loaded page, as by a click on a link: how quick the machine starts scripts does not count.
    tab.page.get_by_role("link", name="Runs").click()
    tab.page.get_by_role("combobox", name="Namespace").click()
    began = tab.page.evaluate("performance.now()")
    tab.page.get_by_role("option", name=MANY, exact=True).click()
    assert tab.page.evaluate(SHOWN, run_name(0)) - began < MAX_FIRST_PAGE_MS
    assert len(rows(tab)) < 60
    row = tab.page.get_by_role("row").filter(has_text=run_name(3))
    expect(row).to_contain_text(re.compile(r"failed.*1 failed, 2 succeeded.*4\.0 s.*2\.9 KiB"))


@pytest.mark.timeout(300)
def test_the_list_goes_on_to_the_last_run_and_has_each_once(site: Site, tab: Tab) -> None:
    tab.page.add_init_script(RECORD)
    tab.open(f"runs?namespace={MANY}")
    expect(tab.page.get_by_role("link", name=run_name(0))).to_be_visible()
    seen: dict[int, str] = {}

    def more() -> bool:
        for place, name in rows(tab).items():
            assert seen.setdefault(place, name) == name
        scroll(tab, 1100 if len(seen) < 1000 else 100_000)
        return max(seen) >= MANY_RUNS - 1

    tab.wait(more, "the last run is reached", 240)
    assert all(name == run_name(place) for place, name in seen.items())
    assert set(range(1000)) <= set(seen)
    assert len(rows(tab)) < 60
    expect(tab.page.get_by_role("status").filter(has_text="100\u202f000 runs")).to_be_attached()
    listed = Counter(tab.page.evaluate("window.listed"))
    assert len(listed) == MANY_RUNS, len(listed)
    # Only the first page is asked for again, for what is new.
    assert set(range(100, MANY_RUNS)) == {place for place in range(MANY_RUNS) if listed[run_name(place)] == 1}


def test_the_list_begins_with_runs_of_tasks_and_not_with_the_leaders_own(site: Site, tab: Tab) -> None:
    only = {"namespaces": ["@audit"], "next_cursor": ""}
    tab.page.route(re.compile(r"/api/v1/namespaces\?"), lambda route: route.fulfill(json=only))
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.open("runs")
    expect(tab.page.get_by_role("combobox", name="Namespace")).to_be_visible()
    tab.page.wait_for_load_state("networkidle")
    lists = {url.partition("/namespaces/")[2].partition("/")[0] for url in asked if "/runs?" in url}
    assert lists == {"default"}, asked


def test_live_runs_are_on_top_and_nothing_jumps_when_others_come(site: Site, new_tab: Callable[..., Tab]) -> None:
    older = site.task("older", "t", "echo begun", namespace=MANY)
    tab = new_tab()
    tab.open(f"runs?namespace={MANY}")
    expect(tab.page.get_by_role("row").nth(1)).to_contain_text(re.compile("live.*older"))
    newer = site.task("newer", "t", "echo done", namespace=MANY)
    newer.end()
    expect(tab.page.get_by_role("link", name="newer")).to_be_visible()
    assert [rows(tab)[place] for place in (0, 1, 2)] == ["older", "newer", run_name(0)]

    # Somebody looks at older runs: what comes is counted, and moves nothing.
    scroll(tab, 44 * 50)
    tab.wait(lambda: 55 in rows(tab), "further runs are there")
    before = {name: box for name, box in _places(tab).items() if name.startswith("nightly")}
    newest = site.task("newest", "t", "echo begun", namespace=MANY)
    expect(tab.button("1 new run")).to_be_visible()
    after = _places(tab)
    assert before
    assert all(after[name] == place for name, place in before.items())
    tab.button("1 new run").click()
    expect(tab.page.get_by_role("row").nth(1)).to_contain_text(re.compile("live.*newest"))
    expect(tab.page.get_by_role("row").nth(2)).to_contain_text(re.compile("live.*older"))

    # A run that ends says so by itself, and goes to its place by time.
    older.end()
    newest.end()
    expect(tab.page.get_by_role("row").filter(has_text="older")).to_contain_text("succeeded")
    tab.wait(lambda: [rows(tab).get(place) for place in (0, 1, 2)] == ["newest", "newer", "older"], "all is in order")


def _places(tab: Tab) -> dict[str, float]:
    found: dict[str, float] = tab.page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('[role=rowgroup] [role=row]')].map((row) =>
        [row.querySelector('a').textContent, row.getBoundingClientRect().top]))"""
    )
    return found


def test_runs_are_found_among_very_many(site: Site, tab: Tab) -> None:
    tab.open(f"runs?namespace={MANY}")
    tab.page.get_by_label("Filter by name or label").fill(run_name(54_321)[-6:])
    expect(tab.page.get_by_role("link", name=run_name(54_321))).to_be_visible()
    expect(tab.page.get_by_role("status").filter(has_text="1 run")).to_be_visible()
    tab.page.get_by_label("Filter by name or label").fill("no run is called this")
    expect(tab.page.get_by_role("heading", name="No run is like this")).to_be_visible()
    assert "text=no+run" in tab.page.url

    # Runs of some time: a minute lies between each two of them.
    tab.page.get_by_label("Filter by name or label").fill("")
    tab.page.get_by_role("combobox", name="Filter by time").click()
    tab.page.get_by_role("option", name="Between…").click()
    until = datetime.now(UTC) - timedelta(hours=10)
    tab.page.get_by_label("Until").fill(until.strftime("%Y-%m-%dT%H:%M"))
    tab.wait(lambda: run_name(0) not in rows(tab).values() and rows(tab), "newer runs are left out")
    newest = MANY_RUNS - int(rows(tab)[0].rpartition("-")[2])
    assert 540 < newest <= 600, newest
    assert "period=between" in tab.page.url
